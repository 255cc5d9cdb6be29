"""Bands: where each figure lies when nothing is broken, out of a few seeds; and what of a night lies outside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import FOLDER, Entry, NightError, command

BANDS_FILE = FOLDER / "bands.json"
# A band reaches from the least to the largest seed, and beyond both ends by so many times that distance, plus this
# share of the larger seed's size.
RANGES, SHARE = 1.5, 0.25
# A few seeds can agree by chance where only few values are likely: the least room at both ends.
LEAST_ROOM = {
    "dead_fraction": 0.1,
    "distinct_starts": 0.13,
    "games": 5.0,
    "repeats": 0.05,
    "terminals": 0.02,
    "value": 0.1,
}
# Vary by factors between seeds while learning begins: at the least so many times the larger size.
FACTORS = {"gradient_norm": 2.0, "loss": 2.0}
# Follow from the configuration alone, whatever the seed.
EXACT = ("distinct_seeds", "epsilon", "importance_exponent", "largest_discount", "past_end")
EXACT_SHARE = 1e-5
MAY_BE_NEGATIVE = ("value", "score")
LEARNED = " (learned)"  # after a figure's name, for the plan's limit to it
RULE = (
    f"least to largest seed, widened at both ends by {RANGES:g} times their distance and {SHARE:.0%} of the larger "
    f"size, at the least by {', '.join(f'{room:g} ({name})' for name, room in LEAST_ROOM.items())}; "
    f"{' and '.join(FACTORS)} at the least by {FACTORS['loss']:g} times that size; "
    f"{', '.join(EXACT)} by {EXACT_SHARE:g} of their size alone"
)


@dataclass(frozen=True)
class Band:
    """Where a figure may lie."""

    low: float
    high: float

    @property
    def ends(self) -> list[float | None]:
        """For JSON, which has no infinity: None for an end that is none."""
        return [end if math.isfinite(end) else None for end in (self.low, self.high)]

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high  # never nan


@dataclass(frozen=True)
class Finding:
    """A figure outside its band."""

    baseline: str
    figure: str
    value: float | None  # None: the run has no such figure
    band: Band

    def __str__(self) -> str:
        low, high = self.band.low, self.band.high
        reach = f"{number(low)} to {number(high)}"
        if not math.isfinite(high):
            reach = f"at least {number(low)}"
        elif not math.isfinite(low):
            reach = f"at most {number(high)}"
        what = f"{self.baseline}: {self.figure}"
        if self.value is None:
            return f"{what} is missing; its band is {reach}"
        if not math.isfinite(self.value):
            return f"{what} is {self.value}; its band is {reach}"
        side, by = ("below", low - self.value) if self.value < low else ("above", self.value - high)
        return f"{what} is {number(self.value)}, {side} its band ({reach}) by {number(by)}"


@dataclass(frozen=True)
class Lost:
    """A run that left no figures."""

    baseline: str
    why: str
    figure: str = "run"

    def __str__(self) -> str:
        return f"{self.baseline}: {self.why}"


def number(value: float) -> str:
    """At most four significant digits, and whole numbers in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def band(figure: str, values: Sequence[float]) -> Band:
    """The band of a figure from its value for each seed; `RULE` in words."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    name = figure.split("@")[0].split("/")[0]
    room = max(RANGES * (high - low) + SHARE * size, FACTORS.get(name, 0.0) * size, LEAST_ROOM.get(name, 0.0))
    if name in EXACT:
        room = EXACT_SHARE * size
    least = -math.inf if name in MAY_BE_NEGATIVE else 0.0
    return Band(max(low - room, least), high + room)


def bands_of(entry: Entry, made: Mapping[str, Any]) -> dict[str, Band]:
    """The bands of a baseline by figure: those that every seed has, and what only a learner reaches.

    Args:
        made: the whole of `bands.json`.
    Raises: NightError if there are none, or they were made on another plan.
    """
    again = f"make them anew with: {command('bands', '--baselines', entry.baseline)}"
    ours = made["baselines"].get(entry.baseline)
    if ours is None:
        raise NightError(f"{BANDS_FILE.name} has no bands for {entry.baseline}; {again}")
    if (ours["game"], ours["frames"], ours["parts"]) != (entry.game, entry.frames, entry.parts):
        raise NightError(f"the bands of {entry.baseline} were made on another plan; {again}")
    found = {figure: band(figure, values) for figure, values in ours["figures"].items()}
    for figure, limit in entry.learned.items():
        found[f"{figure}{LEARNED}"] = Band(limit.get("above", -math.inf), limit.get("below", math.inf))
    return found


def outside(
    entry: Entry, bands: Mapping[str, Band], figures: Mapping[str, float], *, early: bool = False
) -> list[Finding]:
    """What lies outside its band, the farthest first by the band's width.

    Args:
        early: the run was stopped on purpose; figures that it has not reached are passed over.
    """
    findings = []
    for figure, held in bands.items():
        value = figures.get(figure.removesuffix(LEARNED))
        if (value is None and not early) or (value is not None and not held.holds(value)):
            findings.append(Finding(entry.baseline, figure, value, held))
    return sorted(findings, key=_distance, reverse=True)


def _distance(finding: Finding) -> float:
    value, held = finding.value, finding.band
    if value is None or not math.isfinite(value):
        return math.inf
    width = held.high - held.low
    if not math.isfinite(width):
        width = abs(held.low if math.isfinite(held.low) else held.high)
    return max(held.low - value, value - held.high) / max(width, 1e-12)


def left_out(entry: Entry, figures: Sequence[Mapping[str, float]]) -> list[list[Finding]]:
    """For each seed, what would lie outside if the bands were made from the others: how often a sound night fails."""
    found = []
    for i, judged in enumerate(figures):
        others = [figures[j] for j in range(len(figures)) if j != i]
        bands = {figure: band(figure, values) for figure, values in by_figure(others).items()}
        found.append(outside(entry, bands, judged))
    return found


def by_figure(figures: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Values by figure, a number a seed; only figures that all seeds have."""
    common = set.intersection(*(set(of_seed) for of_seed in figures))
    return {figure: [of_seed[figure] for of_seed in figures] for figure in sorted(common)}


def read_bands(path: Path = BANDS_FILE) -> dict[str, Any]:
    """The committed bands. Raises NightError if they cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NightError(
            f"{path}: cannot be read ({error.__class__.__name__}); make it with: {command('bands')}"
        ) from None
