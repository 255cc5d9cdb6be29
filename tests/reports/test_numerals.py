"""Numbers in words."""

from __future__ import annotations

import math

import numpy as np
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
        (numerals.number(1838.4, 0), "1,838"),
        (numerals.signed(-1234.56, 1), "\N{MINUS SIGN}1,234.6"),
        (numerals.score(-0.003), "0.00"),
        (numerals.score(-12.5), "\N{MINUS SIGN}12.5"),
        (numerals.score(12345.6), "12,346"),
        (numerals.score(49.65), "49.7"),  # in binary a little less than it says
        (numerals.score(937.5), "938"),
        (numerals.score(938.5), "939"),  # and not to the even digit
        (numerals.score(np.float64(-26.25)), "\N{MINUS SIGN}26.3"),
        (numerals.score(49.65 - 1e-14), "49.7"),  # a sum in another order
        (numerals.score(3896.5), "3,897"),
        (numerals.score(1e300), f"{1e300:,.0f}"),
        (numerals.number(0.125), "0.13"),
        (numerals.number(2.675), "2.68"),
        (numerals.number(math.nan), "nan"),
        (numerals.signed(0.125), "+0.13"),
        (numerals.signed(0.001), "0.00"),
        (numerals.percent(0.575), "58\N{NO-BREAK SPACE}%"),
        (numerals.percent(-0.125, signed=True), "\N{MINUS SIGN}13\N{NO-BREAK SPACE}%"),
        (numerals.percent(0.0025, digits=1), "0.3\N{NO-BREAK SPACE}%"),
        (numerals.percent(0.004, signed=True), "0\N{NO-BREAK SPACE}%"),
        (numerals.duration(3.25 * 3600), "3.3 hours"),
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
