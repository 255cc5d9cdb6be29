"""Aggregates over games: rliable's statistics of human-normalised scores, with intervals.

A score matrix is [runs, games], nan below the last run of a game that has fewer. Every game weighs the same, however
many runs it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reports.statistics.bootstrap import (
    LINEAR,
    TABLE_REPETITIONS,
    Interval,
    Scale,
    Scores,
    Statistic,
    clipped,
    interval,
    run_counts,
)

METRICS = ("median", "iqm", "mean", "optimality_gap")
METRIC_TITLES = {"median": "Median", "iqm": "IQM", "mean": "Mean", "optimality_gap": "Optimality gap"}


def median(scores: Scores) -> float:
    """Median over games of each game's mean over runs."""
    means = np.sort(game_means(scores))
    middle = len(means) // 2
    return float(means[middle] if len(means) % 2 else (means[middle - 1] + means[middle]) / 2)


def mean(scores: Scores) -> float:
    """Mean over games of each game's mean over runs."""
    return float(game_means(scores).sum() / scores.shape[1])


def iqm(scores: Scores, of: int | None = None) -> float:
    """Interquartile mean over all runs of all games.

    rliable's where games have equal numbers of runs: of N runs the lowest and the highest int(N / 4) are cut off.
    Where games have unequal numbers, a run weighs 1 / (runs of its game), and a quarter of the weight is cut off.

    Args:
        of: of a resample: the number of runs it was drawn from, N. A resample has fewer, and int(N / 4) is another
            share of them: cut at its own, its IQM would be that of another part of the runs than the estimate's.
    """
    ordered = np.sort(scores, axis=None)  # nan last
    if not np.isnan(ordered[-1]):
        return float(_middle_mean(ordered, of))
    values, weights = _weighted(scores)
    order = np.argsort(values, kind="stable")
    upper = np.cumsum(weights[order])
    kept = np.clip(upper, 0.25, 0.75) - np.clip(upper - weights[order], 0.25, 0.75)
    return float((values[order] * kept).sum() / kept.sum())


def _middle_mean(ordered: Scores, of: int | None) -> Scores:
    """Mean along the first axis without the lowest and the highest int(of / 4) / of, a part of a value if need be."""
    count = len(ordered)
    of = count if of is None else of
    cut, part = divmod(int(0.25 * of) * count, of)
    if not part:
        return np.asarray(ordered[cut : count - cut].sum(axis=0) / (count - 2 * cut))
    middle = ordered[cut : count - cut]  # of its first and last value only a part stays
    lost = part / of
    return np.asarray((middle.sum(axis=0) - lost * (middle[0] + middle[-1])) / (count - 2 * (cut + lost)))


def optimality_gap(scores: Scores) -> float:
    """How far runs fall short of human level (1.0) on average; what is above counts as 1.0."""
    return float(1.0 - np.mean(game_means(np.minimum(scores, 1.0))))


def game_means(scores: Scores) -> Scores:
    """Mean over the runs of each game: [games] or [games, points]; nan where a game has none."""
    means = scores.sum(axis=0) / len(scores)
    if not np.isnan(means.sum()):
        return means
    counts = (~np.isnan(scores)).sum(axis=0)
    return np.where(np.isnan(scores), 0.0, scores).sum(axis=0) / np.where(counts == 0, np.nan, counts)


def _weighted(scores: Scores) -> tuple[Scores, Scores]:
    weights = np.broadcast_to(1.0 / run_counts(scores), scores.shape)
    known = ~np.isnan(scores)
    return scores[known], weights[known] / weights[known].sum()


def statistics_of(scores: Scores) -> Mapping[str, Callable[[Scores], float]]:
    """The four of `METRICS` for these scores and for resamples of them, whose IQM is cut as that of the scores is."""
    return {"median": median, "iqm": partial(iqm, of=_runs(scores)), "mean": mean, "optimality_gap": optimality_gap}


def _runs(scores: Scores) -> int:
    return scores.shape[0] * scores.shape[1]


def all_metrics(scores: Scores) -> Statistic:
    """A statistic: the four of `METRICS`, in that order."""
    metrics = statistics_of(scores)
    return lambda drawn: np.array([metrics[name](drawn) for name in METRICS])


def aggregates(label: str, scores: Scores, repetitions: int = TABLE_REPETITIONS) -> dict[str, Interval]:
    """Median, IQM, mean and optimality gap of a score matrix, each with its interval."""
    found = dict(zip(METRICS, interval(label, (scores,), all_metrics(scores), repetitions), strict=True))
    return found | {"optimality_gap": clipped(found["optimality_gap"], math.inf)}


def improvement_chance(scores_a: Scores, scores_b: Scores) -> Scores:
    """Probability of improvement, [1]: that a run of A beats a run of B in the same game, averaged over games.

    rliable's `probability_of_improvement` (ties count half) without its Mann-Whitney call for each game, which a
    bootstrap would make a hundred thousand times.
    """
    a, b = scores_a[:, None, :], scores_b[None, :, :]
    wins = np.count_nonzero(a > b, axis=(0, 1)) + 0.5 * np.count_nonzero(a == b, axis=(0, 1))  # nan is neither
    pairs = np.count_nonzero(a == a, axis=0)[0] * np.count_nonzero(b == b, axis=1)[0]
    return np.array([np.mean(wins / pairs)])


def profile(scores: Scores, thresholds: NDArray[np.float64]) -> Scores:
    """Performance profile: the fraction of runs above each threshold, every game weighing the same."""
    values, weights = _weighted(scores)
    order = np.argsort(values, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.clip(1.0 - below[np.searchsorted(values[order], thresholds, side="right")], 0.0, 1.0)


@dataclass(frozen=True)
class Band:
    """A curve and its pointwise interval; the ends are nan where the runs allow none. Each [points]."""

    estimate: Scores
    low: Scores
    high: Scores


def band(label: str, scores: tuple[Scores, ...], statistic: Statistic, repetitions: int, scale: Scale = LINEAR) -> Band:
    """A statistic that gives a curve, with its pointwise interval."""
    found = interval(label, scores, statistic, repetitions, scale)
    columns = [[i.estimate for i in found], [i.low for i in found], [i.high for i in found]]
    return Band(*(np.array(column, np.float64) for column in columns))  # None is nan


def median_curve(scores: Scores) -> Scores:
    """[points] from [runs, games, points]: the median over games at each point; nan before every run has a score."""
    return np.where(_is_whole(scores), np.median(np.nan_to_num(game_means(scores)), axis=0), np.nan)


def iqm_curve(scores: Scores, of: int | None = None) -> Scores:
    """[points] from [runs, games, points]: the IQM at each point; nan before every run has a score.

    Args: `of`: as of `iqm`.
    """
    flat = scores.reshape(-1, scores.shape[2])
    if not np.isnan(flat).any():
        return _middle_mean(np.sort(flat, axis=0), of)
    whole = _is_whole(scores)
    curve = np.full(scores.shape[2], np.nan)
    curve[whole] = [iqm(scores[:, :, point], of) for point in np.flatnonzero(whole)]
    return curve


def mean_curve(scores: Scores) -> Scores:
    """[points] from [runs, games, points]: the mean over games at each point; nan before every run has a score."""
    return np.where(_is_whole(scores), game_means(scores).mean(axis=0), np.nan)


def _is_whole(scores: Scores) -> NDArray[np.bool_]:
    """[points] from [runs, games, points]: whether every run has a score, so that no mean is over fewer of them."""
    rows = np.arange(len(scores))[:, None] < run_counts(scores)
    return np.asarray(~np.isnan(scores[rows]).any(axis=0))


def curves_of(scores: Scores) -> Mapping[str, Callable[[Scores], Scores]]:
    """Median, IQM and mean at each point, for these scores and for resamples of them."""
    return {"median": median_curve, "iqm": partial(iqm_curve, of=_runs(scores)), "mean": mean_curve}
