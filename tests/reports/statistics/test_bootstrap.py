"""The bootstrap: seeded, stratified, and as wide as it says."""

from __future__ import annotations

import numpy as np
import pytest
from rliable.library import StratifiedIndependentBootstrap, get_interval_estimates

from reports.statistics import aggregate
from reports.statistics.bootstrap import (
    SINGLE_RUN,
    UNBOUNDED,
    degrees_of_freedom,
    draw_rows,
    ends,
    generator_of,
    interval,
    replicates,
    run_counts,
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
    scores = np.array([[1.0, 10.0], [3.0, 20.0], [np.nan, 60.0]])
    rows = draw_rows(generator_of("x"), run_counts(scores))
    assert rows.shape == (2, 2)
    resampled = scores[rows, [0, 1]]
    assert not np.isnan(resampled[0]).any()
    assert np.isnan(resampled[1, 0])
    assert not np.isnan(resampled[1, 1])
    drawn = replicates("y", (scores,), means, 20_000)
    assert drawn[:, 0].var() == pytest.approx(2 / 2, rel=0.03)  # variance 2 of two runs, over 2
    assert drawn[:, 1].var() == pytest.approx(700 / 3, rel=0.03)


def test_a_single_run_gives_an_estimate_and_no_interval() -> None:
    found = interval("x", (np.array([[1.0, 3.0]]),), means, 10)
    assert [i.estimate for i in found] == [1.0, 3.0]
    assert found[0].low is None
    assert found[0].high is None
    assert found[0].reason == SINGLE_RUN


def test_draws_that_are_not_numbers_open_both_ends() -> None:
    drawn = np.concatenate([np.full(50, np.nan), np.linspace(1, 2, 950)])[:, None]
    low, high = ends(drawn, 8)
    assert low == -np.inf
    assert high == np.inf
    few = np.concatenate([np.full(5, np.nan), np.linspace(1, 2, 995)])[:, None]
    assert np.isfinite(ends(few, 8)).all()


def test_an_open_end_is_said() -> None:
    a, b = np.array([[2.0], [2.0], [2.0]]), np.array([[-1.0], [1.0], [3.0]])

    def ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([x.mean() / y.mean() if y.mean() > 0 else np.nan])

    found = interval("x", (a, b), ratio, 500)[0]
    assert found.estimate == 2.0
    assert found.high is None
    assert found.reason == UNBOUNDED


def test_the_interval_is_students_for_few_runs() -> None:
    drawn = np.random.default_rng(0).normal(size=(20_000, 1))
    low, high = ends(drawn, 8)
    assert high[0] == pytest.approx(2.306, abs=0.06)  # t(8) at 97.5 %
    assert low[0] == pytest.approx(-2.306, abs=0.06)


def test_degrees_of_freedom_follow_the_game_with_the_fewest_runs() -> None:
    five, three = np.zeros((5, 2)), np.zeros((3, 2))
    assert degrees_of_freedom((five,)) == 8
    assert degrees_of_freedom((five, three)) == 8
    three[2, 0] = np.nan
    assert degrees_of_freedom((five, three)) == 4


def test_holes_elsewhere_than_below_the_last_run_are_refused() -> None:
    with pytest.raises(ValueError, match="nan below"):
        run_counts(np.array([[np.nan, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="at least one run"):
        run_counts(np.array([[np.nan, 1.0]]))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "games"), [(3, 10), (3, 57), (5, 57)])
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
    assert 0.93 <= hits / draws <= 0.97


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
