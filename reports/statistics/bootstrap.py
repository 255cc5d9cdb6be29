"""Stratified bootstrap intervals: rliable's resampling, for any number of runs in each game.

The draws are our own: rliable draws from numpy's global generator, whatever `random_state` it is given, and always n
of n runs. The tests hold these draws against rliable's `StratifiedIndependentBootstrap`, to the last digit.

Scores of one side are a matrix [runs, games] or [runs, games, points]; a game with fewer runs than another has nan
in its last rows. Runs are resampled within each game, each side by itself.

Three things differ from rliable's own percentile interval, because with the three seeds of the protocol that one covers
the truth in 73 to 87 % of experiments where it says 95 % (docs/reports.md has the table):

- of n runs, n - 1 are drawn. The mean of n draws has (n - 1) / n of the variance it should have (Rao and Wu 1988);
- the interval is Student's t, for a spread that is itself known from few runs. A median hangs on one or two games of
  a side: n - 1 degrees of freedom, n the smallest number of runs of any game. From ten games on the two middle games
  are seldom the same in every draw, and the degrees are twice as many. Of several sides they follow from each one's
  share of the variance (Satterthwaite 1946): if one side brings all of it, its degrees are all there are;
- below ten games the ends are the draws' mean plus and minus t standard deviations; of one game that is Student's own
  interval. From ten games on they are the draws' quantiles, widened about the middle by t over the normal's. Of few
  games with three runs there are so few different draws that a widened quantile covers 92 % only.

Gains and ratios have their intervals on a log scale, where their spread hardly depends on their size. On their own
scale the lower end of a gain that spreads as widely as three seeds often do is below none, however large the gain is.

A game with fewer than three runs gives no interval: the spread of two runs says next to nothing. Neither do runs that
agree to the last digit, for all of a side or in all draws: rliable would give an interval of width zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
Statistic = Callable[..., NDArray[np.float64]]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
LEAST_RUNS = 3  # of every game, for an interval
MANY_GAMES = 10  # from which on a median hangs on more than one or two of them
CLAIM_REPETITIONS = 4000
TABLE_REPETITIONS = 2000
CURVE_REPETITIONS = 500
ALONE_REPETITIONS = 1000  # at the most, of each side by itself


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


@dataclass(frozen=True)
class Scale:
    """Where a statistic's draws are near enough normal for Student's interval."""

    to: Callable[[Scores], Scores]  # nan where a value has no place on it
    back: Callable[[Scores], Scores]


def _logarithm(values: Scores) -> Scores:
    return np.log(values, out=np.full(np.shape(values), np.nan), where=np.asarray(values) > 0)


LINEAR = Scale(lambda values: values, lambda values: values)
OF_GAINS = Scale(lambda values: _logarithm(1 + values), np.expm1)  # a ratio less 1
OF_RATIOS = Scale(_logarithm, np.exp)


@dataclass(frozen=True)
class Draws:
    """A statistic of resamples."""

    joint: Scores  # [repetitions, values], of all sides
    alone: tuple[Scores, ...] = ()  # [repetitions, values] of each side, the others as they are; () of a single side

    def at(self, columns: Sequence[int]) -> Draws:
        """Those of some of the values."""
        return Draws(self.joint[:, columns], tuple(side[:, columns] for side in self.alone))


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


def draw(label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int) -> Draws | None:
    """`statistic` of resamples of all sides, and of each side alone; None where `why_unknown` says so."""
    if why_unknown(scores):
        return None
    joint = replicates(label, scores, statistic, repetitions)
    if len(scores) == 1:
        return Draws(joint)
    fewer = min(repetitions, ALONE_REPETITIONS)
    alone = (
        replicates(f"{label}, side {number} alone", scores, statistic, fewer, only=number)
        for number in range(len(scores))
    )
    return Draws(joint, tuple(alone))


def replicates(
    label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int, *, only: int | None = None
) -> Scores:
    """`statistic` of each resample: [repetitions, values].

    Args: `only`: the one side that is drawn; None draws all.
    """
    generator = generator_of(label)
    sides = [(number, side, run_counts(side), np.arange(side.shape[1])) for number, side in enumerate(scores)]
    return np.array(
        [
            statistic(*(s[draw_rows(generator, n), games] if only in (None, at) else s for at, s, n, games in sides))
            for _ in range(repetitions)
        ]
    )


def why_unknown(scores: tuple[Scores, ...]) -> str:
    """Why the spread over seeds is not known; "" where it is."""
    if any(run_counts(side).min() < LEAST_RUNS for side in scores):
        return FEW_RUNS
    return SAME_RUNS if any(_is_without_spread(side) for side in scores) else ""


def _is_without_spread(scores: Scores) -> bool:
    """Whether the runs of every game have one score: a mean that was written down once for each seed, say."""
    return bool((np.isnan(scores) | (scores == scores[0])).all())


def ends(drawn: Draws, scores: tuple[Scores, ...], scale: Scale = LINEAR) -> tuple[Scores, Scores]:
    """Low and high ends of the interval of each value of the draws from `scores`.

    A draw that is not a number counts against the interval on both sides, so that an end is infinite where such
    draws reach it. A value of which more than 2.5 % of the draws have no logarithm stays on the linear scale.
    """
    placed, is_linear = _placed(drawn, scale)
    joint, is_missing = placed.joint, np.isnan(drawn.joint)
    lowest = np.where(np.isnan(joint), -np.inf, joint)  # a draw without a logarithm is a low one
    low = np.quantile(lowest, TAIL, axis=0, method="inverted_cdf")
    high = np.quantile(np.where(is_missing, np.inf, lowest), 1 - TAIL, axis=0, method="inverted_cdf")
    students = stats.t.ppf(1 - TAIL, degrees_of_freedom(placed, scores))
    known = [column[~np.isnan(column)] for column in joint.T]
    if scores[0].shape[1] < MANY_GAMES:
        middle = np.array([column.mean() if len(column) else 0.0 for column in known])
        reach = students * np.array([column.std() if len(column) else 0.0 for column in known])
        low, high = np.where(np.isinf(low), low, middle - reach), np.where(np.isinf(high), high, middle + reach)
    else:
        middle = np.array([np.median(column) if len(column) else 0.0 for column in known])
        widening = students / stats.norm.ppf(1 - TAIL)
        low, high = middle - widening * (middle - low), middle + widening * (high - middle)
    return np.where(is_linear, low, scale.back(low)), np.where(is_linear, high, scale.back(high))


def _placed(drawn: Draws, scale: Scale) -> tuple[Draws, NDArray[np.bool_]]:
    """The draws on the scale, and of each value whether it had to stay linear."""
    joint = scale.to(drawn.joint)
    is_linear = (np.isnan(joint) & ~np.isnan(drawn.joint)).mean(axis=0) > TAIL

    def kept(values: Scores) -> Scores:
        return np.where(is_linear, values, scale.to(values))

    return Draws(kept(drawn.joint), tuple(kept(side) for side in drawn.alone)), is_linear


def variance_shares(drawn: Draws, scale: Scale = LINEAR) -> Scores:
    """Of each side the share of each value's variance that it brings, [sides, values]."""
    placed, _ = _placed(drawn, scale)
    return _shares(placed)


def _shares(placed: Draws) -> Scores:
    if not placed.alone:
        return np.ones((1, placed.joint.shape[1]))
    variances = np.array([_variance(side) for side in placed.alone])
    total = variances.sum(axis=0)
    return np.where(total > 0, variances, 1.0) / np.where(total > 0, total, len(variances))


def _variance(values: Scores) -> Scores:
    """Of each column, over its numbers."""
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    off = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / counts, 0.0)
    return np.asarray((off**2).sum(axis=0) / counts)


def degrees_of_freedom(drawn: Draws, scores: tuple[Scores, ...]) -> Scores:
    """Those of the interval of each value of these draws."""
    return freedom(_shares(drawn), [int(run_counts(side).min()) for side in scores], scores[0].shape[1])


def freedom(shares: Scores, runs: Sequence[int], games: int) -> Scores:
    """Degrees of freedom of variances that several sides bring (Satterthwaite 1946).

    Each side has runs - 1 of its own, and twice that from `MANY_GAMES` on; see the module's text.

    Args:
        shares: [sides] or [sides, values], of the variance; they sum to 1.
        runs: the smallest number of a game, of each side.
    """
    own = (np.array(runs, np.float64) - 1) * (1 if games < MANY_GAMES else 2)
    return np.asarray(1 / (shares.T**2 / own).sum(axis=-1))


def is_one_value(drawn: Scores) -> NDArray[np.bool_]:
    """Of each column of [repetitions, values]: whether all draws are one and the same, rounding aside."""
    most, least = drawn.max(axis=0), drawn.min(axis=0)  # nan where some draw is
    return np.asarray(most - least <= 1e-12 * np.maximum(np.abs(most), np.abs(least)))


FEW_RUNS = "an interval needs at least three seeds of every game"
SAME_RUNS = "the seeds of a side agree to the last digit, so that their spread is not known"
SAME_DRAWS = "all draws from these seeds give the same, so that the spread is not known"
UNBOUNDED = "the bootstrap leaves an end of the interval open"


def interval(
    label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int, scale: Scale = LINEAR
) -> list[Interval]:
    """Each value of `statistic` with its interval.

    Args:
        scores: one array [runs, games, ...] a side, nan in the last rows of games with fewer runs.
        statistic: from the sides' arrays to a 1-D array of values; nan where undefined.
        scale: on which the values are nearest to normal.
    """
    return with_ends(statistic(*scores), draw(label, scores, statistic, repetitions), scores, scale)


def with_ends(point: Scores, drawn: Draws | None, scores: tuple[Scores, ...], scale: Scale = LINEAR) -> list[Interval]:
    """Each value of `point` with the interval that the draws of it give, or with the reason why there is none."""
    if drawn is None:
        return [Interval(finite(value), reason=why_unknown(scores)) for value in point]
    found = []
    for value, low, high, is_one in zip(point, *ends(drawn, scores, scale), is_one_value(drawn.joint), strict=True):
        if is_one:
            found.append(Interval(finite(value), reason=SAME_DRAWS))
        else:
            reason = "" if np.isfinite([low, high]).all() else UNBOUNDED
            found.append(Interval(finite(value), finite(low), finite(high), reason))
    return found


def finite(value: float) -> float | None:
    """A plain float, or None for nan and infinities."""
    return float(value) if np.isfinite(value) else None
