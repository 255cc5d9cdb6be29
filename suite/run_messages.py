"""What a run is told and what it tells. Light to import: who only hands these on needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """How to run, not what: nothing here is part of a run's identity."""

    device: str  # as torch names it: "cpu", "cuda", "cuda:1"
    threads: int  # of torch on the CPU
    emulator_threads: int
    jobs: int = 1  # runs at once on this machine, this one among them
    groups: int | None = None  # of environments; None: what the run had, or what is fastest, or three beside other runs
    plain: bool = False  # every fast path off; a run that goes on keeps the paths it began with
    checkpoint_seconds: float = 60.0
    own: tuple[Path, ...] = ()  # files of baselines of a user's own, which every process reads itself


@dataclass(frozen=True)
class RunStatus:
    """A moment of a run, for whoever watches."""

    phase: str  # "retracing" or "training"
    frames: float
    total_frames: int
    frames_per_second: float | None
    mean_return: float | None  # of the last 100 training games
