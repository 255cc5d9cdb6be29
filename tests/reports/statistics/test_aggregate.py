"""Aggregates against numbers worked out by hand, and against rliable's own."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import metrics

from reports.statistics import aggregate

# Two runs of four games. Means over runs: 1, 2, 3, 10.
SCORES = np.array([[0.5, 1.0, 3.0, 12.0], [1.5, 3.0, 3.0, 8.0]])


def test_median_is_that_of_the_games_means() -> None:
    assert aggregate.median(SCORES) == 2.5
    assert aggregate.median(SCORES[:, :3]) == 2.0


def test_mean_is_that_of_the_games_means() -> None:
    assert aggregate.mean(SCORES) == 4.0


def test_interquartile_mean_is_that_of_the_middle_half_of_all_runs() -> None:
    # Sorted: 0.5 1 | 1.5 3 3 3 | 8 12
    assert aggregate.iqm(SCORES) == pytest.approx(10.5 / 4)


def test_optimality_gap_counts_what_is_above_human_level_as_human_level() -> None:
    # Clipped at 1: 0.5 and seven ones.
    assert aggregate.optimality_gap(SCORES) == pytest.approx(0.5 / 8)


def test_the_gaps_interval_ends_at_none() -> None:
    nearly = np.array([[0.97], [1.2], [1.4]])  # drawn anew, and widened for three seeds, it would go below
    found = aggregate.aggregates("a", nearly)["optimality_gap"]
    assert found.estimate == pytest.approx(0.01)
    assert found.low == 0.0
    assert found.high > 0.01
    far = aggregate.aggregates("b", nearly - 3.0)["optimality_gap"]  # a gap has no upper end
    assert 2.0 < far.low < far.high


def test_aggregates_are_rliables_where_games_have_equal_numbers_of_runs() -> None:
    scores = np.random.default_rng(0).lognormal(size=(5, 57))
    assert aggregate.median(scores) == pytest.approx(metrics.aggregate_median(scores), rel=1e-12)
    assert aggregate.iqm(scores) == pytest.approx(metrics.aggregate_iqm(scores), rel=1e-12)
    assert aggregate.mean(scores) == pytest.approx(metrics.aggregate_mean(scores), rel=1e-12)
    assert aggregate.optimality_gap(scores) == pytest.approx(metrics.aggregate_optimality_gap(scores), rel=1e-12)


def test_every_game_weighs_the_same_whatever_its_number_of_runs() -> None:
    # Game 1 has three runs of mean 2, game 2 one run of 4.
    scores = np.array([[1.0, 4.0], [2.0, np.nan], [3.0, np.nan]])
    assert aggregate.mean(scores) == 3.0
    assert aggregate.median(scores) == 3.0
    assert aggregate.optimality_gap(scores) == 0.0
    # Weights 1/6, 1/6, 1/6, 1/2 in order of scores; the middle half is the last third of the run at 2 (1/12),
    # the run at 3 (1/6) and half of the one at 4 (1/4).
    assert aggregate.iqm(scores) == pytest.approx((2 / 12 + 3 / 6 + 4 / 4) / 0.5)


def test_weighted_interquartile_mean_agrees_with_the_plain_one_where_quarters_are_whole_runs() -> None:
    scores = np.random.default_rng(1).normal(size=(4, 8))
    # A fifth row of nan only: the same runs, by the other way of computing.
    padded = np.vstack([scores, np.full((1, 8), np.nan)])
    assert aggregate.iqm(padded) == pytest.approx(aggregate.iqm(scores))


def test_chance_of_improvement_is_rliables() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 1, (5, 10)), rng.normal(0, 1, (3, 10))
    a[:2, 4] = b[:2, 4]  # ties count half
    assert aggregate.improvement_chance(a, b)[0] == pytest.approx(metrics.probability_of_improvement(a, b))


def test_chance_of_improvement_of_unequal_numbers_of_runs() -> None:
    # Game 1: 2 beats 1, not 3: 1/2. Game 2: 5 beats both: 1.
    a = np.array([[2.0, 5.0]])
    b = np.array([[1.0, 4.0], [3.0, 4.0]])
    assert aggregate.improvement_chance(a, b)[0] == 0.75
    assert aggregate.improvement_chance(b, a)[0] == 0.25
    assert aggregate.improvement_chance(np.array([[2.0, 5.0], [np.nan, 1.0]]), b)[0] == pytest.approx((0.5 + 0.5) / 2)


def test_a_resample_is_cut_as_the_runs_are_that_it_was_drawn_from() -> None:
    """Of 9 runs 2 are cut off either end. Of a resample of 6 that is 4/3; int(6 / 4) is 1, which is another share."""
    drawn = np.array([[0.0, 0.0, 2.0], [3.0, 9.0, 14.0]])
    assert aggregate.iqm(drawn) == 14 / 4
    assert aggregate.iqm(drawn, of=9) == pytest.approx((2 + 3 + 9 * 2 / 3) / (10 / 3))
    curves = np.stack([drawn, drawn + 1], axis=2)
    np.testing.assert_allclose(aggregate.iqm_curve(curves, of=9), [3.3, 4.3])
    nine = np.zeros((3, 3))  # what a report calls: the curve of nine runs, for resamples of them
    np.testing.assert_allclose(aggregate.curves_of(nine[..., None])["iqm"](curves), [3.3, 4.3])
    assert aggregate.statistics_of(nine)["iqm"](drawn) == pytest.approx(3.3)


def test_the_iqm_of_three_games_and_three_seeds_lies_within_its_interval() -> None:
    """In a quarter of such cases it lay outside: the interval was that of another cut."""
    rng = np.random.default_rng(12)
    for number in range(20):
        levels = np.array([0.1, 1.0, 8.0])
        scores = levels * (1 + 0.05 * rng.standard_normal((3, 3)))
        found = aggregate.aggregates(f"iqm {number}", scores, 200)["iqm"]
        assert found.low < found.estimate < found.high
        assert found.estimate == pytest.approx(metrics.aggregate_iqm(scores), rel=1e-14)
        # The draws lie about the estimate, and not to one side of it.
        assert abs((found.low + found.high) / 2 - found.estimate) < 0.35 * (found.high - found.low)


def test_profile_is_the_fraction_of_runs_above_each_threshold() -> None:
    thresholds = np.array([0.0, 1.0, 3.0, 20.0])
    np.testing.assert_allclose(aggregate.profile(SCORES, thresholds), [1.0, 6 / 8, 2 / 8, 0.0], atol=1e-12)


def test_curves_are_unknown_until_every_run_has_a_score() -> None:
    """Those of the median and the mean began where one run of each game had a score, and averaged fewer runs there."""
    # [runs, games, points]
    scores = np.array([[[np.nan, 1.0, 2.0], [1.0, 1.0, 4.0]], [[0.0, 3.0, 4.0], [3.0, 3.0, 8.0]]])
    np.testing.assert_allclose(aggregate.median_curve(scores), [np.nan, 2.0, 4.5])
    np.testing.assert_allclose(aggregate.mean_curve(scores), [np.nan, 2.0, 4.5])
    np.testing.assert_allclose(aggregate.iqm_curve(scores), [np.nan, 2.0, 4.0])
    none = np.full((2, 1, 2), np.nan)
    none[:, 0, 1] = 5.0
    np.testing.assert_allclose(aggregate.median_curve(none), [np.nan, 5.0])
    # Game 2 has one run: what lies below it is no run that a score is awaited of.
    fewer = np.array([[[np.nan, 1.0], [2.0, 3.0]], [[1.0, 3.0], [np.nan, np.nan]]])
    expected = {"median": 2.5, "mean": 2.5, "iqm": 3.0}  # of the IQM the quarter that is 1 is cut off
    for name, curve in aggregate.curves_of(fewer).items():
        np.testing.assert_allclose(curve(fewer), [np.nan, expected[name]])
