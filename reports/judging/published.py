"""Published figures, made ready to stand beside measured ones: always marked, never mixed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.statistics.aggregate import median_curve
from reports.statistics.bootstrap import Scores
from results.games import ATARI57
from results.reference import dopamine_curves, paper_median_curves, published_points
from results.scores import human_normalised

DOPAMINE_AGENTS = ("C51", "Rainbow")
FINAL_POINTS = range(195_000_000, 200_000_000, 1_000_000)  # the five points of a run's final score
PAPER_FRAMES = 200_000_000

TITLES = {"resnet15-pqn": "PQN (ResNet-15)", "dqn": "DQN", "ddqn": "Double DQN"}


@dataclass(frozen=True)
class PublishedCurve:
    """A curve from elsewhere."""

    name: str
    frames: NDArray[np.float64]  # [points]
    values: NDArray[np.float64]


def paper_medians() -> list[tuple[str, float]]:
    """The paper's final medians over the 57 games at 200M frames: (baseline, median HNS)."""
    points = published_points()
    chosen = points[(points["metric"] == "median_hns") & (points["games"] == "atari57")]
    return [(str(row.baseline), float(row.value)) for row in chosen.itertuples()]


def paper_curves() -> list[PublishedCurve]:
    """The paper's median curves over the 57 games."""
    return [
        PublishedCurve(
            name=str(name),
            frames=group["frames"].to_numpy(dtype=np.float64),
            values=group["median_hns"].to_numpy(dtype=np.float64),
        )
        for name, group in paper_median_curves().groupby("baseline", sort=True)
    ]


@cache
def _dopamine() -> pd.DataFrame:
    return dopamine_curves(agents=DOPAMINE_AGENTS)


@cache
def _dopamine_means() -> Mapping[tuple[str, str], pd.Series]:
    """(agent, game) -> mean return over runs, by frames."""
    means = _dopamine().groupby(["agent", "game", "frames"])["mean_return"].mean()
    return {
        (agent, game): group.droplevel(["agent", "game"])
        for (agent, game), group in means.groupby(level=["agent", "game"])
    }


@cache
def dopamine_games() -> tuple[str, ...]:
    """The 55 games Dopamine publishes, in the order of the game table."""
    names = {game for _, game in _dopamine_means()}
    return tuple(game for game in ATARI57 if game in names)


def dopamine_final_scores(agent: str) -> Scores:
    """HNS of each run and game, [runs, games of `dopamine_games`]: the mean over the last five points, 195M to 199M."""
    curves = _dopamine()
    chosen = curves[(curves["agent"] == agent) & curves["frames"].isin(FINAL_POINTS)]
    means = chosen.groupby(["run", "game"])["mean_return"].mean().unstack("game")
    columns = [human_normalised(means[game].to_numpy(), game) for game in dopamine_games()]
    return np.stack([_known_first(column) for column in columns], axis=1)


def _known_first(column: Scores) -> Scores:
    return np.concatenate([column[~np.isnan(column)], column[np.isnan(column)]])


def dopamine_game_curves(game: str) -> list[PublishedCurve]:
    """Each agent's mean over its runs on one game, raw score; none for a game that Dopamine does not have."""
    found = []
    for agent in DOPAMINE_AGENTS:
        means = _dopamine_means().get((agent, game))
        if means is not None:
            found.append(_curve(agent, means.index.to_numpy(dtype=np.float64), means.to_numpy()))
    return found


@cache
def dopamine_median_curves() -> Mapping[str, PublishedCurve]:
    """Each agent's median HNS over the 55 games, of means over runs."""
    found = {}
    for agent in DOPAMINE_AGENTS:
        means = pd.DataFrame({game: _dopamine_means()[agent, game] for game in dopamine_games()})
        normalised = np.stack([human_normalised(means[game].to_numpy(), game) for game in dopamine_games()])
        found[agent] = _curve(agent, means.index.to_numpy(dtype=np.float64), median_curve(normalised[None]))
    return found


def _curve(agent: str, frames: NDArray[np.float64], values: NDArray[np.float64]) -> PublishedCurve:
    return PublishedCurve(f"{agent} (Dopamine)", frames, values)
