"""The report's charts: learning curves with bands, intervals, and marks small enough for a table's cell."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from reports import numerals
from reports.pages.svg import (
    Scale,
    Values,
    area,
    circle,
    frame_text,
    line,
    nice_ticks,
    padded,
    path,
    polyline,
    px,
    spread,
    svg,
    text,
    tick_text,
)
from reports.statistics.bootstrap import Interval

WIDE, NARROW = (760, 400), (380, 330)
LABEL_LINE = 13.0
LETTER, NOTE_LETTER = 7.3, 6.0  # about the width of a letter of a curve's label, and of the note below it
FEW_POINTS = 12  # a curve through so few shows each of them
MARK_LETTER, MARK_GAP = 6.2, 8.0  # about the width of a letter of a mark's name, and between two names


@dataclass(frozen=True)
class Series:
    """One curve; arrays are [points]."""

    label: str
    css: str  # colour class: s1...s12, or pub for published
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    note: str = ""  # second line of the label: "published", "3 seeds"
    style: str = "main"  # main, other (of another budget), thin (a single seed), published
    is_labelled: bool = True

    @property
    def title(self) -> str:
        """Label and note in one line."""
        return f"{self.label} ({self.note})" if self.note else self.label

    def points(self) -> Iterator[tuple[float, float, float, float]]:
        """x, y, low and high of every point; nan where there is no band."""
        nothing = np.full(len(self.x), np.nan)
        low, high = (nothing if band is None else band for band in (self.low, self.high))
        return zip(self.x, self.y, low, high, strict=True)

    def where_known(self) -> Self:
        """The same curve through its known points alone: for what is measured now and then, so that they are joined."""
        known = ~np.isnan(self.y)
        low, high = (None if band is None else band[known] for band in (self.low, self.high))
        return replace(self, x=self.x[known], y=self.y[known], low=low, high=high)


@dataclass(frozen=True)
class Level:
    """A horizontal line across the chart."""

    label: str
    value: float
    is_always_shown: bool = False  # else only where it lies near the curves


@dataclass(frozen=True)
class LineChart:
    """What a chart of curves shows; drawn in two sizes."""

    label: str  # text alternative
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    x_text: Callable[[float], str] = frame_text
    y_low: float | None = None  # pinned bottom of the axis
    x_high: float | None = None  # where the axis ends; without it, at the last point
    y_text: Callable[[float], str] = tick_text
    is_percent: bool = False  # values are ratios, to be read out as percentages

    def draw(self, size: tuple[int, int] = WIDE) -> str:
        """The SVG at one size. The style sheet shows the one that suits the screen."""
        width, height = size
        small = width < 500
        is_labelled = self.has_room_for_labels(size)
        left, right = (44.0 if small else 54.0), self._label_room(small) if is_labelled else 14.0
        end = max(float(np.max(s.x)) for s in self.series) if self.x_high is None else self.x_high
        x = Scale(0.0, end, left, width - right)
        low, high = self._range()
        y = Scale(low, high, height - 44.0, 16.0)
        body = self._grid(x, y, height, small)
        ordered = sorted(self.series, key=lambda s: ("thin", "published", "other", "main").index(s.style))
        for series in ordered:
            if series.low is not None and series.high is not None:
                body.append(path(area(series.x, series.low, series.high, x, y), f"band {series.css}"))
        body += [path(polyline(s.x, s.y, x, y), f"curve {s.style} {s.css}") for s in ordered]
        body += [circle(x(at), y(value), 3.0, f"point {s.css}") for s in ordered for at, value in _single_points(s)]
        body += [*self._levels(x, y), *(self._labels(x, y, height) if is_labelled else ())]
        data = f' data-left="{px(x.start)}" data-right="{px(x.end)}" data-top="16" data-bottom="{px(y.start)}"'
        data += f' data-max="{x.high:g}"'
        return svg(width, height, body, label=self.label, css="narrow" if small else "wide", data=data)

    def has_room_for_labels(self, size: tuple[int, int]) -> bool:
        """Whether the curves' names fit beside the plot at this size; else a list under the figure has them."""
        small = size[0] < 500
        heights = sum(_label_height(s) for s in self.series if s.is_labelled)
        return heights <= size[1] - 32.0 and self._label_room(small) <= (160.0 if small else 300.0)

    def _label_room(self, small: bool) -> float:
        """Pixels right of the plot, for the labels: as many as the longest needs."""
        shown = [s for s in self.series if s.is_labelled]
        widths = [max(LETTER * len(s.label), NOTE_LETTER * len(s.note)) for s in shown]
        return max([92.0 if small else 150.0, *(18.0 + width for width in widths)])

    def _range(self) -> tuple[float, float]:
        values = np.concatenate([s.y for s in self.series])
        bands = [b for s in self.series if s.style == "main" for b in (s.low, s.high) if b is not None]
        known = np.concatenate([values, *bands])
        known = known[np.isfinite(known)]
        low, high = padded(known.tolist(), include=() if self.y_low is None else (self.y_low,))
        near = [
            level.value
            for level in self.levels
            if level.is_always_shown or low - (high - low) <= level.value <= high + 0.6 * (high - low)
        ]
        return padded(
            [low, high, *near], include=() if self.y_low is None else (self.y_low,), share=0.0 if not near else 0.02
        )

    def _grid(self, x: Scale, y: Scale, height: float, small: bool) -> list[str]:
        body = []
        for tick in nice_ticks(y.low, y.high, 5):
            body.append(line(x.start, y(tick), x.end, y(tick), "grid"))
            body.append(text(x.start - 7, y(tick) + 4, self.y_text(tick), "tick", "end"))
        for tick in nice_ticks(x.low, x.high, 4 if small else 6):
            body.append(line(x(tick), y.start, x(tick), y.start + 4, "axis"))
            body.append(text(x(tick), y.start + 17, self.x_text(tick), "tick", "middle"))
        body.append(line(x.start, y.start, x.end, y.start, "axis"))
        body.append(text(x.end, height - 8, self.x_title, "title", "end"))
        body.append(text(0, 9, self.y_title, "title"))
        return body

    def _levels(self, x: Scale, y: Scale) -> list[str]:
        shown = [level for level in self.levels if y.holds(level.value)]
        tops = spread([(y(level.value) - 8.0, LABEL_LINE) for level in shown], 2.0, y.start)
        body = []
        for level, top in zip(shown, tops, strict=True):
            body.append(line(x.start, y(level.value), x.end, y(level.value), "level"))
            body.append(text(x.end - 4, top + LABEL_LINE - 2.5, level.label, "tick level-text", "end"))
        return body

    def _labels(self, x: Scale, y: Scale, height: float) -> list[str]:
        labelled, wanted = [], []
        for series in self.series:
            known = np.flatnonzero(~np.isnan(series.y))
            if series.is_labelled and len(known):
                labelled.append((series, known[-1]))
                wanted.append((y(series.y[known[-1]]), _label_height(series)))
        body = []
        for (series, last), top in zip(labelled, spread(wanted, 2.0, height - 30.0), strict=True):
            end = (x(series.x[last]), y(series.y[last]))
            middle = top + _label_height(series) / 2
            body.append(line(end[0] + 3, end[1], x.end + 10, middle, f"leader {series.css}"))
            body.append(text(x.end + 14, top + LABEL_LINE - 2, series.label, f"label {series.css}"))
            if series.note:
                body.append(text(x.end + 14, top + 2 * LABEL_LINE - 2, series.note, "tick"))
        return body

    def data(self) -> dict[str, object]:
        """What the script reads out: per series the points that are known, to four significant digits or more, where
        those would be read out as another number than the tables have."""
        written = numerals.percent if self.is_percent else numerals.score
        return {
            "x": self.x_title,
            **({"unit": "%"} if self.is_percent else {}),
            "series": [
                {
                    "label": s.title,
                    "css": s.css,
                    "style": s.style,
                    "x": [round(float(v), 4) for v in s.x],
                    "y": _rounded(s.y, written),
                    **(
                        {"low": _rounded(s.low, written), "high": _rounded(s.high, written)}
                        if s.low is not None and s.high is not None
                        else {}
                    ),
                }
                for s in self.series
                if s.style != "thin"
            ],
        }


def _label_height(series: Series) -> float:
    return LABEL_LINE * (2 if series.note else 1) + 3


def _single_points(series: Series) -> list[tuple[float, float]]:
    """The points of a curve that has few, which a line alone would hide."""
    known = np.flatnonzero(~np.isnan(series.y))
    if series.style == "thin" or len(known) > FEW_POINTS:
        return []
    return [(float(series.x[i]), float(series.y[i])) for i in known]


def _rounded(values: Values, written: Callable[[float], str]) -> list[float | None]:
    return [None if np.isnan(v) else _short(float(v), written) for v in values]


def _short(value: float, written: Callable[[float], str]) -> float:
    """The fewest digits, four at least, that are written as the value itself is: 1.3347 as 1.335 would be 1.34."""
    text = f"{value:.4g}"
    if not text.endswith(("5", "10", "100")):  # neither at a half, nor where the number of digits changes
        return float(text)
    shorter = (float(f"{value:.{digits}g}") for digits in (4, 5, 6, 8))
    return next((short for short in shorter if written(short) == written(value)), value)


@dataclass(frozen=True)
class Bar:
    """One row of an interval chart."""

    label: str
    interval: Interval
    css: str = "s1"
    is_main: bool = True  # written in bold


def interval_chart(
    bars: Sequence[Bar],
    *,
    label: str,
    write: Callable[[float], str],
    marks: Sequence[tuple[str, float]],
    size: int = 640,
    shade: tuple[float, float] | None = None,
) -> str:
    """Estimates with their intervals under one another.

    Args:
        write: how a value of the axis is written.
        marks: vertical lines: (text, value), such as none and the claimed.
        shade: a range to mark.
    """
    least, most = (118.0, 170.0) if size < 500 else (190.0, 300.0)  # room for names, which wrap beyond the most
    letters = int((most - MARK_GAP - 12) / LETTER)
    names = [textwrap.wrap(bar.label, letters) for bar in bars]
    left = max([least, *(12 + MARK_GAP + LETTER * len(text) for lines in names for text in lines)])
    row, top = max([34.0, *(10 + LABEL_LINE * len(lines) for lines in names)]), 26.0
    height = top + row * len(bars) + 26
    known = [v for b in bars for v in (b.interval.estimate, b.interval.low, b.interval.high) if v is not None]
    held = [*(value for _, value in marks), *(shade or ())]  # what estimates are held against stays in sight
    low, high = padded(known, include=held, share=0.08)
    room = 0.06 * (high - low)
    x = Scale(low - room, high + room, left, size - 16.0)
    bottom = top + row * len(bars)
    body = []
    if shade is not None:
        a, b = x(max(shade[0], x.low)), x(min(shade[1], x.high))
        body.append(f'<rect x="{px(a)}" y="{px(top)}" width="{px(b - a)}" height="{px(bottom - top)}" class="shade"/>')
    for tick in nice_ticks(x.low, x.high, 4 if size < 500 else 7):
        body.append(line(x(tick), top, x(tick), bottom, "grid"))
        body.append(text(x(tick), bottom + 17, write(tick), "tick", "middle"))
    body += _marks(marks, x, top - 11, top - 6, bottom, size)
    for index, bar in enumerate(bars):
        middle = top + row * (index + 0.5)
        above = LABEL_LINE * (len(names[index]) - 1) / 2
        for number, words in enumerate(names[index]):
            place, css = middle + 4 - above + LABEL_LINE * number, "label" if bar.is_main else "label aside"
            body.append(text(left - 12, place, words, css, "end"))
        body += _interval_marks(bar.interval, bar.css, x, middle)
    return svg(size, height, body, label=label, css="narrow" if size < 500 else "wide")


def _marks(
    marks: Sequence[tuple[str, float]], x: Scale, baseline: float, top: float, bottom: float, width: float
) -> list[str]:
    """Vertical lines from `top` to `bottom` with their names above, which stay inside `width` and off one another."""
    widths = [MARK_LETTER * len(name) + MARK_GAP for name, _ in marks]
    lefts = spread([(x(value), room) for (_, value), room in zip(marks, widths, strict=True)], 0.0, width)
    body = []
    for (name, value), left, room in zip(marks, lefts, widths, strict=True):
        body.append(line(x(value), top, x(value), bottom, "mark"))
        body.append(text(left + room / 2, baseline, name, "tick mark-text", "middle"))
    return body


def _interval_marks(interval: Interval, css: str, x: Scale, middle: float) -> list[str]:
    body = []
    if interval.low is not None or interval.high is not None:
        start = x.start if interval.low is None else x(interval.low)
        end = x.end if interval.high is None else x(interval.high)
        body.append(line(start, middle, end, middle, f"whisker {css}"))
    if interval.estimate is not None:
        body.append(circle(x(interval.estimate), middle, 5.0, f"point {css}"))
    return body


def verdict_bar(interval: Interval, marks: Sequence[tuple[str, float]], *, css: str, label: str) -> str:
    """A card's interval: the estimate, its ends, and the values it is to be held against."""
    width, middle = 300.0, 34.0
    known = [v for v in (interval.estimate, interval.low, interval.high) if v is not None]
    low, high = padded(known, include=[value for _, value in marks])
    room = 0.14 * (high - low)
    x = Scale(low - room, high + room, 4.0, width - 4.0)
    body = [line(x.start, middle, x.end, middle, "axis")]
    body += _marks(marks, x, middle - 19, middle - 14, middle + 10, width)
    body += _interval_marks(interval, css, x, middle)
    return svg(width, 48, body, label=label, css="verdict-bar")


def mini_interval(interval: Interval, low: float, high: float, css: str, mark: float | None = None) -> str:
    """An interval for a table's cell, on the scale of its column; decoration, the numbers stand beside it."""
    x = Scale(low, high, 4.0, 96.0)
    body = [line(4, 6, 96, 6, "grid")]
    if mark is not None and x.holds(mark):
        body.append(line(x(mark), 1, x(mark), 11, "mark"))
    if interval.low is not None and interval.high is not None:
        body.append(line(x(max(interval.low, low)), 6, x(min(interval.high, high)), 6, f"whisker {css}"))
    if interval.estimate is not None:
        body.append(circle(x(interval.estimate), 6.0, 3.5, f"point {css}"))
    return f'<svg viewBox="0 0 100 12" class="mini" aria-hidden="true">{"".join(body)}</svg>'


def mini_pair(a: float, b: float, span: tuple[float, float], css_a: str, css_b: str) -> str:
    """Two values on one scale, joined, with a tick at zero: for a game's row.

    By the square root of a value's size, because games differ a thousandfold. `span`: lowest and highest of all rows.
    """

    def root(value: float) -> float:
        return float(np.copysign(np.sqrt(abs(value)), value))

    place = Scale(root(min(span[0], 0.0)), root(max(span[1], 0.0)), 4.0, 116.0)
    left, right = place(root(b)), place(root(a))
    body = [line(4, 7, 116, 7, "grid"), line(place(0.0), 1, place(0.0), 13, "mark"), line(left, 7, right, 7, "leader")]
    body.append(f'<rect x="{px(left - 3.5)}" y="3.5" width="7" height="7" class="point {css_b}"/>')
    body.append(circle(right, 7.0, 4.0, f"point {css_a}"))
    return f'<svg viewBox="0 0 120 14" class="mini" aria-hidden="true">{"".join(body)}</svg>'


def sparkline(curves: Sequence[tuple[str, Values, float]]) -> str:
    """The shape of a game's curves, without axes; the game's page has the numbers.

    Args:
        curves: (colour class, values [points], how much of the axis it spans, at most 1).
    """
    known = [value for _, ys, _ in curves for value in ys[~np.isnan(ys)].tolist()]
    low, high = padded(known, share=0.08)
    body = []
    for css, ys, span in curves:
        x = Scale(0, max(len(ys) - 1, 1), 2.0, 2.0 + 116.0 * span)
        body.append(
            path(polyline(np.arange(len(ys), dtype=float), ys, x, Scale(low, high, 34.0, 3.0)), f"curve spark {css}")
        )
    return f'<svg viewBox="0 0 120 36" class="spark" aria-hidden="true">{"".join(body)}</svg>'
