"""Power: what the runs at hand could tell."""

from __future__ import annotations

import numpy as np
import pytest

from reports.statistics.power import power


def draws(error: float) -> np.ndarray:
    """Draws of a gain whose logarithm spreads by `error`."""
    return np.expm1(error * np.random.default_rng(0).standard_normal(200_000) + np.log(1.3))


def test_the_smallest_gain_is_2_8_standard_errors_of_its_logarithm() -> None:
    found = power(draws(0.1), effect=0.5, is_ratio=True, seeds=3, games=10, claimed_games=10)
    assert found.smallest == pytest.approx(np.expm1(2.8016 * 0.1), rel=0.01)
    # 3 x (2.8016 x 0.1 / ln 1.5)^2 = 1.43, and no fewer than two seeds give an interval at all
    assert found.seeds_needed == 2


def test_a_small_claim_needs_many_seeds() -> None:
    found = power(draws(0.1), effect=0.1, is_ratio=True, seeds=3, games=10, claimed_games=10)
    assert found.seeds_needed == 26  # 3 x (0.28016 / ln 1.1)^2 = 25.9


def test_more_games_need_fewer_seeds() -> None:
    found = power(draws(0.1), effect=0.1, is_ratio=True, seeds=3, games=10, claimed_games=40)
    assert found.seeds_needed == 7


def test_without_draws_the_spread_is_unknown() -> None:
    found = power(None, effect=0.5, is_ratio=True, seeds=1, games=1, claimed_games=1)
    assert found.smallest is None
    assert "two seeds" in found.reason


def test_a_reference_near_zero_has_no_power_to_tell() -> None:
    found = power(np.array([np.nan, 1.0, 2.0]), effect=0.5, is_ratio=True, seeds=3, games=1, claimed_games=1)
    assert found.smallest is None
    assert "near zero" in found.reason


def test_the_smallest_effect_is_found_in_80_of_100_experiments() -> None:
    """By simulation: a two-sided test of a mean of known error at the stated effect."""
    rng = np.random.default_rng(1)
    error = 0.1
    stated = power(error * rng.standard_normal(100_000), effect=None, is_ratio=False, seeds=3, games=1, claimed_games=1)
    seen = stated.smallest + error * rng.standard_normal(100_000)
    assert np.mean(seen > 1.96 * error) == pytest.approx(0.8, abs=0.01)
