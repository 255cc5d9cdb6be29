"""Claims as data: the built-in ones, a user's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import OWN_CLAIM

from reports.errors import ReportsError
from reports.judging.claims_file import find_claim, load_claims
from results.games import ATARI5
from results.reference import published_points

PAPER = ["pqn-80", "pqn-atari10", "c51-70", "rainbow-90m", "rank", "dead-8", "cost", "ablation"]
QUESTIONS = [
    *("one-million", "one-million-atari10", "bf16-alike", "bf16-alike-hadamax"),
    *("cost-cpu", "cost-c51-cpu", "cost-c51-gpu"),
]
IDS = [*PAPER, *QUESTIONS]


def test_the_eight_claims_of_the_design_and_the_suites_own_questions_are_built_in() -> None:
    claims = load_claims()
    assert [claim.id for claim in claims] == IDS
    assert all(claim.statement and claim.source and claim.title for claim in claims)
    by_id = {claim.id: claim for claim in claims}
    assert (by_id["pqn-80"].claimed, len(by_id["pqn-80"].games), by_id["pqn-80"].frames) == (0.8, 57, 200_000_000)
    assert (by_id["pqn-atari10"].claimed, len(by_id["pqn-atari10"].games)) == (0.5, 10)
    assert by_id["c51-70"].sides == ("hadamax-c51", "c51")
    assert by_id["rainbow-90m"].at_frames == 90_000_000
    assert by_id["rank"].layers == ("conv2", "conv3")
    assert by_id["dead-8"].claimed == 0.08
    assert by_id["cost"].claimed == 2.25
    assert [claim.id for claim in claims if claim.family == "suite"] == QUESTIONS
    assert (by_id["rank"].least, by_id["rank"].observations) == (5.0, 2048)
    assert [by_id[name].on for name in ("cost", "cost-cpu", "cost-c51-gpu")] == ["gpu", "cpu", "gpu"]
    question = by_id["one-million"]
    assert question.sides == ("hadamax-pqn-bf16", "pqn-bf16")
    assert (question.games, question.frames, question.claimed) == (ATARI5, 4_000_000, None)


def test_a_users_claims_come_after_the_built_in_ones(own_claim: Path) -> None:
    claims = load_claims(own_claim)
    assert [claim.id for claim in claims] == [*IDS, "own"]
    assert claims[-1].games == ("Pong", "Breakout", "Qbert")
    assert not claims[-1].is_built_in


def test_an_unknown_claim_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ReportsError, match=r"unknown claim 'c51-7' \(nearest: c51-70"):
        find_claim(load_claims(), "c51-7")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "gain"', 'kind = "gian"', r"claim 1 \(own\): kind is 'gian' \(allowed: gain, reaches"),
        ('kind = "gain"', 'kind = "gain"\nfamily = "ours"', r"family is 'ours' \(allowed: paper, suite\)"),
        ('reference = "pqn"\n', "", r"claim 1 \(own\): missing reference"),
        ("claimed = 0.5", "claimed = 0.5\nlayers = ['conv1']", r"unknown layers"),
        ("claimed = 0.5", 'claimed = 0.5\non = "gpu"', r"unknown on"),
        ("claimed = 0.5", 'claimed = "half"', r"claimed must be a number above 0"),
        ("claimed = 0.5", "claimed = nan", r"claimed must be a number above 0"),
        ("claimed = 0.5", "claimed = -1", r"claimed must be a number above 0"),
        ("claimed = 0.5", "claimed = true", r"claimed must be a number above 0"),
        ('frames = "4M"', 'frames = "4 million"', r"frames must be a budget"),
        ('frames = "4M"', "frames = 4000000", r"frames must be a text"),
        ('"Pong"', '"Pogn"', r"unknown game 'Pogn' \(nearest: Pong"),
        ('"Pong"', '"Breakout"', r"names something twice"),
        ('["Pong", "Breakout", "Qbert"]', '"atari58"', r"games is 'atari58' \(allowed: atari57"),
        ('["Pong", "Breakout", "Qbert"]', '"any"', r'"any" for a ratio'),
        ('["Pong", "Breakout", "Qbert"]', "[]", r"must be a list of names"),
        ('measure = "median"', 'measure = "dead_fraction"', r"a gain takes median, iqm, mean"),
        ('id = "own"', 'id = "pqn-80"', r"claim 'pqn-80' is there twice"),
        ('id = "own"', 'id = "../own"', r"lower-case letters"),
        ('title = "Hadamax-PQN gains 50 % on three games"', 'title = ""', r"title must be a text"),
        ('reference = "pqn"', 'reference = "hadamax-pqn"', r"reference is 'hadamax-pqn', the baseline itself"),
        ("[[claim]]", "[claim]", r"written as \[\[claim\]\] tables"),
        ("[[claim]]", "x = 1\n[[claim]]", r"and nothing else"),
        ("[[claim]]", "[[claim", r"is no TOML"),
        ("claimed = 0.5", f"claimed = {'1' * 5000}", r"is no TOML: .*digits"),
        ("claimed = 0.5", f"claimed = {'[' * 5000}", r"is no TOML: .*recursion"),
    ],
)
def test_a_bad_claims_file_is_refused_with_file_claim_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "claims.toml"
    assert old in OWN_CLAIM
    path.write_text(OWN_CLAIM.replace(old, new))
    with pytest.raises(ReportsError, match=message) as caught:
        load_claims(path)
    assert "\n" not in str(caught.value)
    assert "claims.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ('["pqn"]', r"claim 1 \(own\): without names 'pqn' alone, and an order needs two"),
        ('["pqn", "hadamax-pqn"]', r"without names 'hadamax-pqn', the baseline itself"),
    ],
)
def test_an_order_of_what_cannot_be_ordered_is_refused(tmp_path: Path, without: str, message: str) -> None:
    path = tmp_path / "claims.toml"
    order = OWN_CLAIM.replace('"gain"', '"order"').replace("claimed = 0.5", "")
    path.write_text(order.replace('reference = "pqn"', f"without = {without}"))
    with pytest.raises(ReportsError, match=message):
        load_claims(path)


def test_files_that_hold_no_claims_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportsError, match="cannot read claims file"):
        load_claims(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportsError, match="no text in UTF-8"):
        load_claims(tmp_path / "binary.toml")
    (tmp_path / "empty.toml").write_bytes(b"")
    with pytest.raises(ReportsError, match="at least one"):
        load_claims(tmp_path / "empty.toml")


def test_the_claim_about_costs_names_the_papers_other_figure() -> None:
    """The paper's own figure has a ratio that lies outside of what counts as the one its text has."""
    points = published_points()
    hours = points[points["metric"] == "gpu_hours"].set_index("baseline")["value"]
    minutes = points[points["metric"] == "gpu_minutes"].set_index("baseline")["value"]
    claim = find_claim(load_claims(), "cost")
    assert claim.claimed == minutes["hadamax-pqn"] / minutes["pqn"]
    assert f"{hours['hadamax-pqn'] / hours['pqn']:.1f} times as long" in claim.source
