"""Numbers, spans of time and counts in words; the same on every page, in the terminal and in Markdown.

A half is rounded away from zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_SURE_DIGITS = 12  # in which a number is the same in whatever order it was summed


def number(value: float | None, digits: int = 2) -> str:
    """A plain number with a real minus sign, its thousands apart; an en dash for none."""
    if value is None:
        return "\N{EN DASH}"
    return _minus(_rounded(value, digits, ","))


def signed(value: float | None, digits: int = 2) -> str:
    """A number that is a difference: always with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and float(_rounded(value, digits)) else text


def score(value: float | None) -> str:
    """A raw score: as many digits as say something."""
    if value is None:
        return "\N{EN DASH}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return _minus(_rounded(value, digits, ","))


def _rounded(value: float, digits: int, form: str = "") -> str:
    """A number with so many decimals, a half rounded away from zero, as by hand.

    Python's own format rounds the binary fraction: 49.65, which is a little below, to 49.6; and 938.5 to the even 938.

    Args:
        form: what stands before the point in a format: "," or "+".
    """
    if not abs(value) < 10**_SURE_DIGITS:  # nan as well
        return f"{value:{form}.{digits}f}"
    decimal = Decimal(f"{value:.{_SURE_DIGITS}g}").quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{decimal:{form}f}"


def _minus(text: str) -> str:
    """Digits with a real minus sign, and none where they say zero."""
    return text.replace("-", MINUS if text.strip("-0.") else "")


def percent(value: float | None, *, signed: bool = False, digits: int = 0) -> str:
    """A ratio as a percentage: 0.5 is '50 %', or '+50 %'."""
    if value is None:
        return "\N{EN DASH}"
    text = _rounded(100 * value, digits, "+" if signed else "")
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS) + NBSP + "%"


def frames(value: float) -> str:
    """A number of frames: 40000000 is '40M', 1800000 '1.8M'."""
    for suffix, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.0f}"


def setting(value: object) -> str:
    """A value of a configuration or a protocol."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value)
    return str(value)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """'1 seed', '3 seeds'."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(items: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def between(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """'12 % to 30 %', with open ends said."""
    lower = "no lower bound" if low is None else write(low)
    upper = "no upper bound" if high is None else write(high)
    return f"{lower} to {upper}"


def duration(seconds: float) -> str:
    """'40 minutes', '3.5 hours', '12 days'."""
    for size, noun in ((365.25 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            value = seconds / size
            return f"{_rounded(value, 0 if value >= 10 else 1)} {noun}s"
    return f"{_rounded(max(seconds, 1), 0)} seconds"


def seeds_text(seeds: tuple[int, int]) -> str:
    """'3 seeds', or '1 to 3 seeds' where games differ."""
    low, high = seeds
    return counted(low, "seed") if low == high else f"{low} to {high} seeds"
