from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_builder import GAMES, METRICS, TIMING, Game, build_run, edit_manifest

from results.errors import ResultsError
from results.manifest import read_manifest
from results.schema import EPISODE_SCHEMA, EPISODES_FILE, MANIFEST_FILE, METRICS_FILE, TIMING_FILE, RunSpec
from results.store import (
    BrokenRun,
    Run,
    episode_table,
    external_directories,
    metric_table,
    read_episodes,
    read_metrics,
    read_timing,
    run_directory,
    scan,
    timing_table,
    write_tables,
)


def test_a_run_lives_under_baseline_game_budget_and_seed():
    spec = RunSpec("hadamax-pqn", "BattleZone", 40_000_000, 2, "0" * 16)
    assert run_directory(Path("results/runs"), spec) == Path("results/runs/hadamax-pqn/BattleZone/40M/seed-2")


def test_episodes_come_back_as_written(tmp_path: Path):
    episodes = read_episodes(build_run(tmp_path))
    assert [Game(*row) for row in episodes.itertuples(index=False)] == list(GAMES)
    assert [str(kind) for kind in episodes.dtypes] == ["int64", "int16", "float64", "int32", "category", "category"]


def test_metrics_and_timing_come_back_as_written(tmp_path: Path):
    directory = build_run(tmp_path)
    assert list(read_metrics(directory).itertuples(index=False, name=None)) == list(METRICS)
    assert list(read_timing(directory).itertuples(index=False, name=None)) == list(TIMING)


def test_empty_tables_come_back_empty(tmp_path: Path):
    directory = build_run(tmp_path, games=(), metrics=(), timing=())
    assert len(read_episodes(directory)) == len(read_metrics(directory)) == len(read_timing(directory)) == 0
    assert list(read_episodes(directory).columns) == EPISODE_SCHEMA.names


def test_equal_rows_give_equal_files_and_others_do_not(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    one, two = build_run(first), build_run(second)
    for name in (EPISODES_FILE, METRICS_FILE, TIMING_FILE, MANIFEST_FILE):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    third = build_run(tmp_path / "c", games=[*GAMES[:-1], GAMES[-1]._replace(episode_return=-19.5)])
    assert (one / EPISODES_FILE).read_bytes() != (third / EPISODES_FILE).read_bytes()


def test_an_unknown_kind_or_end_of_game_is_not_written():
    with pytest.raises(ValueError, match=r"unknown 'test' \(allowed: train, greedy\)"):
        episode_table([Game(1, kind="test")])
    with pytest.raises(ValueError, match="unknown 'won'"):
        episode_table([Game(1, end="won")])


def test_a_table_of_another_schema_is_not_written(tmp_path: Path):
    with pytest.raises(ValueError, match=r"timing.parquet must have the columns frames int64"):
        write_tables(tmp_path, episodes=episode_table([]), metrics=metric_table([]), timing=metric_table([]))


def test_written_tables_are_reported_with_checksum_and_rows(tmp_path: Path):
    files = write_tables(
        tmp_path, episodes=episode_table(GAMES), metrics=metric_table(METRICS), timing=timing_table([])
    )
    assert {name: entry["rows"] for name, entry in files.items()} == {EPISODES_FILE: 5, METRICS_FILE: 3, TIMING_FILE: 0}
    assert all(len(entry["sha256"]) == 64 for entry in files.values())


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"episodes.parquet: cannot be read \(No such file"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_an_unreadable_table_is_named_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / EPISODES_FILE).write_bytes(content)
    with pytest.raises(ResultsError, match=r"episodes.parquet: no readable Parquet") as error:
        read_episodes(tmp_path)
    assert "\n" not in str(error.value)


def test_a_table_cut_short_is_named(tmp_path: Path):
    directory = build_run(tmp_path)
    data = (directory / EPISODES_FILE).read_bytes()
    (directory / EPISODES_FILE).write_bytes(data[: len(data) // 2])
    with pytest.raises(ResultsError, match="no readable Parquet"):
        read_episodes(directory)


def test_a_foreign_table_is_refused_with_both_columns(tmp_path: Path):
    pd.DataFrame({"step": [1], "reward": [2.0]}).to_parquet(tmp_path / EPISODES_FILE)
    with pytest.raises(ResultsError, match=r"has the columns step int64, reward double; expected frames int64"):
        read_episodes(tmp_path)


def test_a_column_of_another_type_is_refused(tmp_path: Path):
    schema = pa.schema([field.with_type(pa.int32()) if field.name == "frames" else field for field in EPISODE_SCHEMA])
    pq.write_table(schema.empty_table(), tmp_path / EPISODES_FILE)
    with pytest.raises(ResultsError, match=r"has the columns frames int32, .* expected frames int64"):
        read_episodes(tmp_path)


def test_a_table_with_empty_cells_is_refused(tmp_path: Path):
    columns = [pa.array([None], field.type) for field in EPISODE_SCHEMA]
    pq.write_table(pa.Table.from_arrays(columns, schema=EPISODE_SCHEMA), tmp_path / EPISODES_FILE)
    with pytest.raises(ResultsError, match="has empty cells"):
        read_episodes(tmp_path)


def test_a_results_folder_that_is_not_there_holds_no_runs(tmp_path: Path):
    assert scan(tmp_path / "absent") == []
    assert scan(tmp_path) == []


def test_a_results_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("hello")
    with pytest.raises(ResultsError, match="is a file, not a folder of results"):
        scan(tmp_path / "file")


def test_finds_runs_in_the_order_of_baseline_game_budget_and_seed(tmp_path: Path):
    for baseline, game, frames, seed in (
        ("pqn", "Pong", 40_000_000, 0),
        ("pqn", "Pong", 200_000, 10),
        ("pqn", "Pong", 200_000, 9),
        ("pqn", "Breakout", 200_000, 0),
        ("hadamax-pqn", "Pong", 200_000, 0),
    ):
        build_run(tmp_path, baseline=baseline, game=game, frames=frames, seed=seed)
    runs = scan(tmp_path)
    assert [str(run.spec) for run in runs if isinstance(run, Run)] == [
        "hadamax-pqn Pong 200k seed 0",
        "pqn Breakout 200k seed 0",
        "pqn Pong 200k seed 9",
        "pqn Pong 200k seed 10",
        "pqn Pong 40M seed 0",
    ]


def test_a_run_found_says_how_far_it_is(tmp_path: Path):
    build_run(tmp_path, status="interrupted", frames_done=65_536, finished_at=None)
    (run,) = scan(tmp_path)
    assert isinstance(run, Run)
    assert (run.status, run.frames_done, run.is_done) == ("interrupted", 65_536, False)


def test_one_broken_run_is_named_and_the_others_are_found(tmp_path: Path):
    sound = build_run(tmp_path, seed=0)
    cut = build_run(tmp_path, seed=1)
    (cut / MANIFEST_FILE).write_text("{")
    copied = build_run(tmp_path, seed=2)
    edit_manifest(copied, spec={**read_manifest(sound)["spec"], "seed": 7})
    lost = build_run(tmp_path, seed=3)
    (lost / MANIFEST_FILE).unlink()
    found = {run.directory: run for run in scan(tmp_path)}
    assert isinstance(found[sound], Run)
    for directory, reason in ((cut, "no JSON"), (copied, "whose place is"), (lost, "has tables but no manifest.json")):
        broken = found[directory]
        assert isinstance(broken, BrokenRun)
        assert reason in broken.reason
    assert len(found) == 4


def test_a_run_copied_to_the_wrong_level_is_named(tmp_path: Path):
    directory = build_run(tmp_path / "runs")
    shutil.copytree(directory, tmp_path / "runs" / "backup" / "seed-0")
    broken = [run for run in scan(tmp_path / "runs") if isinstance(run, BrokenRun)]
    assert [run.directory.parent.name for run in broken] == ["backup"]


@pytest.mark.parametrize("protocol", ["paper", "dopamine"])
def test_a_copy_of_a_run_is_named_and_the_run_is_found(tmp_path: Path, protocol: str):
    directory = build_run(tmp_path / "runs", protocol=protocol)
    copy = tmp_path / "runs" / "backup" / directory.relative_to(tmp_path / "runs")
    shutil.copytree(directory, copy)
    found = {run.directory: run for run in scan(tmp_path / "runs")}
    assert isinstance(found[directory], Run)
    assert isinstance(found[copy], BrokenRun)
    assert "delete it if it is a copy, or give the folder 'backup' that it lies in as --results" in found[copy].reason


@pytest.mark.parametrize("given", [".", "results/runs/pqn"])
def test_runs_below_another_folder_than_theirs_are_named_with_the_folder_to_give(tmp_path: Path, given: str):
    build_run(tmp_path / "results" / "runs")
    (broken,) = scan(tmp_path / given)
    assert isinstance(broken, BrokenRun)
    assert "whose place below --results is pqn/Pong/200k/seed-0" in broken.reason
    assert "give the folder 'runs' that it lies in as --results" in broken.reason


def test_folders_side_by_side_share_one_folder_of_imported_scores(tmp_path: Path):
    folders = [tmp_path / name for name in ("mine/runs", "yours/runs", "mine/runs2", "mine/../yours/runs")]
    for folder in folders[:3]:
        folder.mkdir(parents=True)
    assert external_directories(folders) == {
        tmp_path.resolve() / "mine/external": folders[0],
        tmp_path.resolve() / "yours/external": folders[1],
    }


def test_a_run_that_left_no_manifest_yet_and_hidden_folders_are_passed_over(tmp_path: Path):
    (tmp_path / "pqn" / "Pong" / "200k" / "seed-0").mkdir(parents=True)
    (tmp_path / "pqn" / "Pong" / "200k" / "seed-0" / ".lock").touch()
    shutil.move(build_run(tmp_path / "elsewhere"), tmp_path / ".trash")
    assert scan(tmp_path) == []


def test_a_link_that_leads_round_in_a_circle_hides_no_run(tmp_path: Path):
    build_run(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (run,) = scan(tmp_path)
    assert isinstance(run, Run)
