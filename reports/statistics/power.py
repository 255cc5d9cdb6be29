"""What the runs at hand could tell: the smallest effect that is distinguishable from none, and the seeds to settle one.

The spread of the bootstrap's draws is the standard error of the estimate. With a two-sided 95 % test, an effect of
(z(0.975) + z(0.80)) = 2.80 standard errors is told from none in 80 % of experiments (Cohen 1988). The standard error
falls with the square root of the number of seeds, and, for games not played yet, which are taken to spread as those
played, of the number of games. Gains and ratios are taken on a log scale, where their spread hardly depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.statistics.bootstrap import CONFIDENCE, Scores

POWER = 0.80
_STANDARD_ERRORS = float(stats.norm.ppf(1 - (1 - CONFIDENCE) / 2) + stats.norm.ppf(POWER))


@dataclass(frozen=True)
class Power:
    """None where the spread is not known: no game with two seeds on every side, or no effect to settle."""

    smallest: float | None  # effect distinguishable from none with the runs at hand, in the claim's unit
    seeds_needed: int | None  # a game and side, on all games of the claim, to tell `effect` from none
    effect: float | None  # the claimed one, or the estimate where the claim names none
    reason: str = ""  # why something is None


UNKNOWN_SPREAD = "the spread over seeds is unknown: it takes two seeds of every game on every side"


def power(
    draws: Scores | None, *, effect: float | None, is_ratio: bool, seeds: int, games: int, claimed_games: int
) -> Power:
    """Power of an estimate.

    Args:
        draws: [repetitions] of the bootstrap, in the claim's unit (gain: ratio - 1); None without any.
        effect: what to tell from none.
        is_ratio: whether draws and effect are gains, which are taken on a log scale.
        seeds: smallest number a game and side has; games: how many there are; claimed_games: how many there will be.
    """
    if draws is None:
        return Power(None, None, effect, UNKNOWN_SPREAD)
    known = draws[np.isfinite(draws)]
    if is_ratio:
        known = np.log1p(known[known > -1])
    if len(known) < 0.95 * len(draws) or len(known) < 2:
        return Power(None, None, effect, "the reference's score is too near zero for a ratio")
    error = float(known.std())
    smallest = float(np.expm1(_STANDARD_ERRORS * error)) if is_ratio else _STANDARD_ERRORS * error
    if not effect:
        return Power(smallest, None, effect, "no effect to tell from none")
    size = abs(np.log1p(effect)) if is_ratio else abs(effect)
    needed = seeds * games / claimed_games * (_STANDARD_ERRORS * error / size) ** 2
    return Power(smallest, max(2, int(np.ceil(needed))), effect)
