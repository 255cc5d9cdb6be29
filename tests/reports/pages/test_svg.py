"""Scales, ticks and marks."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from reports.pages.charts import verdict_bar
from reports.pages.svg import Scale, area, nice_ticks, padded, polyline, px, spread
from reports.statistics.bootstrap import Interval


def test_scale_is_linear() -> None:
    scale = Scale(0, 10, 100, 50)
    assert scale(0) == 100
    assert scale(10) == 50
    assert scale(5) == 75
    assert Scale(3, 3, 0, 10)(3) == 0  # no width


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-20.7, 21, [-20, -10, 0, 10, 20]),
        (0, 200e6, [0, 50e6, 100e6, 150e6, 200e6]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_numbers_within(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


def test_a_range_has_room_except_at_ends_to_include() -> None:
    assert padded([0.0, 10.0], share=0.1) == (-1.0, 11.0)
    assert padded([5.0, 10.0], include=(0.0,), share=0.1) == (0.0, 11.0)
    assert padded([]) == (0.0, 1.0)
    low, high = padded([2.0])
    assert low < 2.0 < high


def test_a_curve_has_a_gap_where_a_point_is_unknown() -> None:
    unit = Scale(0, 1, 0, 1)
    assert polyline(np.array([0.0, 1, 2, 3]), np.array([1.0, np.nan, 2, 3]), unit, unit) == "M0 1M2 2L3 3"


def test_a_band_closes_and_stays_within_the_plot() -> None:
    unit = Scale(0, 10, 0, 10)
    xs = np.array([0.0, 1.0])
    assert area(xs, np.array([1.0, -5.0]), np.array([2.0, 3.0]), unit, unit) == "M0 2L1 3L1 0L0 1Z"
    assert area(xs, np.array([np.nan, 1.0]), np.array([np.nan, 2.0]), unit, unit) == ""


def test_labels_do_not_overlap_and_stay_inside() -> None:
    tops = spread([(10, 12), (11, 12), (12, 12), (95, 12)], 0, 100)
    ordered = sorted(tops)
    assert all(after - before >= 12 for before, after in pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] + 12 <= 100


def test_coordinates_have_a_tenth_of_a_pixel() -> None:
    assert [px(1.0), px(1.26), px(0.04)] == ["1", "1.3", "0"]


@pytest.mark.parametrize("estimate", [1.5, 21.0, -400.0])
def test_names_of_marks_stay_inside_a_bar_and_off_one_another(estimate: float) -> None:
    drawn = verdict_bar(Interval(estimate, None, None), [("equal", 1.0), ("claimed 2.25x", 2.25)], css="s1", label="")
    found = re.findall(r'<text x="([-0-9.]+)"[^>]*>([^<]+)</text>', drawn)
    assert {name for _, name in found} == {"equal", "claimed 2.25x"}
    ends = sorted((float(x) - 3.1 * len(name), float(x) + 3.1 * len(name)) for x, name in found)
    assert ends[0][0] >= 0
    assert ends[0][1] < ends[1][0]
    assert ends[1][1] <= 300
