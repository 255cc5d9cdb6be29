"""Steps in the background, one at a time; what agents make of them is in test_replay_agents."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines.replay.background_play import BackgroundPlay
from baselines.replay.memory import ReplayLayout, ReplayMemory
from baselines.spans import Spans


@pytest.fixture
def play():
    """One environment whose steps give nothing and take no time."""
    environments = SimpleNamespace(
        num_envs=1,
        lives=np.array([3]),
        reset=lambda: np.zeros((1, 4, 84, 84), np.uint8),
        step=lambda actions: None,
        close=lambda: None,
    )
    memory = ReplayMemory(ReplayLayout(4, 1, 1), discount=0.9, episodic_life=True, device=torch.device("cpu"))
    play = BackgroundPlay(environments, memory, Spans())
    yield play
    play.close()


def test_a_second_step_is_not_begun_before_the_first_is_taken_in(play):
    play.begin(np.array([0]))
    with pytest.raises(RuntimeError, match=r"a vector step is under way; finish\(\) it first"):
        play.begin(np.array([1]))


def test_no_step_is_taken_in_that_was_not_begun(play):
    with pytest.raises(RuntimeError, match=r"no vector step is under way; begin\(\) one first"):
        play.finish()
