"""Real runs of a few seconds, and forgeries of them that every checksum fits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from shrunk import shrunk

from results.actions import pack, read_log, write_log
from results.atomic import table_bytes, write_bytes
from results.hashing import sha256_hex
from results.manifest import read_manifest, write_manifest
from results.schema import EPISODE_KINDS, EPISODES_FILE
from results.scores import SCORE_WINDOW_GAMES
from results.store import Run, episode_table, open_run, read_episodes, run_directory
from suite import opening
from suite.protocol import load_protocol, run_spec
from suite.run import RunOptions, execute

# One gradient step an update: what is played counts here.
TINY = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 1, "epochs": 1}
FRAMES_PER_UPDATE = 128


def tiny_pinned(name: str) -> Any:
    """PQN of 4 + 2 environments and 8 steps a rollout."""
    return shrunk(name, TINY)


def play(results: Path, *, game: str = "Breakout", updates: int = 40, seed: int = 0, protocol: str = "paper") -> Run:
    """Trains a tiny PQN to the end of its budget."""
    frames = updates * FRAMES_PER_UPDATE
    spec = run_spec(tiny_pinned("pqn"), load_protocol(protocol), game=game, frames=frames, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "load_pinned", tiny_pinned)
        options = RunOptions(device="cpu", threads=1, emulator_threads=1)
        execute(spec, results=results, options=options, report=lambda _: None, stop_requested=lambda: False)
    return opened(run_directory(results, spec))


def opened(directory: Path) -> Run:
    run = open_run(directory)
    assert isinstance(run, Run), run
    return run


def copied(run: Run, results: Path) -> Run:
    """The same run in another results folder."""
    directory = run_directory(results, run.spec)
    shutil.copytree(run.directory, directory)
    return opened(directory)


def with_games(run: Run, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Run:
    """`run` with its table of games changed, and everything that is computed from it."""
    games = change(read_episodes(run.directory).astype({"kind": str, "end": str}))
    table = episode_table(list(games.itertuples(index=False)))
    write_bytes(run.directory / EPISODES_FILE, table_bytes(table))
    manifest = read_manifest(run.directory)
    data = (run.directory / EPISODES_FILE).read_bytes()
    manifest["files"][EPISODES_FILE] = {"sha256": sha256_hex(data), "rows": len(games)}
    for kind in EPISODE_KINDS:
        last = games[games["kind"] == kind]["episode_return"].tail(SCORE_WINDOW_GAMES)
        manifest["score"][kind] = {"mean": float(last.mean()) if len(last) else None, "games": len(last)}
    manifest["unreported_game_ends"] = int((games["end"] == "unreported").sum())
    write_manifest(run.directory, manifest)
    return opened(run.directory)


def with_actions(run: Run, change: Callable[[np.ndarray], np.ndarray]) -> Run:
    """`run` with its log [vector steps, environments] changed, and every digest with it."""
    log = read_log(run)
    assert log is not None
    actions, entry = write_log(run.directory, pack(change(log.actions(log.names)), train=TINY["train_environments"]))
    manifest = read_manifest(run.directory)
    manifest["actions"], manifest["files"] = actions, manifest["files"] | entry
    write_manifest(run.directory, manifest)
    return opened(run.directory)


def with_manifest(run: Run, change: Callable[[dict[str, Any]], None]) -> Run:
    """`run` with its manifest changed in place by `change`."""
    manifest = read_manifest(run.directory)
    change(manifest)
    write_manifest(run.directory, manifest)
    return opened(run.directory)
