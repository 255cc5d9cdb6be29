"""Builds runs on disk for tests, sound unless told otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from results.actions import pack, write_log
from results.hashing import config_hash
from results.manifest import _checksum, write_manifest
from results.schema import CHECKSUM_KEY, EPISODE_KINDS, FORMAT_VERSION, MANIFEST_FILE, RunSpec
from results.store import BrokenRun, Run, episode_table, metric_table, run_directory, scan, timing_table, write_tables
from results.verify import problems_of

CONFIG = {"baseline": {"algorithm": "pqn", "rollout_agent_steps": 32}, "protocol": {"name": "paper", "frame_skip": 4}}
METRICS = ((100_000, "loss", 0.5), (100_000, "effective_rank/conv2", 12.0), (196_608, "loss", 0.25))
TIMING = ((100_000, 10.0, 10_000.0), (196_608, 20.0, 9_660.8))


class Game(NamedTuple):
    frames: int
    environment: int = 0
    episode_return: float = 0.0
    length: int = 100
    kind: str = "train"
    end: str = "game_over"


# Means: train (-21 - 20 - 19) / 3 = -20, greedy (-21 - 18) / 2 = -19.5.
GAMES = (
    Game(40_000, 3, -21.0),
    Game(80_000, 0, -21.0, kind="greedy"),
    Game(80_000, 1, -20.0, end="time_limit"),
    Game(150_000, 2, -18.0, kind="greedy"),
    Game(190_000, 0, -19.0),
)


def build_run(
    root: Path,
    *,
    baseline: str = "pqn",
    game: str = "Pong",
    frames: int = 200_000,
    seed: int = 0,
    games: Sequence[Game] = GAMES,
    metrics: Sequence[tuple[int, str, float]] = METRICS,
    timing: Sequence[tuple[int, float, float]] = TIMING,
    config: dict[str, Any] | None = None,
    protocol: str = "paper",
    configured: str | None = None,
    **changes: Any,
) -> Path:
    """Writes a finished run: 12 updates of 16,384 frames, 196,608 of a budget of 200,000. `changes`: manifest keys.

    `configured`: what the configuration calls its protocol, if not as the manifest does.

    Returns: its folder.
    """
    config = CONFIG if config is None else config
    if protocol != "paper":
        config = {**config, "protocol": {**config["protocol"], "name": configured or protocol}}
    spec = RunSpec(baseline, game, frames, seed, config_hash(config), protocol)
    directory = run_directory(root, spec)
    directory.mkdir(parents=True, exist_ok=True)
    returns = {kind: [entry.episode_return for entry in games if entry.kind == kind] for kind in EPISODE_KINDS}
    files = write_tables(
        directory, episodes=episode_table(games), metrics=metric_table(metrics), timing=timing_table(timing)
    )
    actions, entry = write_log(directory, pack(np.zeros((384, 128), dtype=np.uint8), train=128))
    manifest = {
        "format_version": FORMAT_VERSION,
        "spec": spec.as_json(),
        "protocol": protocol,
        "config": config,
        "off_protocol": [],
        "status": "done",
        "path": "plain",
        "frames_done": 196_608,
        "updates_done": 12,
        "score": {
            kind: {"mean": sum(last) / len(last) if last else None, "games": len(last)}
            for kind, last in ((kind, returns[kind][-100:]) for kind in EPISODE_KINDS)
        },
        "unreported_game_ends": sum(entry.end == "unreported" for entry in games),
        "environment": {"envpool_id": f"{game}-v5", "train_seeds": list(range(128))},
        "versions": {"python": "3.13.1"},
        "hardware": {"device": "cpu", "cpu": "Some CPU", "gpu": None},
        "revision": None,
        "started_at": "2026-11-01T10:00:00+00:00",
        "finished_at": "2026-11-01T10:00:20+00:00",
        "wall_seconds": 20.0,
        "cpu_seconds": None,
        "frames_per_second": 9830.4,
        "interruptions": [],
        "files": files | entry,
        "actions": actions,
        "error": None,
        **changes,
    }
    write_manifest(directory, manifest)
    return directory


def verify(root: Path) -> list[tuple[Run | BrokenRun, list[str]]]:
    """Every run below `root` with what is wrong with it."""
    return [(found, problems_of(found)) for found in scan(root)]


def edit_manifest(directory: Path, **changes: Any) -> None:
    """Overwrites keys of a manifest as a forger would, its checksum made to fit. `DELETE` as value removes the key."""
    path = directory / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is DELETE:
            del manifest[key]
        else:
            manifest[key] = value
    if CHECKSUM_KEY in manifest:
        del manifest[CHECKSUM_KEY]
        manifest[CHECKSUM_KEY] = _checksum(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


DELETE = object()
