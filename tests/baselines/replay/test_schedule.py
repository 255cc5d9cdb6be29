"""Updates, target copies and learning start, counted over runs; what a short budget scales."""

import dataclasses
from pathlib import Path

import pytest

import baselines
from baselines.c51 import C51Config
from baselines.config import fill, read_pinned
from baselines.rainbow import RainbowConfig
from baselines.replay.schedule import replay_layout, schedule

NAMES = {"c51": C51Config, "hadamax-c51": C51Config, "rainbow": RainbowConfig}


def pinned(name):
    path = Path(baselines.__file__).parent / "pinned" / f"{name}.toml"
    file = read_pinned(path, header=("name", "title", "algorithm", "paper"))
    assert file.header["name"] == name
    return fill(NAMES[name], file.values, where=name)


@pytest.mark.parametrize("environments", [1, 2, 3, 16, 32])
@pytest.mark.parametrize("learning_start", [64, 70])
def test_updates_and_copies_fall_on_the_published_counts_whatever_the_number_of_environments(
    environments, learning_start
):
    config = dataclasses.replace(
        pinned("c51"),
        train_environments=environments,
        learning_start_agent_steps=learning_start,
        target_copy_agent_steps=30,
        short_budget_fraction=1.0,
        batch=1,
    )
    plan = schedule(config, 48 * config.frames_per_update)
    vector_steps = plan.total_agent_steps // environments
    counts = [count for k in range(vector_steps) for count in plan.updates_in(k)]
    # one environment: after each agent step beyond the learning start, every fourth count
    assert counts == [g for g in range(1, plan.total_agent_steps + 1) if g > learning_start and g % 4 == 0]
    assert len(counts) == plan.total_updates
    # a copy each 30 agent steps, with the first update at or after the mark
    marks = [g for g in range(30, plan.total_agent_steps + 1, 30) if g > learning_start]
    assert [g for g in counts if plan.copies_target_at(g)] == [-(-mark // 4) * 4 for mark in marks]


def test_a_vector_step_learns_only_from_what_was_there_when_it_began():
    plan = schedule(pinned("c51"), 40_000_000)
    assert plan.updates_in(4999) == []
    assert plan.updates_in(5000) == [80_004, 80_008, 80_012, 80_016]  # its own steps are numbers 80,001 to 80,016


@pytest.mark.parametrize(
    ("name", "learning_start", "target_copy"),
    [("c51", 80_000, 10_000), ("hadamax-c51", 80_000, 10_000), ("rainbow", 20_000, 8_000)],
)
@pytest.mark.parametrize("budget_frames", [16_000_000, 40_000_000, 200_000_000])
def test_a_full_budget_keeps_every_published_value(name, learning_start, target_copy, budget_frames):
    plan = schedule(pinned(name), budget_frames)
    assert plan.off_protocol == ()
    assert (plan.learning_start, plan.target_copy) == (learning_start, target_copy)
    assert plan.replay_transitions == 1_000_000
    assert plan.total_frames == budget_frames // 1024 * 1024
    assert plan.total_updates == (plan.total_agent_steps - learning_start) // 4


def test_rounding_a_budget_down_to_whole_blocks_takes_nothing_off_the_protocol():
    config = dataclasses.replace(pinned("c51"), block_vector_steps=15)
    plan = schedule(config, 16_000_000)
    assert plan.total_frames == 15_999_360  # 16,666 blocks of 960
    assert (plan.learning_start, plan.target_copy, plan.replay_transitions) == (80_000, 10_000, 1_000_000)
    assert plan.off_protocol == ()


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"replay_transitions": 10_000_000}, 40_000_000),  # 80,000 of 4M agent steps are 2 %: the memory asks for more
        ({"learning_start_agent_steps": 70_000, "short_budget_fraction": 0.03}, 9_333_336),  # 2,333,334 agent steps
        ({"learning_start_agent_steps": 9_999, "target_copy_agent_steps": 90_000}, 18_000_000),
    ],
)
def test_the_least_budget_that_scales_nothing_is_that_of_the_latest_of_all(changes, frames):
    assert dataclasses.replace(pinned("c51"), **changes).frames_on_protocol == frames


@pytest.mark.parametrize("name", NAMES)
def test_a_short_budget_scales_what_must_and_says_so(name):
    plan = schedule(pinned(name), 20_000)
    assert plan.total_agent_steps == 19 * 256
    assert plan.learning_start == 97  # 2 % of the agent steps
    assert plan.target_copy == 97
    assert plan.replay_transitions == 19 * 256
    assert len(plan.off_protocol) == 3
    assert "instead of 1,000,000" in plan.off_protocol[2]


@pytest.mark.parametrize("name", NAMES)
def test_the_least_budget_is_one_block_and_learns(name):
    config = pinned(name)
    assert config.frames_per_update == 1024
    assert config.total_updates(1024) > 0
    assert config.total_updates(1023) == 0
    with pytest.raises(ValueError, match="least budget, 1024"):
        schedule(config, 1023)


@pytest.mark.parametrize("name", NAMES)
def test_learning_never_starts_before_there_is_something_to_sample(name):
    plan = schedule(pinned(name), 1024)
    layout = replay_layout(pinned(name), 1024)
    first = next(k for k in range(16) if plan.updates_in(k))
    assert first >= layout.n_steps  # that many vector steps are stored when it begins


@pytest.mark.parametrize("batch", [32, 100, 200])
def test_a_short_budget_never_starts_learning_before_a_batch_is_there(batch):
    """A batch of fewer different transitions than it has places would be mostly one of them."""
    plan = schedule(dataclasses.replace(pinned("c51"), batch=batch), 1024)
    assert plan.learning_start == batch  # two vector steps of 16 environments are 32


@pytest.mark.parametrize("environments", [1, 4, 16])
@pytest.mark.parametrize("n_steps", [1, 3, 5])
@pytest.mark.parametrize("agent_steps_per_update", [1, 3, 4, 8])
def test_the_least_learning_start_leaves_a_transition_to_sample_in_every_budget(
    environments, n_steps, agent_steps_per_update
):
    config = dataclasses.replace(
        pinned("rainbow"),
        train_environments=environments,
        n_steps=n_steps,
        agent_steps_per_update=agent_steps_per_update,
        batch=1,
    )
    least = n_steps * environments
    too_early = dataclasses.replace(config, learning_start_agent_steps=least - 1)
    assert f"must be at least {least}, " in too_early.fault
    for start in range(least, least + 10):
        config = dataclasses.replace(config, learning_start_agent_steps=start)
        assert config.fault == ""
        for blocks in (1, 2, 10, 100, 1000):
            plan = schedule(config, blocks * config.frames_per_update)
            first = next(k for k in range(plan.total_agent_steps // environments) if plan.updates_in(k))
            assert first >= n_steps  # that many vector steps are stored when it begins


def test_the_target_network_is_copied_no_oftener_than_there_are_updates():
    plan = schedule(dataclasses.replace(pinned("c51"), short_budget_fraction=0.001), 1024)
    assert plan.target_copy == plan.agent_steps_per_update == 4  # a thousandth of 256 agent steps is none


def test_the_memory_of_a_full_run_holds_a_million_transitions():
    assert replay_layout(pinned("rainbow"), 40_000_000).capacity == 1_000_000
    assert replay_layout(pinned("c51"), 20_000).capacity == 4864
    uneven = dataclasses.replace(pinned("c51"), replay_transitions=1_000_009)  # 16 environments share what they can
    assert replay_layout(uneven, 40_000_000).capacity == 1_000_000
