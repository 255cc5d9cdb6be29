"""The rules of a verdict, cell by cell."""

from __future__ import annotations

import pytest

from reports.judging.verdicts import (
    ahead_verdict,
    below_verdict,
    gain_verdict,
    higher_verdict,
    ratio_verdict,
    reaches_verdict,
    reproduced_band,
)
from reports.statistics.bootstrap import Interval


def between(low: float | None, high: float | None) -> Interval:
    return Interval(0.5, low, high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.41, 0.9, "reproduced"),
        (0.41, 0.8, "reproduced"),  # the claimed gain is the upper end
        (0.4, 0.9, "gain shown"),  # half the claim is not excluded
        (0.1, 3.0, "gain shown"),  # a wide interval helps no claim
        (0.41, 0.79, "smaller than claimed"),
        (0.1, 0.79, "smaller than claimed"),
        (1.0, 2.0, "reproduced"),  # more than claimed
        (0.0, 0.9, "inconclusive"),
        (-0.2, 0.8, "inconclusive"),
        (0.0, 0.7, "not reproduced"),
        (-0.5, -0.1, "not reproduced"),
        (None, None, "inconclusive"),
        (0.1, None, "gain shown"),
        (None, 0.7, "not reproduced"),
    ],
)
def test_gain_of_80_percent(low: float | None, high: float | None, verdict: str) -> None:
    assert gain_verdict(between(low, high), 0.8) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.2, "reproduced"), (-0.1, 0.1, "inconclusive"), (-0.2, -0.1, "not reproduced")]
)
def test_reaching_means_being_level(low: float, high: float, verdict: str) -> None:
    assert reaches_verdict(between(low, high)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "ahead"),
        (0.0, 0.2, "inconclusive"),  # an end at none holds it
        (-0.2, 0.0, "inconclusive"),
        (-0.2, -0.01, "behind"),
        (None, None, "inconclusive"),
    ],
)
def test_ahead_or_behind_is_the_whole_interval(low: float | None, high: float | None, verdict: str) -> None:
    assert ahead_verdict(between(low, high)) == verdict


def test_higher_needs_every_layer() -> None:
    above, around, under = between(1, 2), between(-1, 1), between(-2, -1)
    assert higher_verdict([above, above]) == "reproduced"
    assert higher_verdict([above, around]) == "inconclusive"
    assert higher_verdict([above, under]) == "not reproduced"
    assert higher_verdict([around, under]) == "not reproduced"
    assert higher_verdict([between(None, None)]) == "inconclusive"
    assert higher_verdict([above, between(0, 2)]) == "inconclusive"
    assert higher_verdict([above, between(-2, 0)]) == "inconclusive"


def test_higher_by_a_least_amount_may_be_smaller_than_claimed() -> None:
    enough, small, around = between(5, 9), between(1, 4), between(-1, 6)
    assert higher_verdict([enough, enough], 5.0) == "reproduced"
    assert higher_verdict([enough, small], 5.0) == "smaller than claimed"
    assert higher_verdict([around, small], 5.0) == "smaller than claimed"
    assert higher_verdict([enough, around], 5.0) == "inconclusive"
    assert higher_verdict([between(4, 6)], 5.0) == "inconclusive"
    assert higher_verdict([small, between(-2, -1)], 5.0) == "not reproduced"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.079, "reproduced"),
        (0.07, 0.08, "inconclusive"),
        (0.07, 0.09, "inconclusive"),
        (0.08, 0.09, "not reproduced"),
        (None, 0.05, "reproduced"),
    ],
)
def test_below_8_percent(low: float | None, high: float, verdict: str) -> None:
    assert below_verdict(between(low, high), 0.08) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.8, 2.8125, "reproduced"),
        (2.2, 2.3, "reproduced"),
        (1.7, 2.3, "inconclusive"),
        (2.2, 3.0, "inconclusive"),
        (1.1, 1.7, "smaller than claimed"),
        (1.1, 1.8, "inconclusive"),  # an end on the edge of the band
        (2.8125, 3.1, "inconclusive"),
        (2.9, 3.1, "not reproduced"),
    ],
)
def test_ratio_of_about_2_25(low: float, high: float, verdict: str) -> None:
    """Within a factor of 1.25: 1.8 to 2.8125."""
    assert ratio_verdict(between(low, high), reproduced_band(2.25, 0.25)) == verdict
