from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_builder import CONFIG, GAMES, METRICS, TIMING, Game, build_run, edit_manifest, verify

from results.actions import pack, write_log
from results.manifest import read_manifest
from results.schema import ACTIONS_FILE, EPISODES_FILE, METRICS_FILE, TIMING_FILE
from results.store import episode_table, metric_table, timing_table, write_tables

GREEDY = {"mean": -19.5, "games": 2}


def problems(root: Path) -> list[str]:
    ((_, found),) = verify(root)
    return found


def test_a_sound_run_has_no_problems(tmp_path: Path):
    build_run(tmp_path)
    assert problems(tmp_path) == []


def test_a_run_without_games_is_sound(tmp_path: Path):
    build_run(tmp_path, games=())
    assert problems(tmp_path) == []


def test_a_run_stopped_before_its_first_tables_is_sound(tmp_path: Path):
    directory = build_run(tmp_path, games=(), status="failed", frames_done=0, files={}, finished_at=None)
    for path in directory.glob("*.parquet"):
        path.unlink()
    assert problems(tmp_path) == []


def test_a_broken_run_is_listed_with_its_reason(tmp_path: Path):
    build_run(tmp_path, seed=0)
    (build_run(tmp_path, seed=1) / "manifest.json").write_text("{}")
    found = {run.directory.name: reasons for run, reasons in verify(tmp_path)}
    assert found["seed-0"] == []
    assert "format_version is None" in found["seed-1"][0]


@pytest.mark.parametrize("name", [EPISODES_FILE, METRICS_FILE, TIMING_FILE])
def test_one_flipped_bit_in_a_table_is_found(tmp_path: Path, name: str):
    path = build_run(tmp_path) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"{name}: SHA-256 is ")


@pytest.mark.parametrize("name", [EPISODES_FILE, METRICS_FILE, TIMING_FILE])
def test_a_missing_table_is_found(tmp_path: Path, name: str):
    (build_run(tmp_path) / name).unlink()
    assert problems(tmp_path) == [f"{name}: cannot be read (No such file or directory)"]


def test_a_table_that_the_manifest_does_not_list_is_found(tmp_path: Path):
    build_run(tmp_path, files={})
    assert problems(tmp_path) == [
        f"{name}: the manifest does not list it" for name in (EPISODES_FILE, METRICS_FILE, TIMING_FILE, ACTIONS_FILE)
    ]


def test_a_hash_mismatch_of_a_run_killed_while_saving_says_what_to_do(tmp_path: Path):
    directory = build_run(tmp_path, status="running", finished_at=None)
    write_tables(directory, episodes=episode_table([]), metrics=metric_table(METRICS), timing=timing_table(TIMING))
    (problem,) = problems(tmp_path)
    assert "resuming it puts it right" in problem


def test_a_wrong_count_of_rows_is_found(tmp_path: Path):
    directory = build_run(tmp_path)
    files = read_manifest(directory)["files"]
    edit_manifest(directory, files={**files, METRICS_FILE: {**files[METRICS_FILE], "rows": 4}})
    assert problems(tmp_path) == [f"{METRICS_FILE}: has 3 rows, the manifest says 4"]


def test_a_foreign_table_is_found_though_its_checksum_fits(tmp_path: Path):
    directory = build_run(tmp_path)
    files = read_manifest(directory)["files"]
    (directory / TIMING_FILE).write_bytes((directory / METRICS_FILE).read_bytes())
    edit_manifest(directory, files={**files, TIMING_FILE: files[METRICS_FILE]})
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"{TIMING_FILE}: has the columns frames int64, name")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"games": [Game(20), Game(10)]}, "episodes.parquet: frames fall from one row to the next"),
        ({"games": [Game(196_609)]}, "episodes.parquet: frames from 196609 to 196609, the run has played 1 to 196608"),
        ({"games": [Game(0)]}, "episodes.parquet: frames from 0 to 0, the run has played 1 to 196608"),
        ({"games": [Game(10, length=0)]}, "episodes.parquet: a game has no agent steps"),
        ({"games": [Game(10, environment=-1)]}, "episodes.parquet: an environment's index is negative"),
        (
            {"games": [Game(10, end="unreported")], "unreported_game_ends": 0},
            "episodes.parquet: 1 games ended unreported, the manifest says 0",
        ),
        (
            {"games": [Game(10, episode_return=float("inf"))], "score": {"train": {"mean": 1.0, "games": 1}}},
            "episodes.parquet: a return is not finite",
        ),
        ({"metrics": [(2, "loss", 1.0), (1, "loss", 1.0)]}, "metrics.parquet: frames fall from one row to the next"),
        (
            {"timing": [(500_000, 1.0, 1.0)]},
            "timing.parquet: frames from 500000 to 500000, the run has played 1 to 196608",
        ),
        (
            {"score": {"train": {"mean": -19.9, "games": 3}, "greedy": GREEDY}},
            "score of train: the games give -20.0, the manifest says -19.9",
        ),
        (
            {"score": {"train": {"mean": -20.0, "games": 100}, "greedy": GREEDY}},
            "score of train: rests on 3 games, the manifest says 100",
        ),
        (
            {"score": {"train": {"mean": None, "games": 3}, "greedy": GREEDY}},
            "score of train: the games give -20.0, the manifest says None",
        ),
        (
            {"games": (), "score": {"train": {"mean": None, "games": 0}, "greedy": {"mean": 0.0, "games": 0}}},
            "score of greedy: the games give None, the manifest says 0.0",
        ),
        (
            {"frames_done": 180_224, "updates_done": 11, "games": GAMES[:2], "metrics": (), "timing": ()},
            "is done after 180224 frames, not within a step of progress of its budget of 200000",
        ),
        ({"frames_done": 212_992, "updates_done": 13}, "is done after 212992 frames, not within a step of progress"),
        ({"finished_at": None}, "is done, but has no finished_at"),
        ({"finished_at": "2026-10-31T23:59:59+00:00"}, "finished before it started"),
        ({"error": {"type": "OSError", "message": "disk full"}}, "is done, but has an error: OSError"),
        ({"protocol": "sticky", "configured": "paper"}, "config: its protocol is 'paper', the manifest says 'sticky'"),
    ],
)
def test_each_planted_fault_is_found(tmp_path: Path, changes: dict[str, Any], problem: str):
    score = changes.get("score", {})
    if "score" in changes and "greedy" not in score:
        changes = {**changes, "score": {**score, "greedy": {"mean": None, "games": 0}}}
    build_run(tmp_path, **changes)
    found = problems(tmp_path)
    assert any(line.startswith(problem) for line in found), found


def test_a_configuration_changed_after_the_run_is_found(tmp_path: Path):
    directory = build_run(tmp_path)
    edit_manifest(directory, config={**CONFIG, "baseline": {"algorithm": "pqn", "rollout_agent_steps": 64}})
    (problem,) = problems(tmp_path)
    assert problem.startswith("config: its hash is ")


def test_an_unfinished_run_may_have_its_budget_before_it(tmp_path: Path):
    build_run(tmp_path, status="interrupted", finished_at=None, frames_done=196_608, frames=40_000_000)
    assert problems(tmp_path) == []


def test_unknown_kinds_that_another_writer_put_in_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("results.store.EPISODE_KINDS", ("train", "greedy", "human"))
    build_run(tmp_path, games=[Game(10, kind="human")])
    (problem,) = problems(tmp_path)
    assert problem == "episodes.parquet: unknown kind 'human' (allowed: train, greedy)"


@pytest.mark.parametrize(("frames_done", "sound"), [(199_680, True), (198_656, False)])
def test_a_budget_rounded_down_to_whole_blocks_is_spent(tmp_path: Path, frames_done: int, sound: bool):
    # 200,000 frames are 195.3 blocks of 16 steps of 16 environments, 1,024 frames each; an update is 16 frames.
    config = {"baseline": {"block_vector_steps": 16}, "protocol": {"name": "paper"}}
    environment = {"envpool_id": "Pong-v5", "train_seeds": list(range(16))}
    directory = build_run(
        tmp_path, config=config, environment=environment, frames_done=frames_done, updates_done=12_000
    )
    entry, files = write_log(directory, pack(np.zeros((frames_done // 64, 16), dtype=np.uint8), train=16))
    edit_manifest(directory, actions=entry, files=read_manifest(directory)["files"] | files)
    assert (problems(tmp_path) == []) == sound


def test_an_agent_that_names_no_steps_may_miss_its_budget_by_an_update(tmp_path: Path):
    build_run(tmp_path, config={"baseline": {"mine": 1}, "protocol": {"name": "paper"}})
    assert problems(tmp_path) == []
