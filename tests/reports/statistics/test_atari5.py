"""Atari-5's estimate of the 57-game median, held against agents whose median is published."""

from __future__ import annotations

import numpy as np
import pytest

from reports.statistics.atari5 import WEIGHTS, median57
from results.games import ATARI5
from results.scores import human_normalised

# Raw scores in the order of ATARI5's names below, and the published median over the 57 games (no-op starts).
GAMES = ("BattleZone", "DoubleDunk", "NameThisGame", "Phoenix", "Qbert")
AGENTS = {
    "DQN": ((29900.0, -6.6, 8207.8, 8485.2, 13117.3), 0.79),
    "IQN": ((42244.0, 5.6, 22682.0, 56599.0, 25750.0), 2.18),
    "QR-DQN": ((39268.0, 21.9, 21890.0, 16585.0, 572510.0), 2.11),
    "Rainbow": ((62010.0, -0.3, 13136.0, 108528.6, 33817.5), 2.23),
}


def test_it_has_a_weight_for_each_of_the_five_games() -> None:
    assert set(WEIGHTS) == set(ATARI5) == set(GAMES)


@pytest.mark.parametrize("agent", AGENTS)
def test_published_agents_come_out_near_their_published_median(agent: str) -> None:
    """Two weights swapped, or fractions taken for percent, would miss by more than a fifth."""
    raw, median = AGENTS[agent]
    scores = np.array([[human_normalised(score, game) for score, game in zip(raw, GAMES, strict=True)]])
    assert median57(scores, GAMES)[0] == pytest.approx(median, rel=0.2)


def test_a_score_below_random_play_counts_as_none() -> None:
    some = np.array([[0.5, -0.7, 0.5, 0.5, 0.5]])
    assert median57(some, GAMES)[0] == median57(np.maximum(some, 0.0), GAMES)[0]


def test_games_are_found_by_name_and_seeds_are_averaged() -> None:
    scores = np.array([[0.4, 9.0, 0.2, 0.3, 1.0, 0.6], [0.6, 9.0, 0.2, 0.3, np.nan, 0.8]])
    names = ("Qbert", "Alien", "BattleZone", "DoubleDunk", "NameThisGame", "Phoenix")
    one = np.array([[0.2, 0.3, 1.0, 0.7, 0.5]])
    assert median57(scores, names)[0] == pytest.approx(median57(one, GAMES)[0])
