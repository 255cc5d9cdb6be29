"""A game frame by frame is the game that the environment plays, memory and screen."""

import dataclasses
from itertools import islice

import numpy as np
import pytest

from baselines.emulator.envs import AtariEnvironments
from baselines.emulator.every_frame import EveryFrame, reset_draws, seed_that_draws
from suite.protocol import load_protocol

PAPER = load_protocol("paper").environment
WITHOUT_FIRE = ("Asterix", "CrazyClimber", "Freeway", "KungFuMaster", "MsPacman", "Skiing", "Surround", "Tutankham")
FOLLOWS_FROM_THE_GAME_BEFORE = ("KungFuMaster", "Surround")  # they keep some memory over a reset


def test_draws_are_those_of_cpps_own_generator():
    # The first outputs of std::mt19937 with its default seed are 3499211612, 581869302, 3890346734: times 30 / 2**32.
    assert list(islice(reset_draws(5489, 30), 3)) == [24, 4, 27]


@pytest.mark.parametrize("draw", [0, 7, 29])
def test_a_seed_is_found_for_every_draw(draw):
    assert next(reset_draws(seed_that_draws(draw, 30), 30)) == draw
    assert list(islice(reset_draws(seed_that_draws(draw, 30, 5), 30), 6))[-1] == draw


def test_a_draw_that_no_reset_makes_is_refused():
    with pytest.raises(ValueError, match="from 0 to 29, never 30"):
        seed_that_draws(30, 30)


def agrees_for(game: str, agent_steps: int, *, config=PAPER, first_game_alone: bool = False) -> int:
    """Plays random actions both ways; how many games and lives were lost on the way."""
    seed, rng, losses, place = 4321, np.random.default_rng(1), 0, 0
    whole = AtariEnvironments(f"{game}-v5", [seed], config, threads=1, with_screens=True)
    draws = reset_draws(seed, PAPER.noop_max)
    whole.reset()
    frames, is_over, is_cut = EveryFrame(whole.envpool_id, PAPER, next(draws)), False, False
    try:
        for _ in range(agent_steps):
            action = int(rng.integers(whole.num_actions))
            step = whole.step(np.array([action]))
            if not step.resets[0]:
                assert 1 <= len(list(frames.act(action))) <= 4
            elif is_over or is_cut:
                losses += 1
                if first_game_alone:
                    break
                place += 1
                frames.close()
                frames = EveryFrame(whole.envpool_id, PAPER, next(draws), place)
            else:
                list(frames.go_on(next(draws)))
                losses += 1
            is_over, is_cut = bool(step.game_over[0]), bool(step.truncated[0])
            assert frames.console().memory == whole.console(0).memory
            assert np.array_equal(frames.console().screen, whole.console(0).screen)
            assert frames.reward == step.raw_rewards[0]
            assert (frames.lives, frames.is_over) == (step.lives[0], is_over)
    finally:
        frames.close()
        whole.close()
    return losses


@pytest.mark.parametrize("game", ["Breakout", "MsPacman", "Tutankham"])  # the last two have no FIRE
def test_both_ways_agree_through_lost_lives_and_games(game):
    assert agrees_for(game, 500) >= 1


@pytest.mark.parametrize("game", ["BeamRider", "Freeway"])  # differ from the second game on, and in the third
def test_both_ways_agree_in_later_games_of_an_environment(game):
    assert agrees_for(game, 50, config=dataclasses.replace(PAPER, max_agent_steps=12)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("game", [*WITHOUT_FIRE, "Qbert", "Seaquest", "SpaceInvaders", "Alien", "Enduro"])
def test_both_ways_agree_for_long(game):
    agrees_for(game, 6000, first_game_alone=game in FOLLOWS_FROM_THE_GAME_BEFORE)
