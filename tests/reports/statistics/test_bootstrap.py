"""The bootstrap: seeded, stratified, and as wide as it says."""

from __future__ import annotations

import numpy as np
import pytest
from rliable.library import StratifiedIndependentBootstrap, get_interval_estimates

from reports.statistics import aggregate
from reports.statistics.bootstrap import (
    FEW_RUNS,
    LINEAR,
    OF_GAINS,
    SAME_DRAWS,
    SAME_RUNS,
    UNBOUNDED,
    Draws,
    degrees_of_freedom,
    draw,
    draw_rows,
    ends,
    freedom,
    generator_of,
    interval,
    replicates,
    run_counts,
    variance_shares,
)


def means(scores: np.ndarray) -> np.ndarray:
    return aggregate.game_means(scores)


def gain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([aggregate.median(a) / aggregate.median(b) - 1])


def test_the_same_label_and_scores_give_the_same_draws_and_leave_numpys_generator_alone() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5))
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first = replicates("a label", (scores,), means, 50)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(8)
    second = replicates("a label", (scores,), means, 50)
    np.testing.assert_array_equal(first, second)
    assert (first != replicates("another label", (scores,), means, 50)).any()


class RliablesOwn(StratifiedIndependentBootstrap):
    """rliable's bootstrap, told which runs to draw."""

    def __init__(self, *scores: np.ndarray, label: str) -> None:
        self._stream = generator_of(label)
        super().__init__(*scores)

    def update_indices(self) -> tuple[list[tuple[np.ndarray, ...]], dict[str, object]]:
        sides = enumerate(self._args)
        return [
            (draw_rows(self._stream, run_counts(side)), self._args_strata_indices[number][0]) for number, side in sides
        ], {}


@pytest.mark.parametrize("seeds", [(3, 3), (5, 3)])
def test_resamples_are_rliables_to_the_last_digit(seeds: tuple[int, int]) -> None:
    """Fails where runs of one game get into another, a side is drawn like the other, or a draw is counted twice."""
    rng = np.random.default_rng(3)
    sides = tuple(rng.lognormal(size=(count, 6)) for count in seeds)

    def both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array(
            [aggregate.median(a), aggregate.iqm(a), aggregate.mean(b), aggregate.median(a) / aggregate.iqm(b)]
        )

    ours = replicates("a label", sides, both, 200)
    np.testing.assert_array_equal(ours, RliablesOwn(*sides, label="a label").apply(both, 200))


def test_runs_are_drawn_within_their_game_only() -> None:
    scores = np.array([[1.0, 100.0], [2.0, 200.0], [3.0, 300.0]])
    drawn = replicates("x", (scores,), means, 200)
    assert drawn.shape == (200, 2)
    assert drawn[:, 0].min() >= 1
    assert drawn[:, 0].max() <= 3
    assert drawn[:, 1].min() >= 100
    # Games are drawn independently: they do not move together.
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.25


def test_the_spread_of_a_mean_of_draws_is_the_unbiased_standard_error() -> None:
    scores = np.array([[1.0], [2.0], [6.0]])
    drawn = replicates("x", (scores,), means, 20_000)
    # Sample variance 7, of the mean 7/3; rliable's own draws would give 2/3 of that.
    assert drawn.var() == pytest.approx(7 / 3, rel=0.03)
    _, theirs = get_interval_estimates({"x": scores}, means, reps=2000)
    assert theirs["x"][0, 0] >= 1


def test_a_game_with_fewer_runs_draws_fewer() -> None:
    scores = np.array([[1.0, 10.0], [3.0, 20.0], [8.0, 60.0], [np.nan, 30.0]])
    rows = draw_rows(generator_of("x"), run_counts(scores))
    assert rows.shape == (3, 2)
    resampled = scores[rows, [0, 1]]
    assert not np.isnan(resampled[:2]).any()
    assert np.isnan(resampled[2, 0])
    assert not np.isnan(resampled[2, 1])
    drawn = replicates("y", (scores,), means, 20_000)
    assert drawn[:, 0].var() == pytest.approx(13 / 3, rel=0.03)  # variance 13 of three runs, over 3
    assert drawn[:, 1].var() == pytest.approx(1400 / 3 / 4, rel=0.03)


@pytest.mark.parametrize("runs", [1, 2])
def test_fewer_than_three_runs_of_a_game_give_an_estimate_and_no_interval(runs: int) -> None:
    """Of two runs there used to be one, ten times as wide in one experiment as in the next."""
    scores = np.array([[1.0, 3.0], [2.0, 5.0], [6.0, 4.0]])
    scores[runs:, 0] = np.nan
    found = interval("x", (scores,), means, 10)
    assert [i.estimate for i in found] == [scores[:runs, 0].mean(), 4.0]
    assert {(i.low, i.high, i.reason) for i in found} == {(None, None, FEW_RUNS)}


def test_draws_that_are_all_the_same_give_no_interval() -> None:
    """Every run of A is above every run of B: a chance of 100 % used to have the interval 100 % to 100 %."""
    a, b = np.array([[4.0], [5.0], [6.0]]), np.array([[1.0], [2.0], [3.0]])
    found = interval("x", (a, b), aggregate.improvement_chance, 100)[0]
    assert (found.estimate, found.low, found.high, found.reason) == (1.0, None, None, SAME_DRAWS)


def test_a_mean_that_was_written_down_once_for_each_seed_gives_no_interval() -> None:
    """Neither where both sides are such a table, nor where one is: the other's spread is only half of it."""
    table, measured = np.full((3, 2), 0.9), np.array([[0.5, 0.6], [0.6, 0.5], [0.7, 0.8]])
    for sides in ((table, table / 2), (table, measured), (measured, table)):
        found = interval("x", sides, gain, 100)[0]
        assert found.estimate is not None
        assert (found.low, found.high, found.reason) == (None, None, SAME_RUNS)


@pytest.mark.parametrize("games", [2, 10])
def test_draws_that_are_not_numbers_open_both_ends(games: int) -> None:
    scores = (np.zeros((3, games)),)
    drawn = np.concatenate([np.full(50, np.nan), np.linspace(1, 2, 950)])[:, None]
    low, high = ends(Draws(drawn), scores)
    assert low == -np.inf
    assert high == np.inf
    few = np.concatenate([np.full(5, np.nan), np.linspace(1, 2, 995)])[:, None]
    assert np.isfinite(ends(Draws(few), scores)).all()


def test_an_open_end_is_said() -> None:
    a, b = np.array([[1.9], [2.0], [2.1]]), np.array([[-1.0], [1.0], [3.0]])

    def ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([x.mean() / y.mean() if y.mean() > 0 else np.nan])

    found = interval("x", (a, b), ratio, 500)[0]
    assert found.estimate == pytest.approx(2.0)
    assert found.high is None
    assert found.reason == UNBOUNDED


@pytest.mark.parametrize(
    ("games", "students"),
    [(10, 2.306), (9, 2.776)],  # t(8), t(4) at 97.5 %
)
def test_the_interval_is_students_for_few_runs(games: int, students: float) -> None:
    drawn, *alone = np.random.default_rng(0).normal(size=(3, 20_000, 1))
    low, high = ends(Draws(drawn, tuple(alone)), (np.zeros((3, games)), np.zeros((3, games))))
    assert high[0] == pytest.approx(students, abs=0.07)
    assert low[0] == pytest.approx(-students, abs=0.07)


def test_of_one_game_it_is_students_own_interval() -> None:
    """The widened quantiles of 2 draws from 3 runs used to reach from -1.1 to 10.6: they cover 92 %."""
    found = interval("x", (np.array([[1.0], [2.0], [6.0]]),), means, 20_000)[0]
    reach = 4.303 * np.sqrt(7 / 3)
    assert found.low == pytest.approx(3 - reach, abs=0.1)
    assert found.high == pytest.approx(3 + reach, abs=0.1)


def test_degrees_of_freedom_follow_each_sides_runs_its_share_of_the_variance_and_the_number_of_games() -> None:
    """Satterthwaite: (v + w)^2 / (v^2 / f + w^2 / g)."""
    assert freedom(np.array([1.0]), [5], 9) == pytest.approx(4)
    assert freedom(np.array([0.5, 0.5]), [3, 3], 9) == pytest.approx(4)
    assert freedom(np.array([0.5, 0.5]), [3, 3], 10) == pytest.approx(8)
    assert freedom(np.array([1.0, 0.0]), [3, 3], 9) == pytest.approx(2)
    assert freedom(np.array([0.8, 0.2]), [3, 5], 9) == pytest.approx(1 / (0.64 / 2 + 0.04 / 4))
    both = freedom(np.array([[1.0, 0.5], [0.0, 0.5]]), [3, 3], 9)
    np.testing.assert_allclose(both, [2, 4])


def test_degrees_of_freedom_are_those_of_the_game_with_the_fewest_runs() -> None:
    scores = np.array([[1.0, 1.0], [2.0, 2.0], [6.0, 3.0], [np.nan, 4.0], [np.nan, 5.0]])
    drawn = replicates("x", (scores,), means, 50)
    np.testing.assert_allclose(degrees_of_freedom(Draws(drawn), (scores,)), [2, 2])


def test_each_side_is_drawn_alone_and_brings_its_share_of_the_variance() -> None:
    a, b, c = np.array([[1.0], [2.0], [6.0]]), np.array([[1.0], [1.5], [2.0]]), np.array([[3.0], [1.0], [9.0]])

    def steps(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.array([x.mean() - y.mean(), y.mean()])

    drawn = draw("x", (a, b, c), steps, 4000)
    assert drawn is not None
    assert [side.shape for side in drawn.alone] == [(1000, 2)] * 3
    shares = variance_shares(drawn)
    np.testing.assert_allclose(shares[:, 0], [7 / 7.25, 0.25 / 7.25, 0], atol=0.02)  # the third has no part in it
    np.testing.assert_allclose(shares[:, 1], [0, 1, 0])
    # So that the interval is that of the one side that is in it.
    low, high = ends(drawn, (a, b, c))
    assert high[1] - low[1] == pytest.approx(2 * 4.303 * np.sqrt(0.25 / 3), rel=0.05)


def test_a_gains_interval_is_taken_on_a_log_scale() -> None:
    """On its own scale the interval of a gain of 200 % that spreads by 30 % of the ratio used to hold no gain."""
    drawn, *alone = 3 * np.exp(0.3 * np.random.default_rng(0).normal(size=(3, 20_000, 1))) - 1
    scores = (np.zeros((3, 5)), np.zeros((3, 5)))
    low, high = ends(Draws(drawn, tuple(alone)), scores, OF_GAINS)
    assert low[0] == pytest.approx(3 * np.exp(-2.776 * 0.3) - 1, rel=0.05)
    assert high[0] == pytest.approx(3 * np.exp(2.776 * 0.3) - 1, rel=0.05)
    assert ends(Draws(drawn, tuple(alone)), scores, LINEAR)[0][0] < -0.3


@pytest.mark.parametrize(("below", "is_linear"), [(0.02, False), (0.2, True)])
def test_where_a_ratio_may_be_below_zero_it_has_no_logarithm(below: float, is_linear: bool) -> None:
    """A few such draws count as low ones; with more than an end of the interval holds, the scale is linear."""
    rng = np.random.default_rng(1)
    drawn = np.where(rng.random(5000) < below, -1.5, rng.normal(1.0, 0.1, 5000))[:, None]
    scores = (np.zeros((3, 5)), np.zeros((3, 5)))
    low, high = ends(Draws(drawn, (drawn, drawn)), scores, OF_GAINS)
    assert np.isfinite([low, high]).all()
    assert (low[0] < -1) == is_linear


def test_a_gain_is_linear_as_soon_as_an_end_of_its_interval_has_no_logarithm() -> None:
    rng = np.random.default_rng(1)
    drawn = np.where(rng.random(5000) < 0.04, -1.5, rng.normal(1.0, 0.1, 5000))[:, None]
    scores = (np.zeros((3, 5)), np.zeros((3, 5)))
    low, _ = ends(Draws(drawn, (drawn, drawn)), scores, OF_GAINS)
    assert low[0] == pytest.approx(drawn.mean() - 2.776 * drawn.std(), abs=0.001)


def test_holes_elsewhere_than_below_the_last_run_are_refused() -> None:
    with pytest.raises(ValueError, match="nan below"):
        run_counts(np.array([[np.nan, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="at least one run"):
        run_counts(np.array([[np.nan, 1.0]]))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "games"), [(3, 1), (3, 3), (3, 5), (5, 5), (3, 10), (3, 57), (5, 57)])
def test_the_interval_of_a_gain_covers_the_truth_in_95_of_100_experiments(seeds: int, games: int) -> None:
    """By simulation: games spread over two orders of magnitude, seeds by 15 %, the true gain 50 % on average."""
    rng = np.random.default_rng(5)
    draws, hits = 1500, 0
    for number in range(draws):
        base = np.exp(rng.normal(0.3, 1.2, games))
        truth_a, truth_b = base * np.exp(rng.normal(np.log(1.5), 0.4, games)), base
        a = truth_a * (1 + 0.15 * rng.standard_normal((seeds, games)))
        b = truth_b * (1 + 0.15 * rng.standard_normal((seeds, games)))
        found = interval(f"coverage {number}", (a, b), gain, 300)[0]
        hits += found.low <= gain(truth_a[None], truth_b[None])[0] <= found.high
    assert 0.93 <= hits / draws <= 0.98


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """The short form of the simulation: a mean over ten games, three seeds."""
    rng = np.random.default_rng(6)
    draws, hits = 300, 0
    for number in range(draws):
        truth = rng.normal(1, 0.5, 10)
        scores = truth + 0.2 * rng.standard_normal((3, 10))

        def mean(x: np.ndarray) -> np.ndarray:
            return np.array([x.mean()])

        found = interval(f"short coverage {number}", (scores,), mean, 200)[0]
        hits += found.low <= truth.mean() <= found.high
    assert 0.91 <= hits / draws <= 0.99
