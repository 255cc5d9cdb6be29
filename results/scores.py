"""The score of a run: mean unclipped return of the last full games, at any point of its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from results.games import GAMES

SCORE_WINDOW_GAMES = 100
Score = TypeVar("Score", float, np.ndarray)


def score_at(episodes: pd.DataFrame, frames: int, kind: str = "train") -> float | None:
    """The score at a moment of a run.

    Args:
        episodes: columns `frames`, `episode_return`, `kind`, in the order in which the games ended.
        frames: emulator frames of training; games that ended later do not count.
        kind: "train" or "greedy".
    Returns: mean return of the last 100 games of that kind, of all if there are fewer, None if there are none.
    """
    ended = (episodes["kind"] == kind) & (episodes["frames"] <= frames)
    returns = episodes["episode_return"].to_numpy()[ended.to_numpy()]
    return float(np.mean(returns[-SCORE_WINDOW_GAMES:])) if len(returns) else None


def curve_of(frames: np.ndarray, returns: np.ndarray, points: np.ndarray | Sequence[int]) -> np.ndarray:
    """The score at each of many points.

    Args:
        frames, returns: [G], of the games of one kind, in the order in which they ended.
        points: [P] emulator frames, in any order.
    Returns: [P] float64; nan before the first game.
    Raises: ValueError if `frames` fall.
    """
    if np.any(np.diff(frames) < 0):
        raise ValueError("games must be in the order in which they ended")
    ended = np.searchsorted(frames, np.asarray(points), side="right")
    first = np.maximum(ended - SCORE_WINDOW_GAMES, 0)
    # Returns are sums of integers far below 2**53: differences of running sums are exact.
    running = np.concatenate([[0.0], np.cumsum(returns, dtype=np.float64)])
    curve = np.full(len(ended), np.nan)
    np.divide(running[ended] - running[first], ended - first, out=curve, where=ended > 0)
    return curve


def human_normalised(score: Score, game: str) -> Score:
    """(score - random) / (human - random), of a number or of an array. Raises KeyError for a game outside the table."""
    entry = GAMES[game]
    return (score - entry.random) / (entry.human - entry.random)
