"""Inline SVG, drawn here: scales, ticks and marks. Colours come from the style sheet, by class.

Coordinates are rounded to a tenth of a pixel, so that the same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from reports.numerals import MINUS, frames

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A linear map from data to pixels."""

    low: float
    high: float
    start: float  # pixel of `low`
    end: float  # pixel of `high`

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (value - self.low) / (span if span else 1.0) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within `low` and `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    size = 10 ** np.floor(np.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def padded(values: Iterable[float], *, include: Sequence[float] = (), share: float = 0.04) -> tuple[float, float]:
    """A range that holds all finite values and those to include, with a little room."""
    known = [float(value) for value in [*values, *include] if np.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if low == high:
        return low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    room = share * (high - low)
    return (low if low in include else low - room), high + room


def tick_text(value: float) -> str:
    """A tick's label: at most four significant digits."""
    return f"{value:,.6g}".replace("-", MINUS)


def frame_text(value: float) -> str:
    """A tick's label on an axis of frames."""
    return "0" if value == 0 else frames(value)


def px(value: float) -> str:
    """A coordinate."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def polyline(xs: Values, ys: Values, x: Scale, y: Scale) -> str:
    """Path data through the points that are known; a gap where one is nan."""
    parts, pen = [], "M"
    across, up = _along(x, xs), _along(y, ys)
    for at, value, known in zip(across, up, (~np.isnan(ys)).tolist(), strict=True):
        if known:
            parts.append(f"{pen}{px(at)} {px(value)}")
        pen = "L" if known else "M"
    return "".join(parts)


def _along(scale: Scale, values: Values) -> list[float]:
    span = scale.high - scale.low
    return (scale.start + (values - scale.low) / (span if span else 1.0) * (scale.end - scale.start)).tolist()


def area(xs: Values, low: Values, high: Values, x: Scale, y: Scale) -> str:
    """Path data of the band between two curves, where both are known; kept within the plot."""
    known = ~(np.isnan(low) | np.isnan(high))
    if known.sum() < 2:
        return ""
    across = _along(x, xs[known])
    lower, upper = (_along(y, np.clip(ends[known], y.low, y.high)) for ends in (low, high))
    forth = [f"{px(a)} {px(v)}" for a, v in zip(across, upper, strict=True)]
    back = [f"{px(a)} {px(v)}" for a, v in zip(across[::-1], lower[::-1], strict=True)]
    return f"M{'L'.join(forth)}L{'L'.join(back)}Z"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}" class="{css}"/>'


def text(x: float, y: float, content: str, css: str, anchor: str = "start") -> str:
    return f'<text x="{px(x)}" y="{px(y)}" class="{css}" text-anchor="{anchor}">{escape(content)}</text>'


def circle(x: float, y: float, radius: float, css: str) -> str:
    return f'<circle cx="{px(x)}" cy="{px(y)}" r="{px(radius)}" class="{css}"/>'


def path(data: str, css: str) -> str:
    return f'<path d="{data}" class="{css}"/>' if data else ""


def svg(width: float, height: float, body: Iterable[str], *, label: str, css: str = "", data: str = "") -> str:
    """A whole figure; its text alternative is `label`."""
    return (
        f'<svg viewBox="0 0 {px(width)} {px(height)}" class="{css}" role="img" aria-label="{escape(label)}"{data}>'
        f"{''.join(body)}</svg>"
    )


def spread(wanted: Sequence[tuple[float, float]], low: float, high: float) -> list[float]:
    """Tops of labels, near where they are wanted and without overlap.

    Args:
        wanted: (middle, height) of each label, in any order.
        low, high: pixels between which all must lie, if they fit.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i][0], i))
    tops = {i: wanted[i][0] - wanted[i][1] / 2 for i in order}
    floor = low
    for i in order:
        tops[i] = max(tops[i], floor)
        floor = tops[i] + wanted[i][1]
    ceiling = high
    for i in reversed(order):
        tops[i] = min(tops[i], ceiling - wanted[i][1])
        ceiling = tops[i]
    return [tops[i] for i in range(len(wanted))]
