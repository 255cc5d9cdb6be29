"""Speed of a night: each baseline's as a share of the emulator's on the same machine, against the last nights'.

A ratio, since two machines of a class differ in clock and neighbours far more than a mistake slows anything down.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bands import number

from results.processors import processor

FAST_ENOUGH = 0.75  # of the median of the nights before
SPREADS = 3.0  # or within so many of their median absolute deviations
LEAST_NIGHTS = 5
MOST_NIGHTS = 14  # the latest ones


@dataclass(frozen=True)
class Slower:
    """A baseline whose ratio fell."""

    baseline: str
    ratio: float
    least: float
    median: float
    nights: int

    def __str__(self) -> str:
        return (
            f"{self.baseline}: speed is {number(self.ratio)} of the emulator's, below {number(self.least)} "
            f"(the last {self.nights} nights on such a runner had {number(self.median)} in the median)"
        )


def runner_class(hardware: Mapping[str, Any]) -> str:
    """Nights are compared within one: processor, cores and torch."""
    return f"{processor(hardware)}, {hardware['cores']} cores, torch {hardware['torch']}"


def measure(
    baselines: Sequence[str], *, game: str, threads: int, repeats: int, tell: Callable[[str], None]
) -> dict[str, float]:
    """Agent steps a second of each baseline's fast path over those of the emulator alone."""
    from suite.bench import FAST, run_bench

    found = run_bench(
        baselines,
        game=game,
        device="cpu",
        threads=threads,
        repeats=repeats,
        paths=(FAST,),
        at_once=1,
        tell=tell,
    )
    return {row["baseline"]: row["share_of_emulator"] for row in found.rows()}


def slower(
    ratios: Mapping[str, float], runner: str, nights: Sequence[Mapping[str, Any]]
) -> tuple[list[Slower], list[str]]:
    """What is slower than the last nights on this class of runner.

    Args:
        ratios: of this night, by baseline.
        nights: those before, in order, as `night.py check` writes them.
    Returns: findings, and the baselines that have too few nights to be judged.
    """
    findings, unjudged = [], []
    for baseline, ratio in ratios.items():
        before = [
            night["speed"][baseline] for night in nights if night["runner"] == runner and baseline in night["speed"]
        ][-MOST_NIGHTS:]
        if len(before) < LEAST_NIGHTS:
            unjudged.append(baseline)
            continue
        median = statistics.median(before)
        spread = statistics.median(abs(value - median) for value in before)
        least = min(FAST_ENOUGH * median, median - SPREADS * spread)
        if ratio < least:
            findings.append(Slower(baseline, ratio, least, median, len(before)))
    return findings, unjudged
