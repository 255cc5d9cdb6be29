"""What a report reads out of the tables of one run: curves on a fixed grid, and no table is kept."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.measures import LAYER_MEASURES, RANK_MEASURE
from results.scores import SCORE_WINDOW_GAMES
from results.store import Run
from results.tables import RunTables, read_tables

Rows = tuple[np.ndarray, np.ndarray]  # frames [M] int64, values [M] float64

CURVE_POINTS = 200  # each 0.5 % of the budget, as metrics are kept
DIAGNOSTIC_POINTS = 100  # each 1 %
OBSERVATIONS = 256  # that a rank is taken over whose name does not say (`DIAGNOSTIC_BATCH`)
FINAL_FRACTION = 0.1  # a final diagnostic is the mean over the last 10 % of the budget


@dataclass(frozen=True)
class RunFigures:
    """Figures of one run."""

    games: int  # finished in training
    greedy_score: float | None
    median_score: float | None  # of the games whose mean the score is: a few great ones lift the mean alone
    # [CURVE_POINTS] raw score at each 0.5 % of the budget; nan before a game, or not reached.
    curve: NDArray[np.float64]
    greedy_curve: NDArray[np.float64]
    at_fraction: Mapping[float, float]  # raw score at the fractions of the budget that claims ask for
    # "effective_rank/conv2" -> [DIAGNOSTIC_POINTS], nan where nothing was measured since the point before
    diagnostics: Mapping[str, NDArray[np.float64]]
    final_diagnostics: Mapping[str, float]
    observations: int  # that ranks were taken over: none is above it


def curve_frames(budget: int) -> NDArray[np.float64]:
    """[CURVE_POINTS] emulator frames at the points of a score's curve."""
    return np.arange(1, CURVE_POINTS + 1) * budget / CURVE_POINTS


def diagnostic_frames(budget: int) -> NDArray[np.float64]:
    """[DIAGNOSTIC_POINTS] emulator frames at the points of a diagnostic's curve."""
    return np.arange(1, DIAGNOSTIC_POINTS + 1) * budget / DIAGNOSTIC_POINTS


def figures_of(run: Run, fractions: tuple[float, ...]) -> RunFigures:
    """Reads the tables of `run`. Raises ResultsError if one cannot be used."""
    budget = run.spec.frames
    tables = read_tables(run)
    points = np.concatenate([curve_frames(budget), np.array(fractions) * budget])
    reached = np.full(len(points), run.is_done) | (points <= run.frames_done)
    train = np.where(reached, tables.curve("train", points), np.nan)
    greedy = np.where(reached, tables.curve("greedy", points), np.nan)[:CURVE_POINTS]
    diagnostics, final, observations = _diagnostics(run, tables)
    return RunFigures(
        games=len(tables.games["train"][0]),
        median_score=_median_of_last(tables.games["train"][1]),
        greedy_score=None if np.isnan(greedy[-1]) else float(greedy[-1]),
        curve=train[:CURVE_POINTS],
        greedy_curve=greedy,
        at_fraction=dict(zip(fractions, train[CURVE_POINTS:].tolist(), strict=True)),
        diagnostics=diagnostics,
        final_diagnostics=final,
        observations=observations,
    )


def _median_of_last(returns: NDArray[np.float64]) -> float | None:
    return float(np.median(returns[-SCORE_WINDOW_GAMES:])) if len(returns) else None


def _diagnostics(run: Run, tables: RunTables) -> tuple[dict[str, NDArray[np.float64]], dict[str, float], int]:
    """Curves, final values, and over how many observations ranks were taken: the most that every layer has."""
    ranked = ranks_by_sample(tables.metrics)
    observations = max(ranked, default=OBSERVATIONS)
    layered = {name: rows for name, rows in tables.metrics.items() if not name.startswith(RANK_MEASURE)}
    layered |= {f"{RANK_MEASURE}/{layer}": rows for layer, rows in ranked.get(observations, {}).items()}
    budget = run.spec.frames
    grid = diagnostic_frames(budget)
    curves, final = {}, {}
    for name, (at, value) in layered.items():
        if name.split("/")[0] not in LAYER_MEASURES or "/" not in name:
            continue
        last = np.searchsorted(at, grid, side="right") - 1
        reached = (last >= 0) & ((grid <= run.frames_done) | run.is_done)
        last = np.maximum(last, 0)
        since = grid - budget / DIAGNOSTIC_POINTS  # a rank that is taken at a few marks is drawn at these alone
        curves[name] = np.where(reached & (at[last] > since), value[last], np.nan)
        late = value[at > (1 - FINAL_FRACTION) * budget]
        if run.is_done and len(late):
            final[name] = float(late.mean())
    return curves, final, observations


def ranks_by_sample(metrics: Mapping[str, Rows]) -> dict[int, dict[str, Rows]]:
    """{observations: {layer: rows}} of `effective_rank/<layer>` and `effective_rank_2048/<layer>`.

    A sample size is left out that lacks a layer which another has: the ranks of one figure have one ceiling.
    """
    found: dict[int, dict[str, Rows]] = defaultdict(dict)
    for name, rows in metrics.items():
        match = re.fullmatch(rf"{RANK_MEASURE}(?:_([1-9][0-9]{{0,8}}))?/(.+)", name)
        if match is not None:
            found[int(match[1] or OBSERVATIONS)][match[2]] = rows
    layers = {layer for of_size in found.values() for layer in of_size}
    return {size: of_size for size, of_size in found.items() if of_size.keys() == layers}
