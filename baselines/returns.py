"""Regression targets over a rollout."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def lambda_returns(rewards: Tensor, dones: Tensor, next_values: Tensor, *, discount: float, lam: float) -> Tensor:
    """Targets for one rollout of PQN (arXiv 2407.04811, section 4).

    G[t] = r[t] + discount * (1 - d[t]) * ((1 - lam) * V[t+1] + lam * G[t+1]), starting from G[T] = V[T], where V[t+1]
    is `next_values[t]`.

    Args:
        rewards: [T, N] float, clipped reward of each agent step.
        dones: [T, N] bool, true where that step ended an episode; a lost life counts.
        next_values: [T, N] float, largest action value at the observation after the step.
    Returns: [T, N] in the dtype of `rewards`, without gradient.
    Raises: ValueError if the shapes differ or `dones` is not boolean.
    """
    if not rewards.shape == dones.shape == next_values.shape:
        raise ValueError(f"need one shape [T, N]: {rewards.shape=}, {dones.shape=}, {next_values.shape=}")
    if dones.dtype != torch.bool:
        raise ValueError(f"dones must be bool, not {dones.dtype}")
    targets = torch.empty_like(rewards)
    target = next_values[-1]  # beyond the rollout only the bootstrap value is known
    for t in reversed(range(len(rewards))):
        mixed = (1 - lam) * next_values[t] + lam * target
        target = rewards[t] + discount * mixed * ~dones[t]  # `discount * ~dones` first would be float32
        targets[t] = target
    return targets
