from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from results.scores import SCORE_WINDOW_GAMES, curve_of, human_normalised, score_at


def table(rows: list[tuple[int, float, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["frames", "episode_return", "kind"])


def learning_curve(episodes: pd.DataFrame, points: list[int], kind: str = "train") -> np.ndarray:
    games = episodes[episodes["kind"] == kind]
    return curve_of(games["frames"].to_numpy(), games["episode_return"].to_numpy(), points)


FEW = table([(10, 1.0, "train"), (20, 100.0, "greedy"), (20, 3.0, "train"), (20, 5.0, "train"), (40, 7.0, "train")])
# Games that return 1, 2, ..., 250, one every 10 frames.
MANY = table([(10 * i, float(i), "train") for i in range(1, 251)])


def test_the_window_is_a_hundred_games():
    assert SCORE_WINDOW_GAMES == 100


@pytest.mark.parametrize(
    ("frames", "score"),
    [(9, None), (10, 1.0), (19, 1.0), (20, 3.0), (39, 3.0), (40, 4.0), (10**12, 4.0), (0, None)],
)
def test_fewer_than_a_hundred_games_all_count_from_the_frame_they_ended_at(frames: int, score: float | None):
    assert score_at(FEW, frames) == score
    assert learning_curve(FEW, [frames])[0] == pytest.approx(np.nan if score is None else score, nan_ok=True)


@pytest.mark.parametrize(
    ("frames", "score"),
    [
        (1000, 50.5),  # games 1 to 100
        (1010, 51.5),  # games 2 to 101: the first has left the window
        (1009, 50.5),
        (2500, 200.5),  # games 151 to 250
        (990, 50.0),  # 99 games
    ],
)
def test_the_last_hundred_games_count(frames: int, score: float):
    assert score_at(MANY, frames) == score
    assert learning_curve(MANY, [frames])[0] == score


def test_kinds_are_kept_apart():
    assert score_at(FEW, 100, "greedy") == 100.0
    assert score_at(FEW, 19, "greedy") is None
    assert learning_curve(FEW, [19, 20], "greedy").tolist() == pytest.approx([np.nan, 100.0], nan_ok=True)


def test_a_run_without_games_has_no_score():
    empty = table([])
    assert score_at(empty, 100) is None
    assert np.isnan(learning_curve(empty, [1, 2, 3])).all()
    assert learning_curve(empty, []).shape == (0,)


def test_a_curve_takes_its_points_in_any_order():
    assert learning_curve(FEW, [40, 5, 20]).tolist() == pytest.approx([4.0, np.nan, 3.0], nan_ok=True)


def test_a_curve_takes_kinds_as_categories():
    episodes = FEW.astype({"kind": "category"})
    assert learning_curve(episodes, [40])[0] == 4.0
    assert score_at(episodes, 40) == 4.0


def test_large_returns_lose_nothing():
    returns = np.array([1e6 + i for i in range(50_000)])
    frames = np.arange(50_000)
    assert curve_of(frames, returns, [49_999])[0] == 1e6 + 49_949.5


def test_games_out_of_order_are_refused():
    with pytest.raises(ValueError, match="order in which they ended"):
        learning_curve(FEW.iloc[::-1], [40])


def test_human_normalised_is_0_at_random_and_1_at_human():
    assert human_normalised(-20.7, "Pong") == 0.0
    assert human_normalised(14.6, "Pong") == 1.0
    assert human_normalised(30.5 + 28.8, "Breakout") == pytest.approx(2.0)
    assert human_normalised(-18.6, "DoubleDunk") == 0.0
    np.testing.assert_allclose(human_normalised(np.array([0.0, np.nan]), "Freeway"), [0.0, np.nan])
    with pytest.raises(KeyError):
        human_normalised(1.0, "Chess")
