import re
from dataclasses import replace

import numpy as np
import pytest

from reports import numerals
from reports.pages.charts import NARROW, WIDE, Bar, LineChart, Series, interval_chart, mini_pair
from reports.pages.site import curve_table
from reports.statistics.bootstrap import Interval

NAN = float("nan")


def chart(*series: Series) -> LineChart:
    return LineChart("a chart", "frames", "score", series)


def curve(label: str, x: list[float], y: list[float]) -> Series:
    return Series(label, "s1", np.array(x), np.array(y))


def test_a_curve_says_nothing_of_frames_beyond_its_end() -> None:
    long = curve("long", [100.0 * i for i in range(1, 101)], [float(i) for i in range(1, 101)])
    short = curve("short", [100.0, 200.0, 300.0], [1.0, 2.0, 3.0])
    table = curve_table(chart(long, short), rows=20)
    told = {row["x"]: row["cells"] for row in table["rows"]}
    assert told["500"] == ["5.00", "\N{EN DASH}"]  # before, the 300 of the short one was told for 500
    assert not table["has_band"]  # and the caption speaks of none
    banded = replace(long, low=long.y - 1, high=long.y + 1)
    assert curve_table(chart(banded), rows=20)["has_band"]


def test_what_was_measured_at_few_points_is_joined_and_each_point_is_drawn() -> None:
    sparse = curve("rank", [1e6, 2e6, 3e6, 4e6], [NAN, 1500.0, NAN, 1700.0]).where_known()
    assert sparse.x.tolist() == [2e6, 4e6]
    drawn = chart(sparse).draw(WIDE)
    assert drawn.count("<circle") == 2
    assert re.search(r'<path d="M[^"]*L[^"]*" class="curve main s1"', drawn)


def test_the_script_reads_out_what_the_tables_say() -> None:
    values = [1.33465, 1.05498, 100.4996, 0.5]
    told = chart(curve("a", [1.0, 2.0, 3.0, 4.0], values)).data()["series"][0]["y"]  # type: ignore[index]
    assert [numerals.score(value) for value in told] == [numerals.score(value) for value in values]
    assert told == [1.3346, 1.05498, 100.4996, 0.5]


def test_a_single_point_can_be_seen() -> None:
    assert chart(curve("rank", [2e6], [1500.0])).draw(WIDE).count("<circle") == 1


def test_a_curve_of_many_points_has_no_circles() -> None:
    assert "<circle" not in chart(curve("a", [1.0 * i for i in range(50)], [1.0 * i for i in range(50)])).draw(WIDE)


def test_names_that_do_not_fit_beside_the_plot_are_left_to_the_list_under_it() -> None:
    names = [f"Hadamax-PQN without max-pooling {number}" for number in range(12)]
    crowded = chart(*(curve(name, [1.0, 2.0], [1.0, 2.0 + place]) for place, name in enumerate(names)))
    assert not crowded.has_room_for_labels(NARROW)
    assert names[0] not in crowded.draw(NARROW).split("aria-label", 1)[1]
    roomy = chart(curve("PQN", [1.0, 2.0], [1.0, 2.0]))
    assert roomy.has_room_for_labels(NARROW)
    assert ">PQN</text>" in roomy.draw(NARROW)


def test_two_negative_values_are_told_apart_and_lie_left_of_zero() -> None:
    drawn = mini_pair(-0.75, -0.69, (-0.75, 0.9), "s1", "s2")
    square = float(re.search(r'<rect x="([\d.]+)"', drawn)[1]) + 3.5  # type: ignore[index]
    circle = float(re.search(r'cx="([\d.]+)"', drawn)[1])  # type: ignore[index]
    zero = float(re.search(r'x1="([\d.]+)"[^>]*class="mark"', drawn)[1])  # type: ignore[index]
    assert circle < square < zero


@pytest.mark.parametrize("size", [360, 640])
def test_names_of_intervals_stay_inside_the_figure(size: int) -> None:
    name = "drop without max-pooling less that without the product"
    drawn = interval_chart([Bar(name, Interval(1.0, 0.5, 1.5))], label="", write=str, marks=[("equal", 0.0)], size=size)
    lines = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="label"[^>]*>([^<]+)<', drawn)
    assert " ".join(words for _, words in lines).replace("- ", "-") == name
    assert all(float(end) - 7.3 * len(words) >= 0 for end, words in lines)
    assert float(lines[0][0]) < size / 2
