import dataclasses
import math
import re
from dataclasses import dataclass

import pytest

from baselines.config import ConfigError, fill, read_pinned
from baselines.registry import load_pinned


@dataclass(frozen=True)
class Small:
    rate: float
    count: int


def write(tmp_path, text):
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """
name = "small"
[sources]
us = "this test"
[values]
rate = { value = 1, source = "us" }
count = { value = 3, source = "us" }
"""


def test_a_pinned_file_gives_values_sources_and_references(tmp_path):
    file = read_pinned(write(tmp_path, GOOD), header=("name",))
    assert file.header == {"name": "small"}
    assert file.values == {"rate": 1, "count": 3}
    assert file.sources == {"rate": "us", "count": "us"}
    assert file.references == {"us": "this test"}


def test_a_whole_number_serves_where_a_float_is_wanted(tmp_path):
    file = read_pinned(write(tmp_path, GOOD), header=("name",))
    config = fill(Small, file.values, where="small.toml")
    assert config == Small(rate=1.0, count=3)
    assert type(config.rate) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.0}, "x: missing count"),
        ({"rate": 1.0, "count": 3, "speed": 4}, r"x: unknown speed \(allowed: count, rate\)"),
        ({"rate": 1.0, "count": 3.0}, "x: count must be int, is 3.0"),
        ({"rate": True, "count": 3}, "x: rate must be float, is True"),
        ({"rate": 10**400, "count": 3}, "x: rate is a number of more digits than a float holds"),
        ({"rate": "fast", "count": 3}, "x: rate must be float, is 'fast'"),
    ],
)
def test_missing_unknown_and_mistyped_keys_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        fill(Small, values, where="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "cannot read pinned file"),
        ("name = " + "1" * 5000, "cannot read pinned file .*digits"),
        ("name = " + "[" * 5000, "cannot read pinned file .*recursion"),
        (GOOD.replace('name = "small"', ""), "missing name"),
        (GOOD + "[more]\n", "unknown more"),
        (GOOD.replace('{ value = 3, source = "us" }', "3"), "count must be written"),
        (GOOD.replace(', source = "us" }', " }", 1), "rate: missing source"),
    ],
)
def test_a_malformed_pinned_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_pinned(write(tmp_path, text), header=("name",))


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read pinned file"):
        read_pinned(tmp_path / "absent.toml", header=("name",))


@pytest.mark.parametrize(
    ("baseline", "changed", "message"),
    [
        ("pqn", {"minibatches": 0}, "x: minibatches must be at least 1, is 0"),
        (
            "pqn",
            {"minibatches": 33},
            "x: minibatches must divide a rollout of 4096 observations equally, is 33",
        ),
        ("pqn", {"train_environments": -1}, "x: train_environments must be at least 1, is -1"),
        ("pqn", {"learning_rate": 0.0}, "x: learning_rate must be above 0 and at most 1e+38, is 0.0"),
        ("pqn", {"learning_rate": math.nan}, "x: learning_rate must be above 0 and at most 1e+38, is nan"),
        ("pqn", {"discount": 1.5}, "x: discount must be at least 0 and at most 1, is 1.5"),
        ("pqn", {"epsilon_decay_fraction": 0.0}, "x: epsilon_decay_fraction must be above 0 and at most 1, is 0.0"),
        ("c51", {"epsilon_decay_fraction": 0.0}, "x: epsilon_decay_fraction must be above 0 and at most 1, is 0.0"),
        ("pqn", {"adam_beta1": 1.0}, "x: adam_beta1 must be at least 0 and at most 0.999999, is 1.0"),
        ("c51", {"atoms": 1}, "x: atoms must be at least 2, is 1"),
        ("c51", {"value_min": 10.0}, "x: value_min must be below value_max, is 10 against 10"),
        ("c51", {"agent_steps_per_update": 0}, "x: agent_steps_per_update must be at least 1, is 0"),
        ("c51", {"replay_transitions": 15}, "x: replay_transitions must be at least 16, one of each of train_env"),
        ("c51", {"learning_start_agent_steps": 0}, "x: learning_start_agent_steps must be at least 16, n_steps x"),
        ("rainbow", {"learning_start_agent_steps": 32}, "x: learning_start_agent_steps must be at least 48, n_steps x"),
        ("rainbow", {"learning_start_agent_steps": -1}, "x: learning_start_agent_steps must be at least 0, is -1"),
        (
            "rainbow",
            {"uniform_sample_probability": 2.0},
            "x: uniform_sample_probability must be at least 0 and at most 1",
        ),
        ("rainbow", {"max_priority": math.inf}, "x: max_priority must be above 0"),
    ],
)
def test_a_number_that_nothing_can_be_trained_with_is_refused(baseline, changed, message):
    described = load_pinned(baseline)
    with pytest.raises(ConfigError, match=re.escape(message)):
        fill(type(described.config), {**described.values, **changed}, where="x")


@pytest.mark.parametrize(("minibatches", "steps", "per_update"), [(32, 8, 8), (2, 16, 1), (1, 32, 1)])
def test_a_measured_update_has_minibatches_of_the_pinned_size(minibatches, steps, per_update):
    config = dataclasses.replace(load_pinned("pqn").config, minibatches=minibatches)
    measured, _ = config.for_measuring(on_gpu=False)
    assert (measured.rollout_agent_steps, measured.minibatches) == (steps, per_update)
    assert measured.minibatch == config.minibatch
