"""Trains the runs of a night, each in a process of its own, a few at once; and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from figures import FOLDER, ROOT, Entry, NightError


@dataclass(frozen=True)
class Job:
    """One run to train."""

    entry: Entry
    seed: int
    results: Path
    source: Path = ROOT  # whose suite
    parts: int | None = None  # stop after so many; None: at the end

    @property
    def stop_at(self) -> int:
        """In emulator frames."""
        parts = self.entry.parts if self.parts is None else self.parts
        return self.entry.frames * parts // self.entry.parts

    @property
    def directory(self) -> Path:
        """Where the run lies."""
        entry = self.entry
        return self.results / entry.baseline / entry.game / str(entry.frames) / f"seed-{self.seed}"

    @property
    def log(self) -> Path:
        return self.results / f"{self.entry.baseline}-{self.seed}.log"

    @property
    def seconds(self) -> float:
        """Of one core, about."""
        return self.entry.seconds * self.stop_at / self.entry.frames

    def __str__(self) -> str:
        return f"{self.entry.baseline}, {self.entry.game}, seed {self.seed}, {self.stop_at:,} frames"


def train(jobs: Sequence[Job], *, at_once: int, tell: Callable[[str], None]) -> dict[Job, float]:
    """Trains all jobs, the longest first. Returns the seconds that each took.

    Raises: NightError, after all have ended, if one failed; its log says why.
    """
    began, done, failed = time.monotonic(), 0.0, []
    total = sum(job.seconds for job in jobs)
    seconds: dict[Job, float] = {}
    least = max(total / at_once, max((job.seconds for job in jobs), default=0.0))
    tell(f"{len(jobs)} to train, {at_once} at once: about {least / 60:.0f} min on idle cores")
    with ThreadPoolExecutor(at_once) as pool:
        ordered = sorted(jobs, key=lambda job: -job.seconds)
        futures = {pool.submit(_train, job): job for job in ordered}
        for future in as_completed(futures):
            job = futures[future]
            code, seconds[job] = future.result()
            if code:
                failed.append(job)
            done += job.seconds
            left = (time.monotonic() - began) * (total - done) / done
            word = f"failed with exit code {code}" if code else f"trained in {seconds[job]:.0f} s"
            tell(f"{job}: {word}; {len(seconds)} of {len(jobs)}, about {left / 60:.0f} min left")
    if failed:
        ends = "; ".join(f"{job} ({_last_line(job.log)}; all of it: {job.log})" for job in failed)
        raise NightError(f"{len(failed)} of {len(jobs)} runs failed: {ends}")
    return seconds


def _train(job: Job) -> tuple[int, float]:
    began = time.monotonic()
    job.results.mkdir(parents=True, exist_ok=True)
    entry = job.entry
    arguments = [job.source, entry.baseline, entry.game, entry.frames, job.seed, job.stop_at, job.results]
    # One thread a run: a night's figures do not depend on the number of cores.
    environment = os.environ | {"PYTHONPATH": str(job.source), "OMP_NUM_THREADS": "1"}
    with job.log.open("wb") as log:
        done = subprocess.run(
            [sys.executable, str(FOLDER / "one_run.py"), *map(str, arguments)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=job.source,
            check=False,
        )
    return done.returncode, time.monotonic() - began


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
