from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_builder import Game, build_run

from results.errors import ResultsError
from results.schema import EPISODES_FILE, MANIFEST_FILE, METRICS_FILE, TIMING_FILE
from results.tables import final_score, load_runs, read_tables


def test_a_final_score_is_of_the_training_games(tmp_path: Path):
    build_run(tmp_path)
    runs = load_runs(tmp_path)
    assert runs.broken == ()
    assert [final_score(run) for run in runs.runs] == [-20.0]


def test_the_score_is_of_the_last_hundred_games(tmp_path: Path):
    build_run(tmp_path, games=[Game(i, episode_return=float(i)) for i in range(1, 251)])
    assert final_score(load_runs(tmp_path).runs[0]) == 200.5


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path: Path):
    runs = load_runs(tmp_path / "absent")
    assert (runs.runs, runs.broken) == ((), ())


def test_a_run_stopped_before_its_first_tables_has_no_score(tmp_path: Path):
    directory = build_run(
        tmp_path, status="failed", frames_done=0, updates_done=0, files={}, finished_at=None,
        error={"type": "OSError", "message": "disk full"},
    )  # fmt: skip
    for path in directory.glob("*.parquet"):
        path.unlink()
    runs = load_runs(tmp_path)
    assert runs.broken == ()
    assert final_score(runs.runs[0]) is None
    tables = read_tables(runs.runs[0])
    assert np.isnan(tables.curve("train", [1, 2])).all()
    assert tables.metrics == {}


def test_broken_runs_are_named_and_left_out(tmp_path: Path):
    build_run(tmp_path, seed=0)
    (build_run(tmp_path, seed=1) / MANIFEST_FILE).write_text("no json")
    (build_run(tmp_path, seed=2) / EPISODES_FILE).write_bytes(b"no parquet")
    (build_run(tmp_path, seed=3) / METRICS_FILE).unlink()
    build_run(tmp_path, seed=4, files={})
    runs = load_runs(tmp_path)
    assert [run.spec.seed for run in runs.runs] == [0]
    reasons = {broken.directory.name: broken.reason for broken in runs.broken}
    assert "no JSON" in reasons["seed-1"]
    assert "SHA-256 differs" in reasons["seed-2"]
    assert "cannot be read" in reasons["seed-3"]
    assert "does not list it" in reasons["seed-4"]


def test_a_swapped_table_is_noticed_though_it_can_be_read(tmp_path: Path):
    directory = build_run(tmp_path, seed=0)
    other = build_run(tmp_path, seed=1, games=[Game(10, episode_return=21.0)])
    (directory / EPISODES_FILE).write_bytes((other / EPISODES_FILE).read_bytes())
    assert [broken.directory for broken in load_runs(tmp_path).broken] == [directory]


def test_a_run_killed_between_tables_and_manifest_is_still_read(tmp_path: Path):
    directory = build_run(tmp_path / "runs", status="running", finished_at=None)
    other = build_run(tmp_path / "later", games=[Game(10, episode_return=21.0)])
    (directory / EPISODES_FILE).write_bytes((other / EPISODES_FILE).read_bytes())
    runs = load_runs(tmp_path / "runs")
    assert runs.broken == ()
    assert final_score(runs.runs[0]) == 21.0


def test_a_curve_is_the_score_at_each_point(tmp_path: Path):
    build_run(tmp_path)
    tables = read_tables(load_runs(tmp_path).runs[0])
    points = [10_000, 40_000, 100_000, 200_000]
    assert tables.curve("train", points) == pytest.approx([np.nan, -21.0, -20.5, -20.0], nan_ok=True)
    assert tables.curve("greedy", points) == pytest.approx([np.nan, np.nan, -21.0, -19.5], nan_ok=True)


def test_cells_of_an_unfinished_run_are_looked_at_too(tmp_path: Path):
    """No checksum speaks for them: one that cannot be read would stop a report halfway."""
    directory = build_run(tmp_path, status="running", finished_at=None)
    path = directory / TIMING_FILE
    table = pq.read_table(path)
    holed = pa.array([None] * table.num_rows, table.schema.field(1).type)
    pq.write_table(pa.Table.from_arrays([table.column(0), holed, table.column(2)], schema=table.schema), path)
    runs = load_runs(tmp_path)
    assert runs.runs == ()
    assert [broken.reason for broken in runs.broken] == [f"{path}: has empty cells"]


@pytest.mark.parametrize("kind", ["train", "greedy"])
def test_games_out_of_order_are_refused_with_the_file(tmp_path: Path, kind: str):
    build_run(tmp_path, games=[Game(20, kind=kind), Game(10, kind=kind)])
    with pytest.raises(ResultsError, match=r"episodes.parquet: games must be in the order"):
        read_tables(load_runs(tmp_path).runs[0])


def test_metrics_are_there_by_name(tmp_path: Path):
    build_run(tmp_path)
    metrics = read_tables(load_runs(tmp_path).runs[0]).metrics
    frames, values = metrics["loss"]
    assert list(zip(frames, values, strict=True)) == [(100_000, 0.5), (196_608, 0.25)]
    assert [name for name in metrics if name.startswith("effective_rank/")] == ["effective_rank/conv2"]
    assert "los" not in metrics
