"""How numbers and tables look on a terminal and in a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST_WORD = 300  # longer than any path or list that is read to its end
_LONGEST_LINE = 2000
_SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain columns, two blanks apart; what looks like a number stands to the right. No blanks at the ends of lines."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headings))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [headings, *rows]
    ]
    return "\n".join(lines)


def count(number: float) -> str:
    """1234567.8 -> '1,234,568'."""
    return f"{number:,.0f}"


def score(mean: float | None) -> str:
    """A mean return with two digits; '-' where there is none."""
    return "-" if mean is None else f"{mean:,.2f}"


def percent(fraction: float) -> str:
    """Rounded down, so that 100 % means done."""
    return f"{int(fraction * 1000) / 10:.1f} %"


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 20 min', '4 d 6 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def size(number: float) -> str:
    """Bytes in decimal units: 1500000 -> '1.5 MB'."""
    for unit, of_unit in _SIZES:
        if number >= of_unit:
            return f"{number / of_unit:.1f} {unit}"
    return f"{number:.0f} B"


def one_line(text: str) -> str:
    """`text` on one line; words and lines beyond any use are cut, and say how long they were."""
    words = [_cut(word, _LONGEST_WORD) for word in text.split()]
    return _cut(" ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", word) for word in words), _LONGEST_LINE)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}...({count(len(text))} characters)...{text[-most // 4 :]}"


def plural(number: int, noun: str) -> str:
    """'1 run', '3 runs'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.removesuffix(" %").replace(",", "").lstrip("-").replace(".", "", 1).isdigit()
