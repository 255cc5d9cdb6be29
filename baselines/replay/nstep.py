"""Returns of n steps out of a replay memory, as Rainbow accumulates them (dqn_zoo's rule).

From the step taken at time t: reward = r[t] + g r[t+1] + ... and discount = g^m over the m <= n steps until the window
is full or an episode ends in it. A lost life and game over leave nothing to come, so the discount is 0. A time limit
is no end of the game: the value of its true last observation still counts, with the discount of the steps it took.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NStepReturns:
    """What n steps from each of B starting points gave."""

    rewards: np.ndarray  # [B] float64, discounted sum
    discounts: np.ndarray  # [B] float64, of the value of the observation after the last step; 0 if terminal
    lengths: np.ndarray  # [B] int64, steps until that observation, 1..n


def n_step_returns(rewards: np.ndarray, ends: np.ndarray, terminals: np.ndarray, *, discount: float) -> NStepReturns:
    """Sums up windows of n consecutive steps.

    Args:
        rewards: [B, n] float.
        ends: [B, n] bool, the step ended an episode: lost life, game over or time limit.
        terminals: [B, n] bool, it ended with nothing left to gain; a subset of `ends`.
    Raises: ValueError if the shapes differ.
    """
    if not rewards.shape == ends.shape == terminals.shape:
        raise ValueError(f"need one shape [B, n]: {rewards.shape}, {ends.shape}, {terminals.shape}")
    batch, n = rewards.shape
    total = np.zeros(batch)
    lengths = np.zeros(batch, dtype=np.int64)
    running = np.ones(batch, dtype=bool)  # the window reaches this step
    terminal = np.zeros(batch, dtype=bool)
    for k in range(n):
        total += np.where(running, discount**k * rewards[:, k], 0.0)
        lengths += running
        terminal |= running & terminals[:, k]
        running &= ~ends[:, k]
    return NStepReturns(total, np.where(terminal, 0.0, discount**lengths), lengths)
