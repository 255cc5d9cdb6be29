"""Stratified bootstrap intervals: rliable's resampling, for any number of runs in each game.

The draws are our own: rliable draws from numpy's global generator, whatever `random_state` it is given, and always n
of n runs. The tests hold these draws against rliable's `StratifiedIndependentBootstrap`, to the last digit.

Scores of one side are a matrix [runs, games] or [runs, games, points]; a game with fewer runs than another has nan
in its last rows. Runs are resampled within each game, each side by itself.

Two things differ from rliable's own percentile interval, because with the three seeds of the protocol that one covers
the truth in 82 to 87 % of experiments where it says 95 % (docs/reports.md has the table):

- of n runs, n - 1 are drawn. The mean of n draws has (n - 1) / n of the variance it should have (Rao and Wu 1988);
- the interval is widened about the middle of the draws from the normal's to Student's t quantile, for a spread that
  is itself known from few runs. A median hangs on the two middle games of each side, so the degrees of freedom are
  2 x sides x (n - 1), n the smallest number of runs of any game.

A game with a single run has nothing to draw: no interval is given, where rliable would give one of width zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
Statistic = Callable[..., NDArray[np.float64]]

CONFIDENCE = 0.95
CLAIM_REPETITIONS = 4000
TABLE_REPETITIONS = 2000
CURVE_REPETITIONS = 500


@dataclass(frozen=True)
class Interval:
    """A point estimate and its interval; None where the scores do not allow one, with the reason."""

    estimate: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""  # why an end is missing

    @property
    def is_complete(self) -> bool:
        return self.estimate is not None and self.low is not None and self.high is not None

    def as_dict(self) -> dict[str, Any]:
        """As in summary.json."""
        return {"estimate": self.estimate, "ci_low": self.low, "ci_high": self.high}


def draw_rows(generator: np.random.Generator, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which runs one resample takes of each game: [most runs - 1, games], n - 1 of the n runs of every game.

    A game with fewer runs draws fewer: its spare rows point at the first of its rows of nan.
    """
    most = int(counts.max())
    drawn = generator.integers(0, counts, size=(most - 1, len(counts)))
    return np.where(np.arange(most - 1)[:, None] < counts - 1, drawn, counts)


def run_counts(scores: Scores) -> NDArray[np.int64]:
    """How many runs each game has. Raises ValueError where nan does not fill the last rows of a game only."""
    known = ~np.isnan(scores.reshape(*scores.shape[:2], -1)).all(axis=2)
    counts = known.sum(axis=0)
    if (known != (np.arange(len(scores))[:, None] < counts)).any() or not counts.all():
        raise ValueError("scores need at least one run a game, and nan below the last run only")
    return counts


def clipped(found: Interval, most: float = 1.0) -> Interval:
    """The interval of a figure that lies within 0 and `most`, as a probability does: its ends are kept there."""
    low, high = (None if end is None else min(max(end, 0.0), most) for end in (found.low, found.high))
    return Interval(found.estimate, low, high, found.reason)


def generator_of(label: str) -> np.random.Generator:
    """The random stream of a label: the same label and scores give the same interval, in whatever order."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big"))


def replicates(label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int) -> Scores | None:
    """`statistic` of each resample: [repetitions, values]; None where some game of some side has a single run."""
    counts = [run_counts(side) for side in scores]
    if any(side.min() < 2 for side in counts):
        return None
    generator = generator_of(label)
    columns = [np.arange(side.shape[1]) for side in scores]
    return np.array(
        [
            statistic(*(s[draw_rows(generator, n), games] for s, n, games in zip(scores, counts, columns, strict=True)))
            for _ in range(repetitions)
        ]
    )


def ends(drawn: Scores, degrees_of_freedom: int) -> tuple[Scores, Scores]:
    """Low and high ends of the interval of each column of [repetitions, values].

    A draw that is not a number counts against the interval on both sides, so that an end is infinite where such
    draws reach it.
    """
    tail = (1 - CONFIDENCE) / 2
    missing = np.isnan(drawn)
    low = np.quantile(np.where(missing, -np.inf, drawn), tail, axis=0, method="inverted_cdf")
    high = np.quantile(np.where(missing, np.inf, drawn), 1 - tail, axis=0, method="inverted_cdf")
    middle = np.array(
        [np.median(column[~np.isnan(column)]) if not np.isnan(column).all() else 0.0 for column in drawn.T]
    )
    widening = stats.t.ppf(1 - tail, degrees_of_freedom) / stats.norm.ppf(1 - tail)
    return middle - widening * (middle - low), middle + widening * (high - middle)


def degrees_of_freedom(scores: tuple[Scores, ...]) -> int:
    """2 x sides x (smallest number of runs of a game - 1); see the module's text."""
    return 2 * len(scores) * (min(int(run_counts(side).min()) for side in scores) - 1)


SINGLE_RUN = "an interval needs at least two seeds of every game"


def interval(label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int) -> list[Interval]:
    """Each value of `statistic` with its interval.

    Args:
        scores: one array [runs, games, ...] a side, nan in the last rows of games with fewer runs.
        statistic: from the sides' arrays to a 1-D array of values; nan where undefined.
    """
    point = statistic(*scores)
    drawn = replicates(label, scores, statistic, repetitions)
    if drawn is None:
        return [Interval(finite(value), reason=SINGLE_RUN) for value in point]
    low, high = ends(drawn, degrees_of_freedom(scores))
    return [
        Interval(finite(value), finite(lower), finite(upper), "" if np.isfinite([lower, upper]).all() else UNBOUNDED)
        for value, lower, upper in zip(point, low, high, strict=True)
    ]


UNBOUNDED = "the bootstrap leaves an end of the interval open"


def finite(value: float) -> float | None:
    """A plain float, or None for nan and infinities."""
    return float(value) if np.isfinite(value) else None
