"""Colours: one a baseline while they last, and the pinned ones' never shared."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reports.pages.palette import COLOURS, colour, place

PINNED = ("pqn", "hadamax-pqn", "c51", "hadamax-c51", "rainbow")


def report(shown: int) -> SimpleNamespace:
    names = [*PINNED, *(f"variant-{i}" for i in range(shown))]
    catalogue = SimpleNamespace(baselines=[SimpleNamespace(name=name) for name in names])
    return SimpleNamespace(catalogue=catalogue, evidence=SimpleNamespace(baselines=["pqn", "mine"]))


def test_every_baseline_has_a_colour_of_its_own_while_they_last() -> None:
    few = report(COLOURS - len(PINNED) - 1)
    names = [info.name for info in few.catalogue.baselines] + ["mine"]
    assert {colour(few, name) for name in names} == {f"s{i}" for i in range(1, COLOURS + 1)}
    assert [place(few, name) for name in names] == list(range(COLOURS))


@pytest.mark.parametrize("shown", [8, 30])
def test_more_baselines_than_colours_never_look_like_a_pinned_one(shown: int) -> None:
    many = report(shown)
    own = {colour(many, name) for name in PINNED}
    others = {colour(many, info.name) for info in many.catalogue.baselines if info.name not in PINNED}
    assert len(own) == len(PINNED)
    assert not own & others
    assert "pub" not in others


def test_what_the_report_does_not_have_is_grey() -> None:
    assert colour(report(0), "elsewhere") == "pub"
