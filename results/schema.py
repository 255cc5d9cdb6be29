"""The shape of what a run leaves behind: its identity, its manifest and its tables.

A run's directory is `<results>/<baseline>/<game>/<frames>/seed-<n>/`, and holds

    manifest.json      provenance, configuration, status, score (`MANIFEST_KEYS`)
    episodes.parquet   every finished game (`EPISODE_SCHEMA`)
    metrics.parquet    training metrics and diagnostics, long form (`METRIC_SCHEMA`)
    timing.parquet     how fast it went (`TIMING_SCHEMA`); the one table that differs between two equal runs
    actions.parquet    its action log, or a few environments' (`results.actions`); what runs of format 1 lack
    code/              of a user's own baseline: `baseline.toml`, every value with its source, and its source files

The directory of a run of any protocol but the first is `<results>/<protocol>/<baseline>/...`.

Beside these, and never committed, lie `actions-full.parquet` (the whole of a long log), `checkpoint-*.pt`,
`actions.bin` (one byte an action) and `run.log`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

FIRST_PROTOCOL = "paper"  # whose runs lie in the results folder itself; those of any other in a folder of its name
FORMAT_VERSION = 2  # 1 had no `actions`, `cpu_seconds` and `checksum`
MANIFEST_FILE = "manifest.json"
EPISODES_FILE = "episodes.parquet"
METRICS_FILE = "metrics.parquet"
TIMING_FILE = "timing.parquet"
ACTIONS_FILE = "actions.parquet"
FULL_ACTIONS_FILE = "actions-full.parquet"
DEFAULT_LICENCE = "CC-BY-4.0"  # of runs that are sent in
CODE_FOLDER = "code"
CODE_BASELINE_FILE = "baseline.toml"

# Effective ranks over a large sample, `effective_rank_2048/<layer>`: how many observations, and how often in a budget.
# 2,048 is what analyses of srank on Atari usually take. They cost seconds, so there are few: under 1 % of a run.
RANK_OBSERVATIONS = 2048
RANK_FRAMES = 2_000_000
RANK_ROWS = 5

STATUSES = ("running", "interrupted", "failed", "done")
EPISODE_KINDS = ("train", "greedy")
# How a game's record ended: the emulator said game over; the 27,000-step limit; the game ended inside an
# unreported stretch of no-ops after a lost life, and only its lives, back at full, told.
EPISODE_ENDS = ("game_over", "time_limit", "unreported")

EPISODE_SCHEMA = pa.schema(
    [
        ("frames", pa.int64()),  # training emulator frames of the run when the game ended
        ("environment", pa.int16()),  # index among the environments of its kind
        ("episode_return", pa.float64()),  # sum of unclipped rewards over the whole game, all lives
        ("length", pa.int32()),  # agent steps of the game, reset steps not counted
        ("kind", pa.dictionary(pa.int8(), pa.string())),  # one of EPISODE_KINDS
        ("end", pa.dictionary(pa.int8(), pa.string())),  # one of EPISODE_ENDS
    ]
)
METRIC_SCHEMA = pa.schema(
    [
        ("frames", pa.int64()),
        ("name", pa.dictionary(pa.int16(), pa.string())),  # "loss", "effective_rank/conv2", ...
        ("value", pa.float64()),
    ]
)
TIMING_SCHEMA = pa.schema(
    [
        ("frames", pa.int64()),
        ("elapsed_seconds", pa.float64()),  # training time so far, interruptions and retracing left out
        ("frames_per_second", pa.float64()),  # over the stretch since the row before
    ]
)

ACTION_SCHEMA = pa.schema(
    [
        ("kind", pa.dictionary(pa.int8(), pa.string())),  # one of EPISODE_KINDS
        ("environment", pa.int16()),  # index among the environments of its kind
        ("sha256", pa.string()),  # of all its actions
        ("actions", pa.binary()),  # a byte an agent step, reset steps included; empty where they are not kept
    ]
)

MANIFEST_KEYS = (
    "format_version",  # int, FORMAT_VERSION
    "spec",  # {baseline, game, frames, seed, config_hash}
    "protocol",  # name of the protocol: "paper", "dopamine"
    "config",  # {"baseline": {...}, "protocol": {...}}: every value; config_hash is its hash
    "off_protocol",  # list of strings: what a short budget scaled; empty for a run that counts
    "status",  # one of STATUSES
    "path",  # "plain" or "fast": which implementation of the update ran
    "frames_done",  # int, training emulator frames so far; the budget rounded to whole updates when done
    "updates_done",  # int
    "score",  # {"train": {mean, games}, "greedy": {mean, games}}: last 100 games; mean is null without games
    "unreported_game_ends",  # int, games whose end the emulator did not report
    "environment",  # {envpool_id, envpool_config, rom_sha256, train_seeds, greedy_seeds}
    "versions",  # {package: version}
    "hardware",  # {cpu, instructions, cores, memory_bytes, device, gpu, torch_threads, emulator_threads, jobs, ...}
    "revision",  # {commit, clean}; null where the code is not in a git checkout
    "started_at",  # ISO 8601, UTC
    "finished_at",  # ISO 8601, UTC, or null
    "wall_seconds",  # float, training time, interruptions and retracing left out
    "cpu_seconds",  # float, processor time of all threads in that time; null where it was not measured throughout
    "frames_per_second",  # float or null, frames_done / wall_seconds
    "interruptions",  # list of {at, frames, reason, replay_seconds, changed}
    "files",  # {file name: {sha256, rows}} of the tables
    "actions",  # {sha256, environments, vector_steps, kept}: the packed action log; null without one
    "error",  # null, or {type, message} of what stopped a failed run
)
CODE_KEY = "code"  # only of a user's own baseline: {reference: {file, sha256}}, files of CODE_FOLDER
CHECKSUM_KEY = "checksum"  # in the file after all others: SHA-256 over them, so that a flipped bit is noticed
ADDED_IN_FORMAT_2 = ("cpu_seconds", "actions")  # null in a manifest of format 1

_UNITS = (("M", 1_000_000), ("k", 1_000))


def format_frames(frames: int) -> str:
    """A frame budget as users write it and as directories are named: 40000000 -> '40M', 200000 -> '200k'.

    Exact: what no unit divides stays a plain number ('16384'), and `parse` of the text gives `frames` back.
    """
    for suffix, size in _UNITS:
        if frames >= size and frames % size == 0:
            return f"{frames // size}{suffix}"
    return str(frames)


def parse_frames_directory(name: str) -> int:
    """The inverse of `format_frames`, for directory names. Raises ValueError for any other text."""
    match = re.fullmatch(r"([1-9][0-9]*)([kM]?)", name)
    if match is None:
        raise ValueError(f"{name!r} is no frame budget")
    frames = int(match[1]) * dict(_UNITS).get(match[2], 1)
    if format_frames(frames) != name:
        raise ValueError(f"{name!r} should be written {format_frames(frames)!r}")
    return frames


def format_seeds(seeds: Sequence[int]) -> str:
    """Seeds as users write them: '3' is 0,1,2; '0,4' those two; '4,' that one."""
    if tuple(seeds) == tuple(range(len(seeds))):
        return str(len(seeds))
    return ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")


def rank_rows(total_frames: int) -> int:
    """How often a run of this budget takes ranks over `RANK_OBSERVATIONS`, its end included: none in a short one."""
    return min(RANK_ROWS, round(total_frames / RANK_FRAMES))


@dataclass(frozen=True, order=True)
class RunSpec:
    """The one identity of a run; it passes through plan, executor, recorder and report."""

    baseline: str
    game: str  # as in the game table: "Pong", "BattleZone"
    frames: int  # the budget in emulator frames, as asked for (before rounding to whole updates)
    seed: int
    config_hash: str
    protocol: str = FIRST_PROTOCOL  # its values are in the hash; its name is in the place

    @property
    def directory(self) -> PurePosixPath:
        """Where the run lives below the results folder."""
        below = () if self.protocol == FIRST_PROTOCOL else (self.protocol,)
        return PurePosixPath(*below, self.baseline, self.game, format_frames(self.frames), f"seed-{self.seed}")

    def as_json(self) -> dict[str, str | int]:
        """The `spec` of a manifest, which names the protocol beside it."""
        return {
            "baseline": self.baseline,
            "game": self.game,
            "frames": self.frames,
            "seed": self.seed,
            "config_hash": self.config_hash,
        }

    def __str__(self) -> str:
        where = "" if self.protocol == FIRST_PROTOCOL else f"{self.protocol} "
        return f"{where}{self.baseline} {self.game} {format_frames(self.frames)} seed {self.seed}"
