"""The kinds of claim as values: one that nobody has is added here, from TOML to page, and no module knows of it."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import OWN_CLAIM, make_catalogue

from reports.build import build
from reports.judging.claims import Contrast, Kind
from reports.judging.claims_file import find_claim, load_claims
from reports.judging.kinds import KINDS
from reports.judging.verdicts import (
    AHEAD,
    ALIKE,
    BEHIND,
    DIFFERENT,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
)
from reports.statistics.aggregate import game_means
from reports.statistics.bootstrap import SAME_DRAWS

WINS = Kind(
    name="wins",
    needs=("reference", "frames", "claimed"),
    measures=("median",),
    rule="The share of games in which A's mean lies above B's.",
    statistic=lambda claim, sides: (["share of games won"], _share_won),
    decides=lambda claim, parts: "share of games won",
    verdict=lambda claim, parts: (
        REPRODUCED if (parts["share of games won"].estimate or 0) >= (claim.claimed or 0) else NOT_REPRODUCED
    ),
    meanings={
        REPRODUCED: "It wins the claimed {claimed} or more.",
        INCONCLUSIVE: "It may or may not win the claimed {claimed}.",
        NOT_REPRODUCED: "It wins less than {claimed}.",
    },
    written=lambda claim, value: "none" if value is None else f"{value:.1f} of all",
    claimed=lambda claim: f"{claim.claimed} of all",
    seen=lambda seen: f"{seen.title} wins {seen.claim.written(seen.value)} games from {seen.other} ({seen.ends}).",
    contrast=lambda claim, draws, value: Contrast(draws, claim.claimed),
    told=lambda claim, size: f"a share of {size:.2f}",
    marks=lambda claim: [("none won", 0.0)],
)


def _share_won(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([np.mean(game_means(a) > game_means(b))])


def test_a_kind_of_claim_is_one_entry(mixed_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a module switches on the names of kinds it knows, and leaves out or refuses a new one."""
    monkeypatch.setitem(KINDS, "wins", WINS)
    file = tmp_path / "claims.toml"
    file.write_text(OWN_CLAIM.replace('"gain"', '"wins"'))
    assert load_claims(file)[-1].kind is WINS
    outcome = build(results=mixed_results, out=tmp_path / "html", catalogue=make_catalogue(), claims_file=file)
    (found,) = [claim for claim in outcome.summary["claims"] if claim["id"] == "own"]
    assert (found["kind"], found["verdict"], found["estimate"]) == ("wins", "reproduced", 1.0)
    sentence = f"Hadamax-PQN wins 1.0 of all games from PQN (no interval: {SAME_DRAWS}). "
    assert found["sentence"] == sentence + "It wins the claimed 0.5 of all or more."
    page = unescape((tmp_path / "html/claims/own.html").read_text())
    for words in (WINS.rule, "share of games won", "none won", "Claimed</dt><dd>0.5 of all"):
        assert words in page
    index = outcome.index.read_text()
    assert '<span class="known">1.0 of all</span>' in index


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_says_what_each_of_its_verdicts_means(kind: Kind) -> None:
    """A verdict without its sentence would be a KeyError on the day a claim first gets it."""
    ends = {"ahead": {AHEAD, BEHIND}, "alike": {ALIKE, DIFFERENT}}.get(kind.name, {REPRODUCED, NOT_REPRODUCED})
    assert {INCONCLUSIVE} | ends <= kind.meanings.keys()
    assert all(kind.meanings.values())
    assert kind.rule.endswith(".")


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.0"), (0.004, "0.40"), (0.02, "2.0"), (0.08, "8.0")])
def test_a_small_share_of_dead_neurons_has_a_digit_more_and_none_at_all_has_not(value: float, text: str) -> None:
    """The axis read "0.00 %, 2.0 %, 4.0 %"."""
    assert find_claim(load_claims(), "dead-8").written(value) == f"{text}\N{NO-BREAK SPACE}%"


def test_power_is_about_what_a_claim_is_held_against() -> None:
    """A ratio is a gain there, a bound the way to it, and equivalence asks for its margin, whatever was seen."""
    claims = {claim.id: claim for claim in load_claims()}
    cost, dead, alike = (claims[name] for name in ("cost", "dead-8", "bf16-alike"))
    found = cost.kind.contrast(cost, np.array([0.5, 2.25]), 2.0)
    np.testing.assert_allclose([*found.draws, found.effect], [-0.5, 1.25, 1.25])
    found = dead.kind.contrast(dead, np.array([0.10, 0.05]), 0.03)
    np.testing.assert_allclose([*found.draws, found.effect], [0.02, -0.03, 0.05])
    found = alike.kind.contrast(alike, np.array([0.1]), 0.1)
    assert found.margin == alike.tolerance
