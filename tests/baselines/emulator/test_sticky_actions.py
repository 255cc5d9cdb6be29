"""The emulator under the protocol `dopamine`, on real games: lives end nothing, actions stick."""

import dataclasses
import itertools

import numpy as np
import pytest

from baselines.config import ConfigError
from baselines.emulator.envs import AtariEnvironments
from baselines.emulator.scorekeeper import GameTracker
from suite.protocol import load_protocol

DOPAMINE = load_protocol("dopamine").environment
BREAKOUT_ACTIONS = 4


def play(game="Breakout-v5", *, seeds=(0, 1, 2, 3), agent_steps=400, threads=1, **changes):
    """Random play, the same actions every time; the first observations, lives, and each Step."""
    envs = AtariEnvironments(game, list(seeds), dataclasses.replace(DOPAMINE, **changes), threads=threads)
    first, rng = envs.reset(), np.random.default_rng(0)
    lives = envs.lives
    drawn = rng.integers(0, envs.num_actions, size=(agent_steps, 16))[:, : len(seeds)]
    steps = [envs.step(actions) for actions in drawn]
    envs.close()
    return first, lives, steps


def test_a_lost_life_ends_nothing_and_game_over_does():
    _, lives, steps = play()
    lost, over = 0, 0
    before = lives
    for step in steps:
        died = step.lives < before
        alive = died & (step.lives > 0)
        lost += int(alive.sum())
        over += int(step.game_over.sum())
        assert not step.dones[alive].any()
        np.testing.assert_array_equal(step.dones, step.game_over)
        assert (step.lives[step.game_over] == 0).all()
        before = step.lives
    assert lost > 8
    assert over > 0


def test_a_new_game_begins_with_all_lives_and_its_first_frame_four_times():
    _, lives, steps = play()
    seen = 0
    for before, after in itertools.pairwise(steps):
        np.testing.assert_array_equal(after.resets, before.dones)
        assert not after.raw_rewards[after.resets].any()
        for i in np.flatnonzero(after.resets):
            seen += 1
            assert after.lives[i] == lives[i] == 5
            assert (after.observations[i] == after.observations[i, -1]).all()
    assert seen > 0


def test_the_time_limit_truncates_a_game_that_is_not_over():
    _, _, steps = play(max_agent_steps=60, agent_steps=200)
    cut = [(before, after) for before, after in itertools.pairwise(steps) if before.truncated.any()]
    assert len(cut) >= 3
    for before, after in cut:
        assert before.dones[before.truncated].all()
        assert not before.game_over[before.truncated].any()
        assert (after.lives[before.truncated] == 5).all()


def test_the_whole_game_scores_over_all_its_lives():
    _, lives, steps = play(agent_steps=600)
    tracker = GameTracker(train=4, greedy=0, lives=lives)
    games = [game for t, step in enumerate(steps, 1) for game in tracker.update(step, 16 * t)]
    assert {game.end for game in games} == {"game_over"}
    assert tracker.unreported == 0
    for number in range(4):
        paid, whole = 0.0, []
        for step in steps:
            paid += float(step.raw_rewards[number])
            if step.game_over[number]:
                whole.append(paid)
                paid = 0.0
        assert [game.episode_return for game in games if game.environment == number] == whole
    assert sum(game.episode_return for game in games) > 0


def bytes_of(steps, number):
    """All that an environment gave."""
    return [
        (step.observations[number].tobytes(), step.raw_rewards[number], step.dones[number], step.lives[number])
        for step in steps
    ]


def test_what_sticks_follows_from_an_environments_seed_and_its_actions_alone():
    _, _, together = play(seeds=(7, 8, 9))
    _, _, again = play(seeds=(7, 8, 9), threads=3)
    _, _, alone = play(seeds=(7,))
    for number in range(3):
        assert bytes_of(together, number) == bytes_of(again, number)
    assert bytes_of(together, 0) == bytes_of(alone, 0)


def test_another_seed_sticks_elsewhere_and_without_sticking_seeds_differ_in_nothing():
    def observations(seed, **changes):
        return [step.observations.tobytes() for step in play(seeds=(seed,), agent_steps=100, **changes)[2]]

    assert observations(7) != observations(8)
    assert observations(7, repeat_action_probability=0.0) == observations(8, repeat_action_probability=0.0)


def test_a_game_has_its_minimal_set_of_actions_and_a_quarter_of_them_sticks():
    envs = AtariEnvironments("Breakout-v5", [0], DOPAMINE, threads=1)
    assert envs.num_actions == BREAKOUT_ACTIONS
    assert envs.config()["full_action_space"] is False
    assert envs.config()["repeat_action_probability"] == 0.25


def test_a_protocol_of_all_eighteen_actions_is_refused_since_nothing_follows_it():
    with pytest.raises(ConfigError, match="full_action_space is True, and the suite follows only False"):
        dataclasses.replace(DOPAMINE, full_action_space=True)
