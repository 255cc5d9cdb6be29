"""Runs that nobody made, with scores chosen beforehand, written through the real store."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reports.catalogue import BaselineInfo, Catalogue, ProtocolInfo
from results.games import ATARI57, GAMES
from results.hashing import config_hash
from results.manifest import write_manifest
from results.schema import EPISODE_ENDS, EPISODE_KINDS, EPISODE_SCHEMA, FORMAT_VERSION, METRIC_SCHEMA, RunSpec
from results.store import run_directory, timing_table, write_tables

LAYERS = ("conv1", "conv2", "conv3", "dense")
TITLES = {
    "pqn": "PQN",
    "hadamax-pqn": "Hadamax-PQN",
    "c51": "C51",
    "hadamax-c51": "Hadamax-C51",
    "rainbow": "Rainbow",
}
PROTOCOL = {"frame_skip": 4, "sticky_action_probability": 0.0}
OWN_CLAIM = """
[[claim]]
id = "own"
kind = "gain"
title = "Hadamax-PQN gains 50 % on three games"
statement = "A claim of ours."
source = "nobody"
baseline = "hadamax-pqn"
reference = "pqn"
games = ["Pong", "Breakout", "Qbert"]
frames = "4M"
measure = "median"
claimed = 0.5
"""
CLAIMED_GAMES = ("Pong", "Breakout", "Qbert")
HARDWARE = {
    "cpu": "Made-up CPU",
    "instructions": "AVX2",
    "cores": 2,
    "memory_bytes": 16 << 30,
    "device": "cpu",
    "gpu": None,
    "torch_threads": 2,
    "emulator_threads": 2,
    "platform": "Linux",
    "jobs": 1,
    "fast_paths": ["freed memory kept"],
    "fast_paths_missed": [],
}


def values_of(baseline: str) -> dict[str, Any]:
    """A made-up pinned configuration."""
    return {"learning_rate": 2.5e-4, "discount": 0.99, "train_envs": 128, "encoder": baseline.split("-")[0]}


def config_of(baseline: str, protocol: str = "paper", **changes: Any) -> dict[str, Any]:
    """The full configuration of a run, with some values changed."""
    return {"baseline": values_of(baseline) | changes, "protocol": {"name": protocol, **PROTOCOL}}


def make_catalogue(
    names: Sequence[str] = tuple(TITLES), *, protocol: str = "paper", others: Sequence[str] = ()
) -> Catalogue:
    """A catalogue that pins `config_of` of each name; `others`: further protocols that the suite has."""
    return Catalogue(
        baselines=tuple(
            BaselineInfo(
                name=name,
                title=TITLES.get(name, name),
                config_hash=config_hash(config_of(name, protocol)),
                values=values_of(name),
                sources=dict.fromkeys(values_of(name), "made up"),
                about_markdown=f"What {name} is, beside [PQN](pqn.md) and [speed](../speed.md).",
                references={"made up": "for tests"},
                deviations_markdown=f"# {name}\n\n1. **Seeds.** Each environment has its own.\n2. Another `detail`.\n",
            )
            for name in names
        ),
        protocol=ProtocolInfo(
            protocol,
            PROTOCOL | ({} if protocol == "paper" else {"sticky": 0.25}),
            dict.fromkeys(PROTOCOL, "made up"),
            title=f"The protocol called {protocol}",
            differences_markdown="" if protocol == "paper" else "1. **One thing** differs.\n2. Another, too.\n",
        ),
        other_protocols=tuple(others),
    )


def raw(hns: float, game: str) -> float:
    """The raw score of a human-normalised one."""
    entry = GAMES[game]
    return entry.random + hns * (entry.human - entry.random)


def write_run(
    root: Path,
    baseline: str,
    game: str,
    frames: int,
    seed: int,
    hns: float,
    *,
    games: int = 120,
    changes: Mapping[str, Any] | None = None,
    protocol: str = "paper",
    status: str = "done",
    off_protocol: Sequence[str] = (),
    frames_done: int | None = None,
    diagnostics: Mapping[str, float | np.ndarray] | None = None,
    metric_rows: int = 20,
    frames_per_second: float = 10_000.0,
    hardware: Mapping[str, Any] | None = None,
    path: str = "plain",
    cpu_seconds: float | None = None,
    at_fraction: tuple[float, float] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a run whose final training score is exactly `hns`, and gives its folder back.

    Args:
        games: finished in training, at least 100 or none, evenly spread over the frames done.
        changes: to the pinned configuration.
        diagnostics: name -> value, the same in every row, or one for each of the rows (half of `metric_rows`).
        at_fraction: (fraction of the budget, hns) for a score that is flat at that hns until there; needs 100 games
            on either side.
        config: a full configuration, instead of `config_of` with `changes`.
    """
    rng = np.random.default_rng([seed, frames % 2**32, *map(ord, baseline + game)])
    done = frames if frames_done is None else frames_done
    at = np.linspace(done / max(games, 1), done, games).astype(np.int64)
    share = at / frames
    target = raw(hns, game)
    if at_fraction is None:
        level = GAMES[game].random + (target - GAMES[game].random) * (1 - np.exp(-4 * share)) / (1 - np.exp(-4))
    else:
        level = np.where(share <= at_fraction[0], raw(at_fraction[1], game), target)
    returns = level + 0.05 * abs(target - GAMES[game].random) * rng.standard_normal(games)
    if games:
        returns[-100:] += target - returns[-100:].mean()
    if at_fraction is not None:
        before = np.flatnonzero(share <= at_fraction[0])[-100:]
        returns[before] += raw(at_fraction[1], game) - returns[before].mean()
    config = dict(config_of(baseline, protocol, **(changes or {})) if config is None else config)
    spec = RunSpec(baseline, game, frames, seed, config_hash(config), protocol)
    directory = run_directory(root, spec)
    directory.mkdir(parents=True)
    speed = frames_per_second * (1 + 0.02 * rng.standard_normal())
    files = write_tables(
        directory,
        episodes=_episodes(at, returns, rng),
        metrics=_metrics(frames, done, metric_rows, diagnostics or {}, rng),
        timing=timing_table([(done // 2, done / 2 / speed, speed), (done, done / speed, speed)]),
    )
    write_manifest(
        directory,
        {
            "format_version": FORMAT_VERSION,
            "spec": spec.as_json(),
            "protocol": protocol,
            "config": config,
            "off_protocol": list(off_protocol),
            "status": status,
            "path": path,
            "frames_done": int(done),
            "updates_done": int(done // 16384),
            "score": {
                "train": {"mean": float(returns[-100:].mean()) if games else None, "games": min(games, 100)},
                "greedy": {"mean": None, "games": 0},
            },
            "unreported_game_ends": 0,
            "environment": {"envpool_id": GAMES[game].envpool_id},
            "versions": {"torch": "2.11.0", "envpool": "1.2.5"},
            "hardware": dict(HARDWARE if hardware is None else hardware),
            "revision": {"commit": "0" * 40, "clean": True},
            "started_at": "2026-01-01T00:00:00+00:00",
            "finished_at": "2026-01-02T00:00:00+00:00" if status == "done" else None,
            "wall_seconds": float(done / speed),
            "cpu_seconds": cpu_seconds,
            "frames_per_second": float(speed),
            "interruptions": [],
            "files": files,
            "actions": None,
            "error": {"type": "RuntimeError", "message": "made to fail"} if status == "failed" else None,
        },
    )
    return directory


def _episodes(at: np.ndarray, returns: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Training games, and every tenth again as a greedy one that scores 5 % more."""
    greedy = np.arange(len(at)) % 10 == 9
    frames = np.concatenate([at, at[greedy]])
    order = np.argsort(frames, kind="stable")
    kinds = np.concatenate([np.zeros(len(at), np.int8), np.ones(greedy.sum(), np.int8)])[order]
    columns = [
        pa.array(frames[order]),
        pa.array(rng.integers(0, 8, len(frames)).astype(np.int16)),
        pa.array(np.concatenate([returns, 1.05 * returns[greedy]])[order]),
        pa.array(rng.integers(200, 4000, len(frames)).astype(np.int32)),
        pa.DictionaryArray.from_arrays(pa.array(kinds), pa.array(EPISODE_KINDS)),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(frames), np.int8)), pa.array(EPISODE_ENDS)),
    ]
    return pa.Table.from_arrays(columns, schema=EPISODE_SCHEMA)


def _metrics(
    frames: int, done: int, rows: int, diagnostics: Mapping[str, float | np.ndarray], rng: np.random.Generator
) -> pa.Table:
    """`rows` of loss and friends, and half as many of each diagnostic."""
    at = np.linspace(frames / rows, frames, rows).astype(np.int64)
    at = at[at <= done]
    training = ["loss", "value", "epsilon", "gradient_norm"]
    names = [*training, *diagnostics]
    parts = [(at, code, rng.random(len(at))) for code in range(len(training))]
    parts += [
        (at[1::2], code, np.broadcast_to(value, len(at[1::2])))
        for code, value in enumerate(diagnostics.values(), start=len(training))
    ]
    when = np.concatenate([part[0] for part in parts])
    order = np.argsort(when, kind="stable")
    codes = np.concatenate([np.full(len(part[0]), part[1], np.int16) for part in parts])[order]
    values = np.concatenate([part[2] for part in parts])[order]
    columns = [
        pa.array(when[order]),
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names)),
        pa.array(values),
    ]
    return pa.Table.from_arrays(columns, schema=METRIC_SCHEMA)


STRENGTH = {"pqn": 0.9, "hadamax-pqn": 1.5, "c51": 0.6, "hadamax-c51": 1.0, "rainbow": 1.4}


def write_full_set(
    root: Path,
    *,
    baselines: Sequence[str] = tuple(TITLES),
    games: Sequence[str] = ATARI57,
    frames: int = 200_000_000,
    seeds: int = 5,
    finished_games: int = 8000,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """A whole matrix of real size: games differ in difficulty, seeds spread by 15 %. Returns how many runs.

    Args:
        configs: of each baseline, instead of made-up ones.
    """
    rng = np.random.default_rng(0)
    difficulty = dict(zip(ATARI57, np.exp(rng.normal(0, 1.1, len(ATARI57))), strict=True))
    written = 0
    for baseline in baselines:
        hadamax = baseline.startswith("hadamax")
        for game in games:
            for seed in range(seeds):
                hns = STRENGTH[baseline] * difficulty[game] * (1 + 0.15 * rng.standard_normal())
                diagnostics = {
                    f"{kind}/{layer}": value * (1 + 0.05 * rng.standard_normal())
                    for layer in LAYERS
                    for kind, value in (
                        ("effective_rank", 60 if hadamax else 35),
                        ("dead_fraction", 0.05 if hadamax else 0.3),
                        ("activation_norm", 4.0),
                        ("gradient_norm", 0.1),
                    )
                }
                write_run(
                    root,
                    baseline,
                    game,
                    frames,
                    seed,
                    float(hns),
                    games=finished_games,
                    diagnostics=diagnostics,
                    metric_rows=200,
                    frames_per_second=20_000.0 if hadamax else 45_000.0,
                    config=None if configs is None else configs[baseline],
                )
                written += 1
    return written


def pinned_configs() -> dict[str, dict[str, Any]]:
    """What `python -m suite report` accepts, so that its cost can be measured on runs that count."""
    from baselines.registry import describe
    from suite.protocol import full_config, load_protocol

    return {name: full_config(describe(name), load_protocol("paper")) for name in TITLES}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes a made-up full set of results, to time and look at a report.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="of five baselines on 57 games: 285 runs each")
    parser.add_argument("--frames", type=int, default=200_000_000)
    arguments = parser.parse_args()
    made = write_full_set(arguments.results, seeds=arguments.seeds, frames=arguments.frames, configs=pinned_configs())
    print(made, "runs")
