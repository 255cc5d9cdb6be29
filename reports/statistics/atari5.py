"""Atari-5's estimate of the median over the 57 games (Aitchison, Sweetser and Hutter 2023, arXiv 2210.02019).

A linear regression without intercept, on the logarithms of five games' human-normalised scores in percent, fitted on
published agents whose median is above 40 %. Below that it extrapolates; the paper gives a relative error of about 10 %.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reports.statistics.aggregate import game_means
from reports.statistics.bootstrap import Scores

# The paper's Appendix E, as transcribed in a public analysis script; the paper's own table could not be read. The tests
# hold them against agents whose median over the 57 games is published.
WEIGHTS: Mapping[str, float] = {
    "BattleZone": 0.3820,
    "DoubleDunk": 0.0679,
    "NameThisGame": 0.3108,
    "Phoenix": 0.1241,
    "Qbert": 0.0805,
}
FITTED_ABOVE = 0.4  # median human-normalised score of the agents that the regression was fitted on


def median57(scores: Scores, games: tuple[str, ...]) -> Scores:
    """The estimated median human-normalised score over the 57 games.

    Args:
        scores: [runs, games] human-normalised, nan below the last run of a game. A mean below 0 counts as 0.
        games: names of the columns, with all of `WEIGHTS` among them.
    Returns: [1].
    """
    means = game_means(scores)
    logs = [w * np.log10(1 + 100 * max(float(means[games.index(name)]), 0.0)) for name, w in WEIGHTS.items()]
    return np.array([(10 ** sum(logs) - 1) / 100])
