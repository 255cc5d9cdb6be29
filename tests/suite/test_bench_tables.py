"""What a measurement's file says, as tables; the speed page shows nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from suite.cli import main

ROOT = Path(__file__).parents[2]


def row(baseline="pqn", label="fast", speed=100.0, spread=1.0, **changes):
    return {
        "baseline": baseline,
        "label": label,
        "runs_at_once": 1,
        "agent_steps_per_second": speed,
        "slowest": speed - spread,
        "fastest": speed + spread,
        "is_worthless": spread > 12,
        "acting_alone": 400.0,
        "learning_alone": None,
        "share_of_emulator": 0.02,
        "share_of_learning_alone": None,
        "over_plain": 1.25,
        "over_one_environment": None,
        "over_one_run": None,
        "cpu_seconds_per_agent_step": 0.0125,
        "time_shares": {"acting": 0.25, "learning": 0.7, "the rest": 0.05},
        "peak_bytes": 1_500_000_000,
        **changes,
    }


@pytest.fixture
def measurement(tmp_path):
    def write(name, *rows):
        hardware = {"gpu": None, "cpu": "Some CPU", "cores": 2, "torch_threads": 2}
        facts = {
            "hardware": hardware,
            "versions": {"torch": "2.13.0", "envpool": "1.2.5"},
            "game": "Breakout",
            "emulator": {"136": [5000.0, 6000.0, 4000.0]},
            "rows": list(rows),
        }
        path = tmp_path / name
        path.write_text(json.dumps(facts))
        return path

    return write


def test_a_measurement_is_shown_as_markdown(measurement, capsys):
    path = measurement("a.json", row(), row("rainbow", spread=20.0))
    assert main(["bench", "--show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Some CPU, 2 cores, 2 threads; Breakout; torch 2.13.0, envpool 1.2.5" in out
    assert "5,000 (4,000 to 6,000) with 136 environments" in out
    assert "| pqn | fast | 100 | 99, 101 | 400 |  | 2.0 % |  | 1.25 |  |  | 12.50 | 1.5 GB |" in out
    assert "| rainbow | fast | ~100 |" in out  # its repeats differ too much
    assert "| pqn |  | 25.0 % |  | 70.0 % | 5.0 % |" in out


def test_two_measurements_are_compared_by_baseline_and_path(measurement, capsys):
    before = measurement("a.json", row(), row("c51"))
    after = measurement("b.json", row(speed=150.0), row("c51", spread=5.0), row("rainbow"))
    assert main(["bench", "--compare", str(before), str(after)]) == 0
    out = capsys.readouterr().out
    assert "| pqn | fast | 100 (99, 101) | 150 (149, 151) | 1.50 |  |" in out
    assert "| c51 | fast | 100 (99, 101) | 100 (95, 105) | 1.00 | yes |" in out
    assert "| rainbow" not in out


@pytest.mark.parametrize("content", ["", "[]", '{"rows": 3}', '{"rows": [{}]}', '{"rows": [3]}'])
def test_what_is_no_measurement_is_refused_in_one_line(tmp_path, capsys, content):
    (tmp_path / "a.json").write_text(content)
    assert main(["bench", "--show", str(tmp_path / "a.json")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "is no measurement; make one with" in err


def test_the_speed_page_shows_the_committed_measurements_and_no_others(capsys):
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- bench: (\S+) -->\n\n(.*?)\n\n<!-- end -->", page, re.DOTALL)
    assert {name for name, _ in shown} == {path.name for path in (ROOT / "docs/bench").glob("*.json")}
    for name, tables in shown:
        assert main(["bench", "--show", str(ROOT / "docs/bench" / name)]) == 0
        assert capsys.readouterr().out.strip() == tables, f"put in what `bench --show docs/bench/{name}` prints"
