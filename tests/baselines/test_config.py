from dataclasses import dataclass

import pytest

from baselines.config import ConfigError, fill, read_pinned


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
