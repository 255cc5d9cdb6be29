"""The rules: from an estimate and its 95 % interval to a verdict. Nothing else decides one.

An end of an interval that is None is open: below everything, or above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.statistics.bootstrap import Interval

REPRODUCED = "reproduced"
SHOWN = "gain shown"  # and compatible with the claim, of which half is not excluded
SMALLER = "smaller than claimed"
INCONCLUSIVE = "inconclusive"
AHEAD, BEHIND = "ahead", "behind"  # of a question, which claims nothing
ALIKE, DIFFERENT = "alike", "different"  # of a question whether two sides are equivalent
NOT_REPRODUCED = "not reproduced"
INSUFFICIENT = "insufficient evidence"
NOT_COMPARABLE = "not comparable"
OPEN = (SHOWN, INCONCLUSIVE)  # more seeds would tell
VERDICTS = (
    *(REPRODUCED, SHOWN, SMALLER, AHEAD, ALIKE),
    INCONCLUSIVE,
    *(DIFFERENT, BEHIND, NOT_REPRODUCED),
    *(INSUFFICIENT, NOT_COMPARABLE),
)


def ends_of(interval: Interval) -> tuple[float, float]:
    """Both ends, infinite where open."""
    low = float("-inf") if interval.low is None else interval.low
    high = float("inf") if interval.high is None else interval.high
    return low, high


def gain_verdict(interval: Interval, claimed: float) -> str:
    """Of a gain over nothing (0): the cells of the table in docs/reports.md.

    "Reproduced" asks for closeness: the lower end above half the claim. A claim that is merely not excluded would be
    the easier to reproduce the wider the interval.
    """
    low, high = ends_of(interval)
    if low > 0 and claimed > high:
        return SMALLER
    if low > 0:
        return REPRODUCED if low > half_of(claimed) else SHOWN
    return INCONCLUSIVE if claimed <= high else NOT_REPRODUCED


def half_of(claimed: float) -> float:
    """The gain that a reproduced one must lie above with its whole interval."""
    return claimed / 2


def reaches_verdict(interval: Interval) -> str:
    """Of being at least level: a gain of which nothing more is claimed than that it is one."""
    return gain_verdict(interval, 0.0)


def ahead_verdict(interval: Interval) -> str:
    """Of a question: is one side ahead of the other."""
    low, high = ends_of(interval)
    return AHEAD if low > 0 else BEHIND if high < 0 else INCONCLUSIVE


def alike_verdict(interval: Interval, margin: tuple[float, float]) -> str:
    """Of equivalence: the whole interval must lie within the margin, which wide intervals never do."""
    low, high = ends_of(interval)
    least, most = margin
    if least <= low and high <= most:
        return ALIKE
    return DIFFERENT if high < least or low > most else INCONCLUSIVE


def higher_verdict(intervals: Sequence[Interval], least: float = 0.0) -> str:
    """Of several differences that are all claimed to be above 0, by `least`: all must be. One that is certainly below 0
    refutes the claim, and one that is certainly above 0 but below `least` makes it smaller than claimed."""
    ends = [ends_of(interval) for interval in intervals]
    if all(low > 0 and low >= least for low, _ in ends):
        return REPRODUCED
    if any(high < 0 for _, high in ends):
        return NOT_REPRODUCED
    return SMALLER if any(is_too_small(interval, least) for interval in intervals) else INCONCLUSIVE


def is_too_small(interval: Interval, least: float) -> bool:
    """Whether a difference is certainly above 0, and certainly below the least that counts."""
    low, high = ends_of(interval)
    return low > 0 and high < least


def below_verdict(interval: Interval, claimed: float) -> str:
    """Of a quantity claimed to stay under a bound."""
    low, high = ends_of(interval)
    if high < claimed:
        return REPRODUCED
    return NOT_REPRODUCED if low >= claimed else INCONCLUSIVE


def ratio_verdict(interval: Interval, band: tuple[float, float]) -> str:
    """Of a ratio claimed to be about so much: `band` has the least and the most that counts as the claimed one."""
    low, high = ends_of(interval)
    least, most = band
    if least <= low and high <= most:
        return REPRODUCED
    if high < least:
        return SMALLER
    return NOT_REPRODUCED if low > most else INCONCLUSIVE


def reproduced_band(claimed: float, tolerance: float) -> tuple[float, float]:
    """The ratios that count as the claimed one: within a factor of 1 + tolerance either way."""
    return claimed / (1 + tolerance), claimed * (1 + tolerance)
