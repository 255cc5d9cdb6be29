"""The sentence that the first page answers its title with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from reports.pages.overview import answer
from reports.summary import Report


def told(*judged: str, waiting: int = 0, preliminary: int = 0, runs: int = 1) -> str:
    """`judged`: a verdict each; `preliminary` of the waiting claims have an estimate."""

    def judgement(verdict: str, *, is_preliminary: bool, value: float | None) -> SimpleNamespace:
        return SimpleNamespace(
            claim=SimpleNamespace(family="paper"),
            verdict=verdict,
            is_preliminary=is_preliminary,
            estimate=1.0,
            interval=SimpleNamespace(estimate=value),
        )

    given = [judgement(verdict, is_preliminary=False, value=1.0) for verdict in judged]
    given += [
        judgement("insufficient evidence", is_preliminary=True, value=1.0 if number < preliminary else None)
        for number in range(waiting)
    ]
    evidence = SimpleNamespace(entries=[None] * runs, runs=[None] * runs)
    return answer(cast("Report", SimpleNamespace(judgements=given, evidence=evidence)))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (told(waiting=1, runs=0), "Nobody knows yet: there are no runs here, and the claim waits for some."),
        (told(waiting=8, runs=0), "Nobody knows yet: there are no runs here, and all 8 claims wait for some."),
        (
            told(waiting=1, preliminary=1),
            "Not settled yet: the claim lacks the runs that a verdict needs. It has a preliminary estimate.",
        ),
        (
            told(waiting=8, preliminary=2),
            "Not settled yet: none of the 8 claims has the runs that a verdict needs. 2 of them have a preliminary "
            "estimate.",
        ),
        (told("not reproduced"), "The claim is judged: not reproduced."),
        (
            told("reproduced", waiting=1),
            "Of 2 claims, 1 is judged: 1 reproduced. One still lacks the runs that a verdict needs.",
        ),
        (told("reproduced", "reproduced"), "Of 2 claims, 2 are judged: 2 reproduced."),
        (told("reproduced", "alike", "behind"), "Of 3 claims, 3 are judged: 1 reproduced, 1 alike and 1 behind."),
    ],
)
def test_the_answer_is_a_sentence_for_one_claim_and_for_many(said: str, expected: str) -> None:
    assert said == expected
