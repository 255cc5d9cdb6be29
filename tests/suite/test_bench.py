"""The benchmark, made tiny: what it reports is tested, never how fast anything was."""

import json

import pytest

from suite import bench
from suite.cli import main


def measured(baseline, path, *loop):
    job = bench.Job(baseline, path, "Pong", "cpu", 1, len(loop))
    return bench.Measured(job, loop, (8.0,), (4.0, 5.0, 6.0), {"acting": 0.25}, (), (), 1000)


def test_ratios_are_of_medians_of_the_same_run():
    found = bench.Bench(
        emulator={136: (90.0, 100.0, 110.0), 16: (50.0,)},
        measured=(
            measured("c51", bench.FAST, 4.0, 1.0, 30.0),
            measured("c51", bench.PLAIN, 2.0),
            measured("c51", bench.SINGLE, 1.0),
            measured("pqn", bench.FAST, 10.0),
        ),
    )
    c51, _, single, pqn = found.rows()
    assert (c51["agent_steps_per_second"], c51["slowest"], c51["fastest"]) == (4.0, 1.0, 30.0)
    assert c51["frames_per_second"] == 16.0
    assert c51["share_of_emulator"] == 0.04
    assert c51["share_of_learning_alone"] == 0.8
    assert (c51["over_plain"], c51["over_one_environment"]) == (2.0, 4.0)
    assert (single["over_plain"], single["over_one_environment"]) == (0.5, 1.0)
    assert (pqn["over_plain"], pqn["over_one_environment"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game", "pong,breakout"], "--game takes one game; give a name such as breakout"),
        (["--game", "pogn"], "unknown game 'pogn'"),
        (["--repeats", "0"], "--repeats"),
        (["--baselines", "dqn"], "dqn"),
        (["--threads", "none"], "--threads"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_the_emulator_and_an_agent_are_measured_for_real(capsys):
    assert main(["bench", "--baselines", "c51", "--game", "pong", "--repeats", "1", "--threads", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert set(facts["emulator"]) == {"136", "16"}
    assert [row["path"] for row in facts["rows"]] == ["fast", "plain", "one environment"]
    for row in facts["rows"]:
        assert sum(row["time_shares"].values()) == pytest.approx(1)
        assert set(row["time_shares"]) == {"waiting for emulation", "acting", "sampling", "learning", "the rest"}
        assert min(row["agent_steps_per_second"], row["acting_alone"], row["learning_alone"]) > 0
        assert row["peak_bytes"] > 100_000_000
    assert "3 of 3: c51, one environment" in err
