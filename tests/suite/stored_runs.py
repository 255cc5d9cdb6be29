"""Runs on disk, written through the real store, for the pinned configurations."""

from baselines.agent import FinishedGame
from baselines.registry import describe
from results.hashing import config_hash
from results.manifest import write_manifest
from results.schema import FORMAT_VERSION, RunSpec
from results.store import episode_table, metric_table, run_directory, timing_table, write_tables
from suite.protocol import full_config, load_protocol

GAMES = [
    FinishedGame(frames=40_000, environment=3, episode_return=-21.0, length=100, kind="train", end="game_over"),
    FinishedGame(frames=190_000, environment=0, episode_return=-19.0, length=100, kind="train", end="game_over"),
]


def stored_spec(*, baseline="pqn", game="Pong", frames=200_000, seed=0):
    """The identity of what `store_run` stores."""
    config = full_config(describe(baseline), load_protocol("paper"))
    return RunSpec(baseline, game, frames, seed, config_hash(config))


def store_run(root, *, baseline="pqn", game="Pong", frames=200_000, seed=0, games=GAMES, values=None, **changes):
    """A finished run of 12 updates (196,608 frames) with a score of -20, unless `changes` to its manifest say else."""
    config = full_config(describe(baseline), load_protocol("paper"))
    if values:
        config["baseline"] |= values
    spec = RunSpec(baseline, game, frames, seed, config_hash(config))
    directory = run_directory(root, spec)
    directory.mkdir(parents=True)
    returns = [finished.episode_return for finished in games]
    manifest = {
        "format_version": FORMAT_VERSION,
        "spec": spec.as_json(),
        "protocol": "paper",
        "config": config,
        "off_protocol": [],
        "status": "done",
        "path": "plain",
        "frames_done": 196_608,
        "updates_done": 12,
        "score": {
            "train": {"mean": sum(returns) / len(returns) if returns else None, "games": len(returns)},
            "greedy": {"mean": None, "games": 0},
        },
        "unreported_game_ends": 0,
        "environment": {"envpool_id": f"{game}-v5"},
        "versions": {"python": "3.11.7"},
        "hardware": {"device": "cpu", "cpu": "Some CPU", "gpu": None},
        "revision": None,
        "started_at": "2026-11-01T10:00:00+00:00",
        "finished_at": "2026-11-01T10:00:20+00:00",
        "wall_seconds": 20.0,
        "cpu_seconds": None,
        "frames_per_second": 9830.4,
        "interruptions": [],
        "files": write_tables(
            directory,
            episodes=episode_table(games),
            metrics=metric_table([(100_000, "loss", 0.5)]),
            timing=timing_table([(100_000, 10.0, 10_000.0), (196_608, 20.0, 9_660.8)]),
        ),
        "actions": None,
        "error": None,
    }
    write_manifest(directory, manifest | changes)
    return directory
