"""Numbers, spans of time and counts in words; the same on every page, in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number with a real minus sign; an en dash for none."""
    if value is None:
        return "\N{EN DASH}"
    return _minus(f"{value:.{digits}f}")


def signed(value: float | None, digits: int = 2) -> str:
    """A number that is a difference: always with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and float(f"{value:.{digits}f}") else text


def score(value: float | None) -> str:
    """A raw score: as many digits as say something."""
    if value is None:
        return "\N{EN DASH}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return _minus(f"{value:,.{digits}f}")


def _minus(text: str) -> str:
    """Digits with a real minus sign, and none where they say zero."""
    return text.replace("-", MINUS if text.strip("-0.") else "")


def percent(value: float | None, *, signed: bool = False, digits: int = 0) -> str:
    """A ratio as a percentage: 0.5 is '50 %', or '+50 %'."""
    if value is None:
        return "\N{EN DASH}"
    text = f"{100 * value:+.{digits}f}" if signed else f"{100 * value:.{digits}f}"
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
            return f"{value:.0f} {noun}s" if value >= 10 else f"{value:.1f} {noun}s"
    return f"{max(seconds, 1):.0f} seconds"


def seeds_text(seeds: tuple[int, int]) -> str:
    """'3 seeds', or '1 to 3 seeds' where games differ."""
    low, high = seeds
    return counted(low, "seed") if low == high else f"{low} to {high} seeds"
