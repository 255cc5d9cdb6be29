"""n-step returns, by hand and against dqn_zoo's accumulator through the whole memory."""

import numpy as np
import pytest
import torch

from baselines.emulator.envs import Step
from baselines.replay.memory import ReplayLayout, ReplayMemory
from baselines.replay.nstep import n_step_returns


def returns_of(rewards, ends, terminals, discount=0.5):
    found = n_step_returns(
        np.array([rewards], float), np.array([ends], bool), np.array([terminals], bool), discount=discount
    )
    return found.rewards[0], found.discounts[0], found.lengths[0]


def test_a_full_window_discounts_its_rewards_and_the_value_after_them():
    assert returns_of([1, 2, 4], [0, 0, 0], [0, 0, 0]) == (1 + 1 + 1, 0.125, 3)


def test_a_window_stops_where_the_episode_ends_and_nothing_is_left_to_gain():
    assert returns_of([1, 2, 4], [0, 1, 0], [0, 1, 0]) == (2, 0, 2)


def test_a_time_limit_keeps_the_value_with_the_discount_of_the_steps_taken():
    assert returns_of([1, 2, 4], [0, 1, 0], [0, 0, 0]) == (2, 0.25, 2)


def test_what_comes_after_the_end_of_the_window_does_not_count():
    assert returns_of([1, 9, 9], [1, 1, 1], [0, 1, 1]) == (1, 0.5, 1)


def test_differing_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        n_step_returns(np.zeros((2, 3)), np.zeros((2, 2), bool), np.zeros((2, 3), bool), discount=1)


def replayed(rewards, discounts, episode_lengths, n):
    """Rows (s_tm1, a_tm1, r, discount, s_t) of every transition the memory gives for these episodes.

    As in the fixture: observations are numbered through all episodes, the action at observation i is 10 i, discount 0
    inside an episode is a lost life (without a reset step here), an episode's last step with a discount a time limit.
    """
    layout = ReplayLayout(capacity=64, environments=1, n_steps=n, frame_stack=1, image_shape=(1, 1))
    memory = ReplayMemory(layout, discount=0.99, episodic_life=True, device=torch.device("cpu"))
    memory.start(np.zeros((1, 1, 1, 1), np.uint8), np.array([5]))
    opened, number = [], 0

    def add(reward, *, over=False, truncated=False, lost_life=False, reset=False):
        nonlocal number
        step = Step(
            observations=np.full((1, 1, 1, 1), number + 1, np.uint8),
            rewards=np.float32([reward]),
            raw_rewards=np.float32([reward]),
            dones=np.array([over or truncated or lost_life]),
            game_over=np.array([over]),
            truncated=np.array([truncated]),
            resets=np.array([reset]),
            lives=np.array([5]),
        )
        opened.extend(memory.add(np.array([10 * number]), step)[0])
        number += 1

    t = 0
    for length in episode_lengths:
        for k in range(length):
            last = k == length - 1
            zero = discounts[t] == 0
            add(rewards[t], over=last and zero, truncated=last and not zero, lost_life=zero and not last)
            t += 1
        add(0.0, reset=True)
    for _ in range(n):  # windows are opened once n more steps are there
        add(0.0, reset=True)
    batch = memory.gather(np.array(opened), torch.device("cpu"))
    columns = (batch.observations, batch.actions, batch.rewards, batch.discounts, batch.next_observations)
    return np.stack([column.reshape(-1).double().numpy() for column in columns], axis=1)


@pytest.mark.parity_files("rainbow_nstep.npz")
def test_the_memory_gives_the_transitions_of_dqn_zoo(parity_file, compare):
    cases = sorted({key.split("/")[0] for key in parity_file})
    assert cases
    for case in cases:
        rewards, discounts, lengths, n, expected = (
            parity_file[f"{case}/{key}"] for key in ("rewards", "discounts", "episode_lengths", "n", "transitions")
        )
        expected = expected[np.argsort(expected[:, 0])]
        got = replayed(rewards, discounts, lengths, int(n))
        # The memory keeps rewards and discounts as float32.
        compare(parity_file.name, f"{case}/transitions", "f64", got[:, :4], expected[:, :4], 1e-6)
        counts = expected[:, 3] > 0  # where the discount is 0 the next observation is not used
        compare(parity_file.name, f"{case}/s_t", "f64", got[counts, 4], expected[counts, 4], 0)
