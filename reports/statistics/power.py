"""What the runs at hand could tell: the smallest effect that is distinguishable from none, and the seeds to settle one.

The spread of the bootstrap's draws is the standard error of the estimate. It is known from few runs, so that verdicts
use Student's t; power is of that same test: the chance that t with the bootstrap's degrees of freedom, shifted by
effect / standard error (the noncentral t), passes the 97.5 % quantile. The standard error falls with the square root of
the number of seeds, and, for games not played yet, which are taken to spread as those played, of the number of games.
Gains and ratios are taken on a log scale, as their intervals are.

A spread that is seen in few runs is more often too small than too large: a squared one is chi-square, whose median lies
below its mean. Of four degrees of freedom the half of all experiments see less than 0.92 of the true one. So the spread
seen is divided by the root of that median. What is stated is then too small as often as too large.

A question of equivalence asks for the whole interval within a margin. Its power is the chance of that where there is no
difference at all; whatever difference was seen, telling it from none settles nothing.

How many seeds are needed is itself known no better than the standard error is: the range has that error's 80 %
interval (chi-square, the interval's degrees of freedom), and the likely number the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from reports.statistics.bootstrap import SAME_DRAWS, TAIL, Scores, freedom, is_one_value

POWER = 0.80
RANGE = 0.80  # of the standard error, and so of the seeds needed
MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class Seeds:
    """A number of seeds a game and side, and the range it lies in."""

    likely: int
    low: int
    high: int


@dataclass(frozen=True)
class Power:
    """None where the spread is not known, for too few seeds of some game, or where there is no effect to settle."""

    smallest: float | None = None  # effect distinguishable from none with the runs at hand, in the claim's unit
    needed: Seeds | None = (
        None  # on all games of the claim, to tell `effect` from none, or for an interval within a margin
    )
    confirming: Seeds | None = None  # the same, to tell the claimed effect from half of it
    reason: str = ""  # why something is None


@dataclass(frozen=True)
class SideSeeds:
    """What one side brings to the spread of an estimate."""

    share: float  # of the variance; the shares of all sides sum to 1
    least: int  # seeds of the game that has the fewest
    typical: float  # seeds a game, as a harmonic mean: the variance falls with it


@dataclass(frozen=True)
class Design:
    """How many seeds and games an estimate has, and a verdict needs."""

    sides: tuple[SideSeeds, ...]
    games: int  # how many there are
    claimed_games: int  # how many a verdict rests on
    least_seeds: int  # that a verdict needs

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the estimate's interval."""
        return _freedom([side.share for side in self.sides], [side.least for side in self.sides], self.games)

    def error_with(self, seeds: int) -> float:
        """The standard error with so many seeds of all claimed games, over the one of the runs at hand."""
        variance = sum(side.share * side.typical for side in self.sides) / seeds
        return float(np.sqrt(variance * self.games / self.claimed_games))

    def degrees_with(self, seeds: int) -> float:
        """Degrees of freedom with so many seeds of all claimed games."""
        weights = [side.share * side.typical for side in self.sides]
        shares = [weight / sum(weights) for weight in weights]
        return _freedom(shares, [seeds] * len(shares), self.claimed_games)


def _freedom(shares: Sequence[float], runs: Sequence[int], games: int) -> float:
    """Rounded, for the figures that hang on it are kept by it."""
    return round(float(freedom(np.array(shares), runs, games)), 2)


NEAR_ZERO = "the reference's score is too near zero for a ratio"
NEGATIVE = "over its seeds the first side's score may not be above zero, and a ratio then has no logarithm"


def power(
    draws: Scores | None,
    *,
    effect: float | None,
    half: float | None,
    is_ratio: bool,
    design: Design,
    margin: float | None = None,
    why_unknown: str = "",
) -> Power:
    """Power of an estimate.

    Args:
        draws: [repetitions] of the bootstrap, in the claim's unit (gain: ratio - 1); None without any.
        effect: what to tell from none. half: what besides to tell it from; None where the claim has no size.
        margin: within which a question of equivalence wants the interval; `effect` then counts for nothing.
        is_ratio: whether draws and effects are gains, which are taken on a log scale.
        why_unknown: why there are no draws.
    """
    if draws is None:
        return Power(reason=why_unknown)
    known = draws[np.isfinite(draws)]
    if len(known) < (1 - TAIL) * len(draws) or len(known) < 2:  # as many as leave the interval open
        return Power(reason=NEAR_ZERO)
    if is_one_value(known):
        return Power(reason=SAME_DRAWS)
    if is_ratio:
        placed = known[known > -1]
        if len(known) - len(placed) > TAIL * len(draws):  # the interval is then not on a log scale either
            return Power(reason=NEGATIVE)
        known = np.log1p(placed)
    error = float(known.std())
    reach = standard_errors(design.degrees) * error * true_over_seen(0.5, design.degrees)
    smallest = float(np.expm1(reach)) if is_ratio else reach
    if margin is not None:
        width = float(np.log1p(margin)) if is_ratio else margin
        return Power(smallest, _seeds(error, width, design, standard_errors_within))
    if not effect:
        return Power(smallest, reason="no effect to tell from none")
    size = float(np.log1p(effect)) if is_ratio else effect
    needed = _seeds(error, abs(size), design)
    if half is None:
        return Power(smallest, needed)
    apart = size - (float(np.log1p(half)) if is_ratio else half)
    return Power(smallest, needed, _seeds(error, abs(apart), design))


@cache
def standard_errors(degrees: float) -> float:
    """How many standard errors an effect needs to be told from none in 80 % of experiments."""
    bar = float(stats.t.ppf(1 - TAIL, degrees))

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(bar, degrees, shift)) - POWER

    return float(optimize.brentq(lacking, 0.0, 2 * bar + 2))


@cache
def standard_errors_within(degrees: float) -> float:
    """How many standard errors wide a margin holds the interval in 80 % of experiments without difference."""
    bar = float(stats.t.ppf(1 - TAIL, degrees))
    shares = (np.arange(2000) + 0.5) / 2000
    half_widths = bar * np.sqrt(stats.chi2.ppf(shares, degrees) / degrees)

    def lacking(margin: float) -> float:
        room = np.maximum(margin - half_widths, 0.0)  # for the estimate, either way
        return float((2 * stats.norm.cdf(room) - 1).mean()) - POWER

    return float(optimize.brentq(lacking, 0.0, 4 * bar + 4))


def _seeds(error: float, size: float, design: Design, reach: Callable[[float], float] = standard_errors) -> Seeds:
    tail = (1 - RANGE) / 2
    factors = (true_over_seen(share, design.degrees) for share in (0.5, tail, 1 - tail))
    return Seeds(*(_least_seeds(factor * error, size, design, reach) for factor in factors))


def true_over_seen(share: float, degrees: float) -> float:
    """The true standard error over the one seen: the value that it lies below in so large a share of experiments."""
    return float(np.sqrt(degrees / stats.chi2.ppf(1 - share, degrees)))


def _least_seeds(error: float, size: float, design: Design, reach: Callable[[float], float]) -> int:
    """The fewest seeds that a verdict may have and whose error fits into `size` as often as `reach` says."""

    def is_enough(seeds: int) -> bool:
        scaled = error * design.error_with(seeds)
        return bool(reach(min(design.degrees_with(seeds), 10_000.0)) * scaled <= size)

    low, high = design.least_seeds, design.least_seeds
    if is_enough(low):
        return low
    while not is_enough(high) and high < MOST_SEEDS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
