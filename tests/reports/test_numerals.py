"""Numbers in words."""

from __future__ import annotations

import pytest

from reports import numerals


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numerals.percent(0.5), "50\N{NO-BREAK SPACE}%"),
        (numerals.percent(-0.123, signed=True), "\N{MINUS SIGN}12\N{NO-BREAK SPACE}%"),
        (numerals.percent(-0.001, signed=True), "0\N{NO-BREAK SPACE}%"),
        (numerals.number(-0.001), "0.00"),
        (numerals.number(-1.234), "\N{MINUS SIGN}1.23"),
        (numerals.number(None), "\N{EN DASH}"),
        (numerals.score(-0.003), "0.00"),
        (numerals.score(-12.5), "\N{MINUS SIGN}12.5"),
        (numerals.score(12345.6), "12,346"),
        (numerals.frames(1_800_000), "1.8M"),
        (numerals.frames(200_000), "200k"),
        (numerals.duration(45), "45 seconds"),
        (numerals.duration(3 * 3600), "3.0 hours"),
        (numerals.duration(20 * 86400), "20 days"),
        (numerals.counted(1, "run"), "1 run"),
        (numerals.listed(["a", "b", "c"]), "a, b and c"),
        (numerals.listed([]), ""),
    ],
)
def test_numbers_in_words(written: str, expected: str) -> None:
    assert written == expected
