"""Claims judged on made-up runs of known gain: each cell of the verdict table, and each refusal."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_up_runs import LAYERS, OWN_CLAIM, make_catalogue, raw, write_run

from reports.judging.claims import Claim
from reports.judging.claims_file import _claim, find_claim, load_claims
from reports.judging.evidence import Evidence, load
from reports.judging.imported import imported_entries
from reports.judging.judge import MOST_FURTHER_SEEDS, NO_REFERENCE, Judgement, estimate_claim, judge
from reports.judging.kinds import KINDS
from reports.judging.missing import Cost, estimate_cost, missing_runs
from reports.judging.sides import find_basis
from reports.judging.timing import timing_of
from reports.statistics.bootstrap import SAME_RUNS
from reports.wording import power_text, rests_on, sentence, standing_of_estimate
from results.external import ExternalScore, store_scores
from results.manifest import read_manifest
from results.schema import RunSpec

GAMES = ("Pong", "Breakout", "Qbert")
CATALOGUE = make_catalogue()
NARROW, MIDDLING, WIDE = (0.98, 1.0, 1.02), (0.85, 1.0, 1.15), (0.4, 1.0, 1.6)


def own_claim(**changes: object) -> Claim:
    table = tomllib.loads(OWN_CLAIM)["claim"][0]
    return _claim({**table, **changes}, "test", is_built_in=False)


def claims_file(folder: Path) -> Path:
    path = folder / "claims.toml"
    path.write_text(OWN_CLAIM)
    return path


def evidence_of(root: Path, claim: Claim) -> Evidence:
    fractions = [claim.at_frames / claim.frames] if claim.at_frames else []
    external, _ = imported_entries(root, CATALOGUE)
    return load(root, CATALOGUE, fractions=fractions, external=external)


def judged(root: Path, claim: Claim) -> Judgement:
    return judge(claim, evidence_of(root, claim), CATALOGUE, repetitions=300)


def write_side(root: Path, baseline: str, hns: float, factors: Sequence[float] = NARROW, **options: object) -> None:
    for game in GAMES:
        for seed, factor in enumerate(factors):
            write_run(root, baseline, game, 4_000_000, seed, hns * factor, games=100, metric_rows=2, **options)


@pytest.mark.parametrize(
    ("gain", "factors", "verdict"),
    [
        (0.5, NARROW, "reproduced"),
        (0.2, NARROW, "smaller than claimed"),
        (0.4, WIDE, "inconclusive"),
        (-0.3, NARROW, "not reproduced"),
    ],
)
def test_each_cell_of_the_table(tmp_path: Path, gain: float, factors: Sequence[float], verdict: str) -> None:
    write_side(tmp_path, "pqn", 0.6, factors)
    write_side(tmp_path, "hadamax-pqn", 0.6 * (1 + gain), factors)
    found = judged(tmp_path, own_claim())
    assert found.verdict == verdict
    assert found.interval.estimate == pytest.approx(gain, abs=1e-9)
    assert not found.is_preliminary
    assert found.missing.runs == ()
    assert found.missing.command == ""


def test_an_open_verdict_names_the_runs_that_are_likely_to_tell(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6, MIDDLING)
    write_side(tmp_path, "hadamax-pqn", 0.6 * 1.4, MIDDLING)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "gain shown"
    assert found.power.confirming is not None
    assert found.wanted_seeds == found.power.confirming
    seeds = found.power.confirming.likely
    assert 3 < seeds <= MOST_FURTHER_SEEDS
    assert found.further is not None
    numbers = ",".join(map(str, range(3, seeds)))
    assert found.further.command == (
        f"python -m suite run --baselines hadamax-pqn,pqn --games Breakout,Pong,Qbert --frames 4M --seeds {numbers} "
        f"--results {tmp_path}"
    )
    assert {run.seed for run in found.further.runs} == set(range(3, seeds))
    assert (found.further.there, found.further.needed) == (2 * 3 * 3, 2 * 3 * seeds)
    listed = missing_runs("own", results=tmp_path, catalogue=CATALOGUE, claims_file=claims_file(tmp_path), seeds=seeds)
    assert tuple(listed) == found.further.runs


@pytest.mark.parametrize(
    ("gain", "factors", "verdict"), [(0.5, NARROW, "reproduced"), (0.4, (0.05, 1.0, 1.95), "inconclusive")]
)
def test_more_seeds_are_asked_for_where_they_are_of_use(
    tmp_path: Path, gain: float, factors: Sequence[float], verdict: str
) -> None:
    write_side(tmp_path, "pqn", 0.6, factors)
    write_side(tmp_path, "hadamax-pqn", 0.6 * (1 + gain), factors)
    found = judged(tmp_path, own_claim())
    assert found.verdict == verdict
    assert found.further is None
    if verdict == "inconclusive":
        assert found.wanted_seeds is not None
        assert found.wanted_seeds.likely > MOST_FURTHER_SEEDS
    else:
        assert found.wanted_seeds is None


def test_two_seeds_of_one_game_are_insufficient_and_the_missing_run_is_named(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6)
    write_side(tmp_path, "hadamax-pqn", 0.9)
    (tmp_path / "hadamax-pqn/Qbert/4M/seed-1").rename(tmp_path / "gone")
    found = judged(tmp_path, own_claim())
    assert found.verdict == "insufficient evidence"
    assert found.is_preliminary
    assert found.interval.estimate == pytest.approx(0.5, abs=0.02)
    assert [(run.baseline, run.game, run.frames, run.seed) for run in found.missing.runs] == [
        ("hadamax-pqn", "Qbert", 4_000_000, 1)
    ]
    assert (
        found.missing.command
        == f"python -m suite run --baselines hadamax-pqn --games Qbert --frames 4M --seeds 1, --results {tmp_path}"
    )
    assert "--baselines hadamax-pqn --games Qbert --frames 4M --seeds 1," in found.missing.commands[0]


def test_runs_of_another_configuration_make_it_not_comparable_and_are_not_mixed_in(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6)
    write_side(tmp_path, "hadamax-pqn", 0.9, changes={"discount": 0.95})
    found = judged(tmp_path, own_claim())
    assert found.verdict == "not comparable"
    assert found.not_comparable == ("hadamax-pqn",)
    assert found.interval.estimate is None
    reasons = {entry.reason for entry in found.set_aside}
    assert len(reasons) == 1
    assert "discount is 0.95, pinned 0.99" in reasons.pop()
    # Their folders are taken: the missing runs have other seeds.
    assert {run.seed for run in found.missing.runs} == {3, 4, 5}


def test_another_protocol_is_not_comparable(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6, protocol="sticky")
    write_side(tmp_path, "hadamax-pqn", 0.9)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "not comparable"
    assert "protocol 'sticky', not 'paper'" in found.set_aside[0].reason


def test_a_single_foreign_run_is_set_aside_and_leaves_evidence_insufficient(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.6, changes={"discount": 0.95})
    found = judged(tmp_path, own_claim())
    assert found.verdict == "insufficient evidence"
    assert len(found.missing.runs) == 18


def test_preliminary_estimates_come_from_the_largest_common_budget_and_games(tmp_path: Path) -> None:
    for frames, gain in ((1_000_000, 0.1), (2_000_000, 0.7)):
        for seed in range(2):
            write_run(tmp_path, "pqn", "Pong", frames, seed, 0.5)
            write_run(tmp_path, "hadamax-pqn", "Pong", frames, seed, 0.5 * (1 + gain))
    write_run(tmp_path, "pqn", "Breakout", 2_000_000, 0, 0.5)
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "insufficient evidence"
    assert found.basis is not None
    assert found.basis.frames == 2_000_000
    assert found.basis.games == ("Pong",)
    assert found.interval.estimate == pytest.approx(0.7)
    assert len(found.missing.runs) == 17  # PQN has one of its nine


def test_off_protocol_runs_give_a_labelled_preliminary_estimate_and_no_verdict(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6, off_protocol=["shorter"])
    write_side(tmp_path, "hadamax-pqn", 0.9, off_protocol=["shorter"])
    found = judged(tmp_path, own_claim())
    assert found.verdict == "insufficient evidence"
    assert found.basis is not None
    assert found.basis.has_off_protocol
    assert found.interval.estimate == pytest.approx(0.5)


@pytest.mark.parametrize("factors", [(1.0,), (0.98, 1.02)])
def test_one_or_two_seeds_give_an_estimate_without_interval(tmp_path: Path, factors: Sequence[float]) -> None:
    write_side(tmp_path, "pqn", 0.6, factors)
    write_side(tmp_path, "hadamax-pqn", 0.9, factors)
    found = judged(tmp_path, own_claim())
    assert found.interval.estimate == pytest.approx(0.5)
    assert found.interval.low is None
    assert found.power.smallest is None
    assert "at least three seeds" in found.power.reason
    assert "no interval: an interval needs at least three seeds of every game" in sentence(found, CATALOGUE)


def test_an_imported_mean_that_is_repeated_as_three_seeds_reproduces_nothing(tmp_path: Path) -> None:
    """It used to give a gain of +50 % with the interval +50 % to +50 %, and "reproduced"."""
    root = tmp_path / "runs"
    for baseline, hns in (("pqn", 0.6), ("hadamax-pqn", 0.9)):
        rows = [ExternalScore(baseline, game, seed, 4_000_000, raw(hns, game)) for game in GAMES for seed in range(3)]
        store_scores(root, baseline, rows, source="a table", protocol="paper")
    found = judged(root, own_claim())
    assert found.verdict == "inconclusive"
    assert found.interval.estimate == pytest.approx(0.5)
    assert (found.interval.low, found.interval.reason) == (None, SAME_RUNS)
    assert found.power.reason == SAME_RUNS
    assert f"(no interval: {SAME_RUNS}). Without an interval nothing can be told" in sentence(found, CATALOGUE)


def test_a_gain_over_a_reference_that_is_not_positive_is_undefined(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", -0.1)
    write_side(tmp_path, "hadamax-pqn", 0.9)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "inconclusive"
    assert found.interval.estimate is None
    assert found.interval.reason == NO_REFERENCE


def test_a_part_over_a_reference_near_zero_is_no_gain(tmp_path: Path) -> None:
    """The mean's reference was 0.011, and the page showed "+8082 %" beside the median's gain."""
    for seed, factor in enumerate(NARROW):
        for game, theirs in (("Pong", 0.5), ("Breakout", 0.5), ("Qbert", -0.967)):
            write_run(tmp_path, "pqn", game, 4_000_000, seed, theirs * factor, games=100, metric_rows=2)
            write_run(tmp_path, "hadamax-pqn", game, 4_000_000, seed, 0.9 * factor, games=100, metric_rows=2)
    found = judged(tmp_path, own_claim()).estimate
    assert found is not None
    assert found.interval.estimate == pytest.approx(0.8, abs=0.01)
    assert (found.parts["mean"].estimate, found.parts["mean"].reason) == (None, NO_REFERENCE)


def test_a_reference_near_zero_gives_no_gain_instead_of_thousands_of_percent(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.02, (-3.0, 1.0, 5.0))
    write_side(tmp_path, "hadamax-pqn", 0.9)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "inconclusive"
    assert found.interval.estimate is None
    said = sentence(found, CATALOGUE)
    assert "There is no estimate from 3 games (Pong, Breakout, Qbert)" in said
    assert "for the reference's score is too near zero for a ratio" in said
    assert "%" not in said
    assert "cannot be judged on these runs" in said


def test_runs_too_small_for_a_gain_are_not_called_a_preliminary_one(tmp_path: Path) -> None:
    """The sentence was "Preliminary, from 1 game (Pong), ...: PQN: the reference's score is not above 0.02, ..."."""
    for name in ("pqn", "hadamax-pqn"):
        write_run(tmp_path, name, "Pong", 200_000, 0, 0.01, games=100, metric_rows=2)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "insufficient evidence"
    said = sentence(found, CATALOGUE)
    assert (
        f"There is no estimate from 1 game (Pong), at 200k frames, 1 seed a game and side, for {NO_REFERENCE}." in said
    )
    assert "Preliminary" not in said


def test_a_chance_of_improvement_ends_at_one(tmp_path: Path) -> None:
    """Its interval, widened by Student's t, used to reach 1.01."""
    write_side(tmp_path, "pqn", 0.6, (0.7, 1.0, 1.3))
    write_side(tmp_path, "hadamax-pqn", 0.9, (0.7, 1.0, 1.3))
    found = judged(tmp_path, own_claim()).estimate
    assert found is not None
    chance = found.parts["probability_of_improvement"]
    assert chance.estimate is not None
    assert chance.high == 1.0
    assert chance.estimate < 1.0


def test_a_gain_whose_half_is_not_excluded_is_shown_and_not_reproduced(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6, (0.87, 1.0, 1.13))
    write_side(tmp_path, "hadamax-pqn", 0.9, (0.87, 1.0, 1.13))
    found = judged(tmp_path, own_claim())
    assert found.verdict == "gain shown"
    assert "neither is half of it" in sentence(found, CATALOGUE)
    assert found.power.confirming is not None
    assert found.power.needed is not None
    assert found.power.confirming.likely > found.power.needed.likely


def test_seeds_of_another_budget_say_nothing_of_how_many_a_claim_needs(tmp_path: Path) -> None:
    """Three short runs of one game used to say that a claim of longer ones takes no more than three."""
    for seed, factor in enumerate(NARROW):
        write_run(tmp_path, "pqn", "Pong", 1_000_000, seed, 0.5 * factor)
        write_run(tmp_path, "hadamax-pqn", "Pong", 1_000_000, seed, 0.8 * factor)
    found = judged(tmp_path, own_claim())
    assert found.power.smallest is not None
    assert found.power.needed is None
    assert "runs of another budget than the claim's" in power_text(found)
    for seed, factor in enumerate(NARROW):
        write_run(tmp_path, "pqn", "Pong", 4_000_000, seed, 0.5 * factor)
        write_run(tmp_path, "hadamax-pqn", "Pong", 4_000_000, seed, 0.8 * factor)
    found = judged(tmp_path, own_claim())
    assert found.power.needed is not None
    assert "By the spread of the seeds of 1 of the 3 games, the only ones played by every side," in power_text(found)


def test_unequal_numbers_of_seeds_are_judged_and_counted(tmp_path: Path) -> None:
    write_side(tmp_path, "pqn", 0.6)
    write_side(tmp_path, "hadamax-pqn", 0.9)
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 3, 0.6)
    found = judged(tmp_path, own_claim())
    assert found.verdict == "reproduced"
    assert found.basis is not None
    assert found.basis.seeds == (3, 4)


def external(baseline: str, hns: float, frames: int = 4_000_000) -> list[ExternalScore]:
    return [
        ExternalScore(baseline, game, seed, frames, raw(hns * factor, game))
        for game in GAMES
        for seed, factor in enumerate(NARROW)
    ]


def test_imported_scores_stand_in_for_a_side_without_measured_runs_and_this_is_said(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_side(root, "pqn", 0.6)
    store_scores(root, "theirs", external("hadamax-pqn", 0.9), source="a table", protocol="paper")
    found = judged(root, own_claim())
    assert found.verdict == "reproduced"
    assert found.external_sides == ["hadamax-pqn"]
    assert standing_of_estimate(found) == "partly imported"
    assert sentence(found, CATALOGUE).endswith("Rests on imported scores of Hadamax-PQN.")


def test_one_measured_run_puts_the_imported_scores_of_its_side_aside(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_side(root, "pqn", 0.6)
    store_scores(root, "theirs", external("hadamax-pqn", 0.9), source="a table", protocol="paper")
    write_run(root, "hadamax-pqn", "Pong", 4_000_000, 0, 0.7)
    found = judged(root, own_claim())
    assert found.verdict == "insufficient evidence"
    assert found.external_sides == []
    assert len(found.missing.runs) == 8
    assert "9 imported scores of Hadamax-PQN give way to 1 measured run" in sentence(found, CATALOGUE)
    reasons = {entry.reason for entry in found.set_aside if entry.source == "external"}
    assert len(reasons) == 1
    assert "gives way to 1 measured run of this side" in reasons.pop()


def test_scores_imported_without_a_protocol_are_shown_and_settle_nothing(tmp_path: Path) -> None:
    """They used to reach "reproduced"."""
    root = tmp_path / "runs"
    write_side(root, "pqn", 0.6)
    store_scores(root, "theirs", external("hadamax-pqn", 0.9), source="a table")
    found = judged(root, own_claim())
    assert found.verdict == "insufficient evidence"
    assert found.interval.estimate == pytest.approx(0.5, abs=0.02)
    assert standing_of_estimate(found) == "preliminary, partly imported"
    assert {run.baseline for run in found.missing.runs} == {"hadamax-pqn"}  # runs of this suite would settle it
    (reason,) = {e.reason for e in evidence_of(root, own_claim()).entries if e.source == "external"}
    assert reason.startswith("imported without saying under which protocol")
    assert "--protocol paper" in reason


def test_scores_imported_under_another_protocol_are_not_comparable(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_side(root, "pqn", 0.6)
    store_scores(root, "theirs", external("hadamax-pqn", 0.9), source="a table", protocol="sticky actions")
    found = judged(root, own_claim())
    assert found.verdict == "not comparable"
    assert "sticky actions" in found.set_aside[0].reason


def reaching() -> Claim:
    claim = own_claim()
    return Claim(
        **{**vars(claim), "kind": KINDS["reaches"], "claimed": None, "at_frames": 1_800_000, "reference": "rainbow"}
    )


@pytest.mark.parametrize(("at", "verdict"), [(1.2, "reproduced"), (1.0, "inconclusive"), (0.7, "not reproduced")])
def test_reaching_compares_a_moment_of_the_run_with_the_others_end(tmp_path: Path, at: float, verdict: str) -> None:
    write_side(tmp_path, "rainbow", 1.0)
    for game in GAMES:
        for seed, factor in enumerate(NARROW):
            moment = (0.45, at * factor)
            write_run(tmp_path, "hadamax-pqn", game, 4_000_000, seed, 2.0, games=400, at_fraction=moment)
    found = judged(tmp_path, reaching())
    assert found.verdict == verdict
    assert found.interval.estimate == pytest.approx(at - 1, abs=1e-9)


def test_a_run_that_got_to_the_moment_needs_no_second_half(tmp_path: Path) -> None:
    write_side(tmp_path, "rainbow", 1.0)
    for game in GAMES:
        for seed in range(3):
            write_run(
                tmp_path,
                "hadamax-pqn",
                game,
                4_000_000,
                seed,
                2.0,
                games=400,
                status="interrupted",
                frames_done=2_400_000,
                at_fraction=(0.45, 1.3),
            )
    found = judged(tmp_path, reaching())
    assert found.verdict == "reproduced"
    assert found.missing.runs == ()


@pytest.mark.parametrize(
    ("lead", "factors", "verdict"),
    [(0.3, NARROW, "ahead"), (0.1, WIDE, "inconclusive"), (-0.3, NARROW, "behind")],
)
def test_a_question_is_answered_and_nothing_is_reproduced(
    tmp_path: Path, lead: float, factors: Sequence[float], verdict: str
) -> None:
    write_side(tmp_path, "pqn", 0.6, factors)
    write_side(tmp_path, "hadamax-pqn", 0.6 * (1 + lead), factors)
    question = Claim(**{**vars(own_claim()), "kind": KINDS["ahead"], "claimed": None, "family": "suite"})
    found = judged(tmp_path, question)
    assert found.verdict == verdict
    assert found.estimate is not None
    assert {"median", "iqm"} <= found.estimate.parts.keys()


def test_a_ratio_of_scores_and_its_inverse_have_inverse_intervals(tmp_path: Path) -> None:
    """Which side a claim names first must not decide what three seeds tell: so it is on a log scale alone."""
    for baseline, hns in (("pqn", 0.6), ("hadamax-pqn", 0.9)):
        write_side(tmp_path, baseline, hns, (0.7, 1.0, 1.3))
    evidence = load(tmp_path, CATALOGUE, fractions=[1.0])
    for name in ("gain", "ahead", "alike", "reaches"):
        found = []
        for pair in (("hadamax-pqn", "pqn"), ("pqn", "hadamax-pqn")):
            changes = {"kind": KINDS[name], "tolerance": 0.25, "at_frames": 4_000_000 if name == "reaches" else None}
            claim = Claim(**{**vars(own_claim()), **changes, "baseline": pair[0], "reference": pair[1]})
            basis = find_basis(evidence, claim)
            assert basis is not None
            found.append(estimate_claim(claim, basis, repetitions=1000).interval)
        ours, theirs = found
        assert (1 + ours.low) * (1 + theirs.high) == pytest.approx(1, abs=0.1), name
        assert (1 + ours.high) * (1 + theirs.low) == pytest.approx(1, abs=0.1), name
        assert ours.high - ours.low > 0.9, name  # so far that it shows on which scale


def layers(kind: str, **values: float) -> Mapping[str, float]:
    return {f"{kind}/{layer}": values.get(layer, 10.0) for layer in LAYERS}


def ranked(root: Path, least: float | None = None, **ours: tuple[float, float]) -> Judgement:
    """A claim about ranks, PQN's being 30: by layer Hadamax-PQN's, and how far seeds lie from it."""
    ranks = {**vars(own_claim()), "kind": KINDS["higher"], "measure": "effective_rank", "layers": tuple(ours)}
    for game in GAMES:
        for seed, wobble in enumerate((-1.0, 0.0, 1.0)):
            higher = layers("effective_rank", **{name: rank + spread * wobble for name, (rank, spread) in ours.items()})
            theirs = layers("effective_rank", **dict.fromkeys(ours, 30.0 - wobble))
            write_run(root, "hadamax-pqn", game, 4_000_000, seed, 1.0, diagnostics=higher)
            write_run(root, "pqn", game, 4_000_000, seed, 1.0, diagnostics=theirs)
    return judged(root, Claim(**{**ranks, "claimed": None, "least": least}))


@pytest.mark.parametrize(("conv3", "verdict"), [(45.0, "reproduced"), (20.0, "not reproduced"), (30.0, "inconclusive")])
def test_higher_is_judged_by_the_weakest_layer(tmp_path: Path, conv3: float, verdict: str) -> None:
    found = ranked(tmp_path, conv2=(60.0, 1.0), conv3=(conv3, 1.0))
    assert found.verdict == verdict
    assert found.estimate is not None
    assert found.estimate.main == "conv3"
    assert found.interval.estimate == pytest.approx(conv3 - 30)
    assert found.estimate.parts["conv2"].estimate == pytest.approx(30)


def test_a_layer_that_refutes_is_named_rather_than_one_that_scatters_further_down(tmp_path: Path) -> None:
    """It used to be conv2, whose interval holds zero: "not reproduced", shown with a figure that refutes nothing."""
    found = ranked(tmp_path, conv2=(30.0, 20.0), conv3=(25.0, 1.0))
    assert found.verdict == "not reproduced"
    assert found.estimate is not None
    assert found.estimate.parts["conv2"].low < found.estimate.parts["conv3"].low
    assert found.estimate.main == "conv3"
    assert "in conv3, the layer that decides" in sentence(found, CATALOGUE)


def test_a_difference_that_is_certain_and_too_small_is_smaller_than_claimed(tmp_path: Path) -> None:
    found = ranked(tmp_path, 10.0, conv2=(45.0, 14.0), conv3=(34.0, 1.0))
    assert found.verdict == "smaller than claimed"
    assert found.estimate is not None
    assert found.estimate.main == "conv3"
    assert "by less than the smallest difference that counts" in sentence(found, CATALOGUE)


def test_what_more_seeds_would_tell_of_a_rank_is_told_from_the_least_that_counts(tmp_path: Path) -> None:
    """Three seeds tell 36 from 30. The claim asks for 5 more than 30, and to tell 36 from 35 takes more."""
    found = ranked(tmp_path, 5.0, conv2=(36.0, 4.0))
    assert found.verdict == "inconclusive"
    assert found.power.needed is not None
    assert found.power.needed.likely > 3
    assert "from the 5 that count (in 80" in power_text(found)
    assert "telling what is seen from the least difference that counts takes about" in power_text(found)


@pytest.mark.parametrize(("dense", "verdict"), [(0.12, "reproduced"), (0.25, "not reproduced")])
def test_below_is_judged_by_the_mean_over_layers(tmp_path: Path, dense: float, verdict: str) -> None:
    claim = Claim(
        **{
            **vars(own_claim()),
            "kind": KINDS["below"],
            "measure": "dead_fraction",
            "layers": LAYERS,
            "claimed": 0.08,
            "reference": None,
        }
    )
    for game in GAMES:
        for seed, factor in enumerate(NARROW):
            found = {f"dead_fraction/{layer}": 0.04 * factor for layer in LAYERS[:3]}
            found["dead_fraction/dense"] = dense * factor
            write_run(tmp_path, "hadamax-pqn", game, 4_000_000, seed, 1.0, diagnostics=found)
    judgement = judged(tmp_path, claim)
    assert judgement.verdict == verdict
    assert judgement.interval.estimate == pytest.approx((3 * 0.04 + dense) / 4)
    assert judgement.estimate is not None
    assert judgement.estimate.parts["dense"].estimate == pytest.approx(dense)


KEPT, FUSED = "freed memory kept", "fused block"
MACHINE = {
    "cpu": "Made-up CPU",
    "instructions": "AVX2",
    "cores": 2,
    "torch_threads": 2,
    "device": "cpu",
    "gpu": None,
    "jobs": 1,
}


def machine(*taken: str, missed: Sequence[str] = (), **changes: object) -> dict[str, object]:
    return {**MACHINE, "fast_paths": taken, "fast_paths_missed": [f"{name}: turned off" for name in missed], **changes}


def timed(
    root: Path, baseline: str, game: str, speed: float, hardware: Mapping[str, object], **options: object
) -> None:
    for seed in range(3):
        write_run(root, baseline, game, 1_000_000, seed, 0.5, frames_per_second=speed, hardware=hardware, **options)


def cost_of(root: Path) -> Judgement:
    return judged(root, find_claim(load_claims(), "cost-cpu"))


def test_cost_compares_runs_of_one_machine_that_had_it_to_themselves(tmp_path: Path) -> None:
    both = machine(KEPT)
    timed(tmp_path, "pqn", "Pong", 9000.0, both)
    timed(tmp_path, "hadamax-pqn", "Pong", 4000.0, both)
    for game, other in {
        "Amidar": machine(KEPT, jobs=4),
        "Bowling": machine(KEPT, missed=["fused block"]),
        "Qbert": machine(KEPT, cpu="Other CPU"),
        "Frostbite": machine(KEPT, instructions="AVX512"),
        "Phoenix": {name: value for name, value in machine(KEPT).items() if name != "instructions"},
        "Alien": machine(KEPT, torch_threads=1),
    }.items():
        timed(tmp_path, "hadamax-pqn", game, 10.0, other)
    found = cost_of(tmp_path)
    assert found.verdict == "reproduced"
    assert found.interval.estimate == pytest.approx(2.25, rel=0.05)
    assert found.basis is not None
    assert found.basis.games == ("Pong",)
    assert found.basis.hardware == "Made-up CPU (AVX2), 2 cores, 2 threads, wall time, fast path"
    assert found.missing.runs == ()
    assert {e.reason for e in found.set_aside} == {
        "not timed: other runs went on beside it, and the wall time is theirs too",
        "not timed: the manifest does not say which vector instructions the processor had",
    }


@pytest.mark.parametrize(
    ("change", "moved"),
    [("numpy: 2.0 -> 2.1", False), ("instructions: AVX2 -> AVX512", True), ("torch_threads: 2 -> 1", True)],
)
def test_a_run_that_went_on_with_another_machine_is_not_timed(tmp_path: Path, change: str, *, moved: bool) -> None:
    directory = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, hardware=machine(KEPT), cpu_seconds=100.0)
    stop = {"at": None, "frames": 100_000, "reason": "killed", "replay_seconds": 1.0, "changed": [change]}
    timing, reason = timing_of(read_manifest(directory) | {"interruptions": [stop]})
    assert reason == (f"not timed: it went on with another machine or share of it ({change})" if moved else "")
    assert (timing is None) == moved


def test_a_run_of_unknown_instructions_serves_estimates_of_time_alone(tmp_path: Path) -> None:
    unknown = {name: value for name, value in machine(KEPT).items() if name != "instructions"}
    for baseline in ("pqn", "hadamax-pqn"):
        timed(tmp_path, baseline, "Pong", 1000.0, unknown, cpu_seconds=1000.0)
    found = cost_of(tmp_path)
    assert found.estimate is None
    evidence = evidence_of(tmp_path, found.claim)
    assert all(entry.run is not None and entry.run.timing is None for entry in evidence.runs)
    assert estimate_cost(evidence, (RunSpec("pqn", "Qbert", 2_000_000, 0, ""),)) == Cost(
        pytest.approx(2000.0), "Made-up CPU, 2 cores, 2 threads, processor time, fast path", ()
    )


def test_cost_is_processor_time_where_there_is_one_whatever_went_on_beside(tmp_path: Path) -> None:
    """Two runs beside other work gave 9.38 times by the clock on the wall."""
    crowded = machine(KEPT, jobs=4)
    timed(tmp_path, "pqn", "Pong", 2000.0, crowded, cpu_seconds=100.0)
    timed(tmp_path, "hadamax-pqn", "Pong", 200.0, crowded, cpu_seconds=225.0)
    found = cost_of(tmp_path)
    assert found.interval.estimate == pytest.approx(2.25)
    assert found.basis is not None
    assert found.basis.hardware == "Made-up CPU (AVX2), 2 cores, 2 threads, processor time, fast path"


def test_a_path_that_only_one_baseline_has_is_no_obstacle(tmp_path: Path) -> None:
    timed(tmp_path, "pqn", "Pong", 9000.0, machine(KEPT))
    timed(tmp_path, "hadamax-pqn", "Pong", 4000.0, machine(KEPT, FUSED))
    found = cost_of(tmp_path)
    assert found.interval.estimate == pytest.approx(2.25, rel=0.05)


def test_plain_and_fast_runs_are_not_mixed(tmp_path: Path) -> None:
    """A plain run of PQN, which only lacks the allocator's switch, used to count as a fast one."""
    timed(tmp_path, "pqn", "Pong", 4500.0, machine(missed=[KEPT]))
    timed(tmp_path, "hadamax-pqn", "Pong", 4000.0, machine(KEPT, FUSED))
    found = cost_of(tmp_path)
    assert found.verdict == "insufficient evidence"
    assert found.interval.estimate is None
    timed(tmp_path, "hadamax-pqn", "Alien", 2000.0, machine(missed=[KEPT, FUSED]))
    timed(tmp_path, "pqn", "Alien", 4500.0, machine(missed=[KEPT]))
    found = cost_of(tmp_path)
    assert found.interval.estimate == pytest.approx(2.25, rel=0.05)
    assert found.basis is not None
    assert found.basis.hardware.endswith("plain path")


def test_runs_that_do_not_say_how_memory_was_kept_are_not_compared(tmp_path: Path) -> None:
    timed(tmp_path, "pqn", "Pong", 9000.0, machine())
    timed(tmp_path, "hadamax-pqn", "Pong", 4000.0, machine(FUSED))
    found = cost_of(tmp_path)
    assert found.interval.estimate is None
    assert "Of 6 runs the time is not known well enough to compare it." in sentence(found, CATALOGUE)
    assert len(found.set_aside) == 6


def test_sides_timed_on_two_machines_are_asked_for_again(tmp_path: Path) -> None:
    """Three seeds of either side used to count as six of six: no verdict, nothing missing, and no command."""
    for baseline, cpu in (("pqn", "CPU A"), ("hadamax-pqn", "CPU B")):
        for seed in range(3):
            write_run(tmp_path, baseline, "Breakout", 4_000_000, seed, 0.5, hardware=machine(KEPT, cpu=cpu))
    found = cost_of(tmp_path)
    assert found.verdict == "insufficient evidence"
    assert (found.missing.there, found.missing.needed) == (0, 6)
    assert {(run.baseline, run.seed) for run in found.missing.runs} == {
        (baseline, seed) for baseline in ("pqn", "hadamax-pqn") for seed in (3, 4, 5)
    }
    assert found.missing.next_command


def test_of_a_cost_only_seeds_in_one_place_count(tmp_path: Path) -> None:
    """Two of PQN's three were timed where Hadamax-PQN was; a third elsewhere helps nobody."""
    for baseline, cpu, seeds in (("pqn", "CPU A", (0, 1)), ("hadamax-pqn", "CPU A", (0,)), ("pqn", "CPU B", (2,))):
        for seed in seeds:
            write_run(tmp_path, baseline, "Breakout", 4_000_000, seed, 0.5, hardware=machine(KEPT, cpu=cpu))
    found = cost_of(tmp_path)
    assert found.verdict == "insufficient evidence"
    assert {(run.baseline, run.seed) for run in found.missing.runs} == {
        ("pqn", 3),
        ("hadamax-pqn", 1),
        ("hadamax-pqn", 2),
    }


def test_seeds_of_a_side_that_was_timed_alone_count_where_it_has_the_most(tmp_path: Path) -> None:
    """A command that was stopped half-way goes on: two seeds of PQN count, and a third elsewhere does not."""
    for seed, cpu in enumerate(("CPU A", "CPU A", "CPU B")):
        write_run(tmp_path, "pqn", "Breakout", 4_000_000, seed, 0.5, hardware=machine(KEPT, cpu=cpu))
    assert {(run.baseline, run.seed) for run in cost_of(tmp_path).missing.runs} == {
        ("pqn", 3),
        *(("hadamax-pqn", seed) for seed in range(3)),
    }


def test_a_cost_says_of_what_budget_its_runs_were(tmp_path: Path) -> None:
    timed(tmp_path, "pqn", "Pong", 9000.0, machine(KEPT))
    timed(tmp_path, "hadamax-pqn", "Pong", 4000.0, machine(KEPT))
    found = cost_of(tmp_path)
    assert "1 game (Pong), in runs of 1M frames, on Made-up CPU" in rests_on(found)
    assert "; in runs of 1M frames). The whole interval counts as" in sentence(found, CATALOGUE)


def test_an_ablation_without_baselines_says_what_is_missing(tmp_path: Path) -> None:
    found = judged(tmp_path, find_claim(load_claims(), "ablation"))
    assert found.verdict == "insufficient evidence"
    assert found.missing.unpinned == ("hadamax-pqn-no-maxpool", "hadamax-pqn-no-product", "hadamax-pqn-relu")
    assert {run.baseline for run in found.missing.runs} == {"hadamax-pqn"}


@pytest.mark.parametrize(("second", "verdict"), [(0.7, "reproduced"), (0.4, "not reproduced")])
def test_an_order_holds_if_every_neighbour_does(tmp_path: Path, second: float, verdict: str) -> None:
    claim = Claim(
        **{
            **vars(own_claim()),
            "kind": KINDS["order"],
            "without": ("c51", "rainbow"),
            "reference": None,
            "claimed": None,
        }
    )
    for name, hns in (("hadamax-pqn", 1.0), ("c51", 0.5), ("rainbow", second)):
        write_side(tmp_path, name, hns)
    found = judged(tmp_path, claim)
    assert found.verdict == verdict
    assert found.interval.estimate == pytest.approx((1 - 0.5) - (1 - second))
    assert found.estimate is not None
    assert found.estimate.parts["drop of c51"].estimate == pytest.approx(0.5)
    assert "the drop with C51 less that with Rainbow is" in sentence(found, CATALOGUE)
