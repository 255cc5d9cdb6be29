"""The emulator's own behaviour, on real games."""

import dataclasses
import itertools

import numpy as np
import pytest

from baselines.emulator.envs import AtariEnvironments, rom_sha256
from baselines.emulator.scorekeeper import GameTracker
from suite.protocol import load_protocol

PAPER = load_protocol("paper").environment


def play(game, *, seeds, agent_steps, threads=1, config=PAPER, choose=None):
    """Random play; yields each Step."""
    envs = AtariEnvironments(game, seeds, config, threads=threads)
    first = envs.reset()
    rng = np.random.default_rng(0)
    yield first, envs
    for _ in range(agent_steps):
        actions = rng.integers(0, envs.num_actions, size=envs.num_envs)
        yield envs.step(actions)
    envs.close()


def steps_of(*args, **kwargs):
    played = play(*args, **kwargs)
    first, envs = next(played)
    return first, envs, list(played)


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    _, _, one = steps_of("Breakout-v5", seeds=[1, 2, 3], agent_steps=150, threads=1)
    _, _, two = steps_of("Breakout-v5", seeds=[1, 2, 3], agent_steps=150, threads=2)
    for a, b in zip(one, two, strict=True):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def test_an_environment_plays_the_same_alone_as_among_others():
    together = AtariEnvironments("Breakout-v5", [5, 6], PAPER, threads=1)
    alone = AtariEnvironments("Breakout-v5", [6], PAPER, threads=1)
    np.testing.assert_array_equal(together.reset()[1], alone.reset()[0])
    rng = np.random.default_rng(1)
    for _ in range(200):
        actions = rng.integers(0, 4, size=2)
        a, b = together.step(actions), alone.step(actions[1:])
        np.testing.assert_array_equal(a.observations[1], b.observations[0])
        assert (a.raw_rewards[1], a.dones[1], a.lives[1]) == (b.raw_rewards[0], b.dones[0], b.lives[0])


def test_the_step_after_a_done_step_is_a_reset_step_without_reward():
    _, _, steps = steps_of("Breakout-v5", seeds=range(8), agent_steps=250)
    dones = np.stack([step.dones for step in steps])
    resets = np.stack([step.resets for step in steps])
    rewards = np.stack([step.raw_rewards for step in steps])
    assert dones.any()
    np.testing.assert_array_equal(resets[1:], dones[:-1])
    assert not resets[0].any()
    assert not rewards[resets].any()


def test_a_lost_life_is_done_but_not_game_over_and_the_stack_runs_on():
    _, _, steps = steps_of("Breakout-v5", seeds=range(4), agent_steps=300)
    seen = 0
    for before, after in itertools.pairwise(steps):
        for i in np.flatnonzero(before.dones & ~before.game_over & ~before.truncated):
            seen += 1
            assert after.lives[i] == before.lives[i] > 0
            np.testing.assert_array_equal(after.observations[i, :3], before.observations[i, 1:])
    assert seen > 0


def test_a_new_game_starts_with_its_first_frame_four_times():
    first, _, steps = steps_of("Breakout-v5", seeds=range(4), agent_steps=400)
    assert all((first[:, k] == first[:, 0]).all() for k in range(4))
    seen = 0
    for before, after in itertools.pairwise(steps):
        for i in np.flatnonzero(before.game_over):
            seen += 1
            assert all((after.observations[i, k] == after.observations[i, 0]).all() for k in range(4))
    assert seen > 0


def test_the_time_limit_truncates_without_game_over_and_a_new_game_follows():
    config = dataclasses.replace(PAPER, max_agent_steps=60)
    _, _, steps = steps_of("Breakout-v5", seeds=range(4), agent_steps=200, config=config)
    cut = [(before, after) for before, after in itertools.pairwise(steps) if before.truncated.any()]
    assert cut
    for before, after in cut:
        assert not before.game_over[before.truncated].any()
        assert before.dones[before.truncated].all()
        assert (after.lives[before.truncated] == 5).all()


def test_scores_are_sums_of_what_the_game_paid_not_of_clipped_rewards():
    _, envs, steps = steps_of("Qbert-v5", seeds=range(8), agent_steps=600)
    tracker = GameTracker(train=8, greedy=0, lives=envs.lives)
    games = [game for i, step in enumerate(steps) for game in tracker.update(step, frames=32 * (i + 1))]
    assert max(np.abs(step.rewards).max() for step in steps) == 1.0
    assert len(games) >= 4
    assert all(game.episode_return % 25 == 0 for game in games)  # Q*bert pays in multiples of 25
    assert max(game.episode_return for game in games) >= 100


def test_a_rom_is_told_by_its_bytes():
    assert rom_sha256("Breakout-v5") == "376323f051c3c373c887fd83abead39d87d844ff283d435f4addbfc1710c6fd5"
    assert rom_sha256("Pong-v5") != rom_sha256("Breakout-v5")


def test_another_seed_gives_another_game():
    _, _, a = steps_of("Breakout-v5", seeds=[1], agent_steps=100)
    _, _, b = steps_of("Breakout-v5", seeds=[2], agent_steps=100)
    assert any((x.observations != y.observations).any() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("game", ["Pong-v5", "MontezumaRevenge-v5"])
def test_observations_are_stacks_of_four_gray_frames(game):
    first, _, steps = steps_of(game, seeds=[0, 1], agent_steps=2)
    assert steps[0].observations.shape == first.shape == (2, 4, 84, 84)
    assert steps[0].observations.dtype == first.dtype == np.uint8
