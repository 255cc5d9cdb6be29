"""The gain at every frame count, on made-up runs whose gain is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import OWN_CLAIM, make_catalogue, write_run

from reports.judging.claims import Claim
from reports.judging.claims_file import find_claim, load_claims
from reports.judging.evidence import Evidence, load
from reports.judging.judge import judge
from reports.judging.sample import WIDEST, _published, _told, gain_curve
from reports.judging.sides import find_basis
from reports.pages.lead import gain_figure
from reports.pages.site import Site
from reports.statistics.aggregate import Band
from reports.summary import gather

CATALOGUE = make_catalogue()


def claim_of(tmp_path: Path, text: str = OWN_CLAIM) -> Claim:
    file = tmp_path / "claims.toml"
    file.write_text(text)
    return find_claim(load_claims(file), "own")


def played(root: Path, frames: int, seeds: int = 3, reference: float = 0.5) -> None:
    for game in ("Pong", "Breakout", "Qbert"):
        for seed in range(seeds):
            for name, hns in (("pqn", reference), ("hadamax-pqn", 0.75)):
                write_run(root, name, game, frames, seed, hns * (1 + 0.02 * seed), games=400, metric_rows=2)


def test_it_ends_at_the_claims_own_estimate_and_has_a_band(tmp_path: Path) -> None:
    played(tmp_path / "runs", 4_000_000)
    claim = claim_of(tmp_path)
    basis = find_basis(load(tmp_path / "runs", CATALOGUE), claim)
    assert basis is not None
    found = gain_curve(claim, basis)
    assert found is not None
    assert found.frames[-1] == 4_000_000
    assert len(found.frames) == 40
    assert found.gain.estimate[-1] == pytest.approx(0.5)
    assert found.gain.low[-1] < 0.5 < found.gain.high[-1]
    judged = judge(claim, load(tmp_path / "runs", CATALOGUE), CATALOGUE, repetitions=4000).interval
    ended = gain_curve(claim, basis, judged)
    assert ended is not None
    assert (ended.gain.low[-1], ended.gain.high[-1]) == (judged.low, judged.high)
    np.testing.assert_array_equal(ended.gain.low[:-1], found.gain.low[:-1])
    assert found.published is None  # the paper's two curves begin later
    assert found.published_from == 10_000_000


def test_the_papers_gain_is_drawn_as_far_as_the_budget_goes(tmp_path: Path) -> None:
    played(tmp_path / "runs", 40_000_000)
    claim = claim_of(tmp_path, OWN_CLAIM.replace('"4M"', '"40M"'))
    basis = find_basis(load(tmp_path / "runs", CATALOGUE), claim)
    assert basis is not None
    found = gain_curve(claim, basis)
    assert found is not None
    assert found.published is not None
    frames, gain = found.published
    assert (frames[0], frames[-1]) == (10_000_000, 40_000_000)
    assert gain[-1] == pytest.approx(0.65, abs=0.05)  # 1.47 over 0.89


def test_over_a_reference_near_zero_there_is_no_gain_to_draw(tmp_path: Path) -> None:
    played(tmp_path / "runs", 4_000_000, reference=0.01)
    claim = claim_of(tmp_path)
    basis = find_basis(load(tmp_path / "runs", CATALOGUE), claim)
    assert basis is not None
    assert gain_curve(claim, basis) is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_give_a_curve_without_a_band(tmp_path: Path, seeds: int) -> None:
    played(tmp_path / "runs", 4_000_000, seeds=seeds)
    claim = claim_of(tmp_path)
    basis = find_basis(load(tmp_path / "runs", CATALOGUE), claim)
    assert basis is not None
    found = gain_curve(claim, basis)
    assert found is not None
    assert found.gain.estimate[-1] == pytest.approx(0.5)
    assert np.isnan(found.gain.low).all()


def test_of_three_seeds_a_curve_whose_band_is_open_everywhere_is_a_gap(tmp_path: Path) -> None:
    """It used to be drawn as if single seeds had no band."""
    for game in ("Pong", "Breakout", "Qbert"):
        for seed, theirs in enumerate((-0.6, 0.1, 0.8)):
            write_run(tmp_path, "pqn", game, 4_000_000, seed, theirs, games=400, metric_rows=2)
            write_run(tmp_path, "hadamax-pqn", game, 4_000_000, seed, 0.7 + 0.05 * seed, games=400, metric_rows=2)
    claim = claim_of(tmp_path)
    basis = find_basis(load(tmp_path, CATALOGUE), claim)
    assert basis is not None
    assert gain_curve(claim, basis) is None  # nothing but a gap


def test_it_ends_with_the_claims_own_interval_however_wide_that_is(tmp_path: Path) -> None:
    """It used to leave out the very gain that the page leads with."""
    for game in ("Pong", "Breakout", "Qbert"):
        for seed, factor in enumerate((0.8, 1.0, 1.2)):
            for name, hns in (("pqn", 0.1 * factor), ("hadamax-pqn", 0.6 / factor)):
                write_run(tmp_path, name, game, 4_000_000, seed, hns, games=400, metric_rows=2)
    claim = claim_of(tmp_path)
    runs = load(tmp_path, CATALOGUE)
    basis = find_basis(runs, claim)
    assert basis is not None
    own = judge(claim, runs, CATALOGUE, repetitions=400).interval
    assert own.low is not None
    assert own.high is not None
    assert own.high - own.low > WIDEST
    found = gain_curve(claim, basis, own)
    assert found is not None
    assert found.gain.estimate[-1] == pytest.approx(own.estimate)
    assert (found.gain.low[-1], found.gain.high[-1]) == (own.low, own.high)
    before = found.gain.high[:-1] - found.gain.low[:-1]
    assert not (before > WIDEST).any()


@pytest.mark.parametrize(("seeds", "has_band"), [(2, False), (3, True)])
def test_a_caption_tells_of_a_band_only_where_one_is_drawn(tmp_path: Path, seeds: int, has_band: bool) -> None:
    """It used to say "Band: pointwise 95 % interval" of one seed too."""
    played(tmp_path / "runs", 4_000_000, seeds=seeds)
    claim_of(tmp_path)
    report = gather(results=tmp_path / "runs", catalogue=CATALOGUE, claims_file=tmp_path / "claims.toml")
    judgement = next(found for found in report.judgements if found.claim.id == "own")
    figure = gain_figure(judgement, report, Site("test", tmp_path / "site"), "gain")
    assert figure is not None
    assert ("Band: pointwise" in figure["caption"]) is has_band
    assert ("wider than 400 percentage points" in figure["caption"]) is has_band
    assert "where the reference's score is not above 0.02" in figure["caption"]


def test_a_claim_about_costs_has_no_such_curve(tmp_path: Path) -> None:
    played(tmp_path / "runs", 4_000_000)
    claim = find_claim(load_claims(), "cost-cpu")
    basis = find_basis(load(tmp_path / "runs", CATALOGUE), claim)
    assert basis is not None
    assert gain_curve(claim, basis) is None


def test_the_papers_gain_is_that_of_the_same_two_encoders_whatever_their_precision(tmp_path: Path) -> None:
    claim = claim_of(tmp_path)
    (frames, gain), begins = _published(claim, 40_000_000)
    coarse = replace(claim, baseline="hadamax-pqn-bf16", reference="pqn-bf16")
    (also, same), also_begins = _published(coarse, 40_000_000)
    np.testing.assert_array_equal([also, same], [frames, gain])
    assert begins == also_begins == 10_000_000
    for change in ({"baseline": "pqn-bf16"}, {"reference": "rainbow"}, {"measure": "iqm"}):
        assert _published(replace(claim, **change), 40_000_000) == (None, None)


def test_a_point_whose_interval_is_too_wide_or_open_is_left_out() -> None:
    nothing, one = np.nan, np.ones(4)
    told = _told(Band(one, np.array([-1.0, -1.0, nothing, 0.5]), np.array([3.0, 3.1, 2.0, 1.5])), ends_with_it=False)
    np.testing.assert_array_equal(told.estimate, [1, nothing, nothing, 1])
    np.testing.assert_array_equal(told.low, [-1, nothing, nothing, 0.5])
    np.testing.assert_array_equal(told.high, [3, nothing, nothing, 1.5])


def test_a_moment_of_a_run_and_imported_scores_have_no_curve(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    played(root, 4_000_000)
    claim = claim_of(tmp_path)
    evidence = load(root, CATALOGUE)
    basis = find_basis(evidence, claim)
    assert basis is not None
    assert gain_curve(replace(claim, at_frames=2_000_000), basis) is None
    entries = [replace(entry, source="external") if entry.baseline == "pqn" else entry for entry in evidence.entries]
    imported = find_basis(Evidence(tuple(entries)), claim)
    assert imported is not None
    assert gain_curve(claim, imported) is None
