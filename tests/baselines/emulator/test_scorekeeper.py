"""Counting bugs that peers have had, one test each, on steps written by hand."""

import numpy as np

from baselines.emulator.envs import Step
from baselines.emulator.scorekeeper import GameTracker

START_LIVES = 3


def step(*, reward=0.0, done=False, game_over=False, truncated=False, reset=False, lives=START_LIVES, environments=1):
    def column(value, dtype):
        return np.full(environments, value, dtype=dtype)

    return Step(
        observations=np.zeros((environments, 4, 84, 84), dtype=np.uint8),
        rewards=column(np.clip(reward, -1, 1), np.float32),
        raw_rewards=column(reward, np.float32),
        dones=column(done or game_over or truncated, bool),
        game_over=column(game_over, bool),
        truncated=column(truncated, bool),
        resets=column(reset, bool),
        lives=column(lives, np.int32),
    )


def track(*steps, train=1, greedy=0):
    tracker = GameTracker(train=train, greedy=greedy, lives=np.full(train + greedy, START_LIVES, dtype=np.int32))
    games = [game for i, one in enumerate(steps) for game in tracker.update(one, frames=4 * (i + 1))]
    return games, tracker


def test_returns_are_sums_of_unclipped_rewards():
    (game,), _ = track(step(reward=400.0), step(reward=7.0), step(game_over=True, lives=0))
    assert game.episode_return == 407.0


def test_a_lost_life_is_no_new_game():
    games, _ = track(
        step(reward=10.0),
        step(done=True, lives=2),
        step(reset=True, lives=2),
        step(reward=5.0, lives=2),
        step(game_over=True, lives=0),
    )
    assert [(game.episode_return, game.length, game.end) for game in games] == [(15.0, 4, "game_over")]


def test_a_return_does_not_leak_over_a_time_limit():
    games, _ = track(
        step(reward=10.0),
        step(truncated=True),
        step(reset=True),
        step(reward=1.0),
        step(game_over=True, lives=0),
    )
    assert [(game.episode_return, game.end) for game in games] == [(10.0, "time_limit"), (1.0, "game_over")]


def test_reset_steps_count_neither_as_length_nor_as_reward():
    games, _ = track(step(game_over=True, lives=0), step(reset=True, reward=9.0), step(game_over=True, lives=0))
    assert [(game.episode_return, game.length) for game in games] == [(0.0, 1), (0.0, 1)]


def test_a_game_that_ends_inside_a_reset_step_is_recorded_there_and_counted():
    games, tracker = track(
        step(reward=30.0),
        step(done=True, lives=1),
        step(reset=True, lives=START_LIVES),  # no-ops ended the game; a new one began, and nothing said so
        step(reward=2.0),
        step(game_over=True, lives=0),
    )
    assert [(g.episode_return, g.length, g.end, g.frames) for g in games] == [
        (30.0, 2, "unreported", 12),
        (2.0, 2, "game_over", 20),
    ]
    assert tracker.unreported == 1


def test_a_game_that_ends_at_the_very_step_of_the_time_limit_was_not_cut_short():
    (game,), _ = track(step(reward=2.0), step(game_over=True, truncated=True, lives=0))
    assert (game.end, game.length) == ("game_over", 2)


def test_lives_that_rise_after_a_reported_end_are_an_ordinary_new_game():
    games, tracker = track(step(game_over=True, lives=0), step(reset=True, lives=START_LIVES))
    assert len(games) == 1
    assert tracker.unreported == 0


def test_an_extra_life_won_while_playing_ends_nothing():
    games, tracker = track(step(reward=1.0), step(reward=10_000.0, lives=START_LIVES + 1))
    assert games == []
    assert tracker.unreported == 0


def test_greedy_environments_follow_the_training_ones_and_number_from_zero():
    games, _ = track(step(game_over=True, lives=0, environments=5), train=3, greedy=2)
    assert [(game.kind, game.environment) for game in games] == [
        ("train", 0),
        ("train", 1),
        ("train", 2),
        ("greedy", 0),
        ("greedy", 1),
    ]


def test_small_rewards_are_summed_in_double_precision():
    many = 20_000
    steps = [step(reward=2.0**20)] + [step(reward=0.0625)] * many + [step(game_over=True, lives=0)]
    (game,), _ = track(*steps)
    assert game.episode_return == 2.0**20 + many * 0.0625  # a float32 sum would have lost every one of them
