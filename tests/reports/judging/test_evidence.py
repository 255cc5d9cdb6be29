"""What a run gives, and whether it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_runs import make_catalogue, raw, write_run

from reports.judging.evidence import load

CATALOGUE = make_catalogue()


def test_a_run_gives_its_score_curve_and_diagnostics(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 2_000_000, 3, 0.5, games=200, diagnostics={"effective_rank/conv2": 40.0})
    evidence = load(tmp_path, CATALOGUE, fractions=[0.45])
    (entry,) = evidence.entries
    assert (entry.baseline, entry.game, entry.frames, entry.seed, entry.standing) == (
        "pqn",
        "Pong",
        2_000_000,
        3,
        "counts",
    )
    assert entry.score == pytest.approx(raw(0.5, "Pong"))
    assert entry.hns == pytest.approx(0.5)
    assert entry.run is not None
    assert entry.run.games == 200
    assert entry.run.curve[-1] == pytest.approx(entry.score)
    assert entry.run.at_fraction[0.45] == entry.run.curve[89]
    assert entry.run.final_diagnostics == {"effective_rank/conv2": 40.0}
    assert np.isnan(entry.run.diagnostics["effective_rank/conv2"][0])
    assert entry.run.diagnostics["effective_rank/conv2"][-1] == 40.0
    assert evidence.budgets("pqn") == [2_000_000]


def test_an_unfinished_runs_curve_ends_where_it_stopped(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 2_000_000, 0, 0.5, status="interrupted", frames_done=1_000_000)
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.standing == "unfinished"
    assert entry.score is None
    assert entry.run is not None
    assert not np.isnan(entry.run.curve[99])
    assert np.isnan(entry.run.curve[100:]).all()


def test_a_final_diagnostic_is_the_mean_over_the_last_tenth_of_the_budget(tmp_path: Path) -> None:
    rising = np.arange(1.0, 101.0)  # one value each 1 % of the budget; the last ten are 91 to 100
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, metric_rows=200, diagnostics={"dead_fraction/dense": rising})
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    assert entry.run.final_diagnostics["dead_fraction/dense"] == pytest.approx(95.5)
    np.testing.assert_array_equal(entry.run.diagnostics["dead_fraction/dense"], rising)


def test_a_run_stopped_before_its_first_tables_is_unfinished_and_not_broken(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, status="running", frames_done=0, games=1)
    for name in ("episodes.parquet", "metrics.parquet", "timing.parquet"):
        (directory / name).unlink()
    evidence = load(tmp_path, CATALOGUE)
    assert [entry.standing for entry in evidence.entries] == ["unfinished"]
    assert evidence.broken == ()


def test_a_changed_table_is_broken_and_the_others_are_read(tmp_path: Path) -> None:
    broken = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5)
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 1, 0.5)
    other = tmp_path / "pqn/Pong/1M/seed-1/episodes.parquet"
    (broken / "episodes.parquet").write_bytes(other.read_bytes())
    evidence = load(tmp_path, CATALOGUE)
    assert [entry.seed for entry in evidence.entries] == [1]
    ((place, reason),) = evidence.broken
    assert place == "pqn/Pong/1M/seed-0"
    assert "SHA-256 differs" in reason
    assert str(tmp_path) not in reason


def test_a_table_of_proofs_that_cannot_be_read_is_named_and_every_run_is_on_its_word(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5)
    (tmp_path / "proof.json").write_text("[")
    evidence = load(tmp_path, CATALOGUE)
    ((place, reason),) = evidence.broken
    assert place == "proof.json"
    assert "no JSON" in reason
    assert [entry.run.proof for entry in evidence.entries if entry.run] == ["on its word"]
