"""Categorical return distributions (Bellemare et al. 2017, arXiv 1707.06887): projection, action values, losses.

A distribution is a probability mass [.., K] on K fixed, evenly spaced atoms, the *support*.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The official C51 keeps probabilities this far from 0 and 1 before it takes their logarithm.
PROBABILITY_MARGIN = 1e-5


def support(value_min: float, value_max: float, atoms: int) -> Tensor:
    """The atoms z[0..K-1], [K] float64 on the CPU. Raises ValueError for fewer than two, or an empty range."""
    if atoms < 2 or not value_min < value_max:
        raise ValueError(f"need two atoms or more between two values, not {atoms} in [{value_min}, {value_max}]")
    return torch.linspace(value_min, value_max, atoms, dtype=torch.float64)


def action_values(logits: Tensor, atoms: Tensor) -> Tensor:
    """Expected returns [B, A] of logits [B, A, K]: Q(x, a) = sum_i z[i] p[i](x, a)."""
    return logits.softmax(dim=-1) @ atoms


@torch.no_grad()
def project(masses: Tensor, rewards: Tensor, discounts: Tensor, atoms: Tensor) -> Tensor:
    """The distribution of `rewards + discounts * Z`, put back on the atoms (equation 7 of the paper).

    Each shifted atom, clipped to the support, shares its mass between its two neighbours in proportion to nearness:
    target[i] = sum_j p[j] * max(0, 1 - |clip(r + discount z[j]) - z[i]| / dz). Written densely, so that it is the same
    on every device and in any order.

    Args:
        masses: [B, K] float, each row a probability mass.
        rewards: [B] float; of n steps, already discounted among themselves.
        discounts: [B] float, of the value after those steps; 0 where the episode ended.
        atoms: [K] float, evenly spaced.
    Returns: [B, K] in the dtype of `masses`, without gradient.
    """
    spacing = atoms[1] - atoms[0]
    shifted = (rewards[:, None] + discounts[:, None] * atoms).clamp(atoms[0], atoms[-1])  # [B, K], index j
    shares = (1 - (shifted[:, None, :] - atoms[:, None]).abs() / spacing).clamp(min=0)  # [B, K (i), K (j)]
    if masses.is_cpu:
        return (shares @ masses[:, :, None])[:, :, 0]
    # A GPU multiplies matrices in TF32, whose ten bits of mantissa would move masses by up to 5e-4.
    return (shares * masses[:, None, :]).sum(dim=2)


def taken(per_action: Tensor, actions: Tensor) -> Tensor:
    """Row `actions[b]` of `per_action` [B, A, K], for each b: [B, K]."""
    return per_action.gather(1, actions[:, None, None].expand(-1, 1, per_action.shape[2]))[:, 0]


def c51_losses(logits: Tensor, actions: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy as the official C51 computes it, [B]: -sum_i target[i] log(clip(p[i])).

    The clip keeps probabilities within `PROBABILITY_MARGIN` of 0 and 1 and stops the gradient of those outside.

    Args: logits [B, A, K], actions [B] int64, targets [B, K] without gradient.
    """
    return clipped_cross_entropy(taken(logits, actions).softmax(dim=-1), targets)


def clipped_cross_entropy(masses: Tensor, targets: Tensor) -> Tensor:
    """-sum_i target[i] log(clip(p[i])), [B], of masses and targets [B, K]."""
    return -(targets * masses.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN).log()).sum(dim=-1)


def cross_entropy(logits: Tensor, actions: Tensor, targets: Tensor) -> Tensor:
    """-sum_i target[i] log_softmax(logits of the action taken)[i], [B]: Rainbow's loss and priority.

    Args: logits [B, A, K], actions [B] int64, targets [B, K] without gradient.
    """
    return -(targets * taken(logits, actions).log_softmax(dim=-1)).sum(dim=-1)


@torch.no_grad()
def double_q_targets(
    next_logits: Tensor, selector_values: Tensor, rewards: Tensor, discounts: Tensor, atoms: Tensor
) -> Tensor:
    """Targets of distributional double Q-learning, [B, K] (Hessel et al. 2018, arXiv 1710.02298).

    The next action is the best by `selector_values` (first index among equals), its distribution the one in
    `next_logits`. C51 uses one network for both, Rainbow selects by the online and evaluates by the target network.

    Args: next_logits [B, A, K], selector_values [B, A], rewards and discounts [B] as for `project`.
    """
    masses = taken(next_logits, selector_values.argmax(dim=1)).softmax(dim=-1)
    return project(masses, rewards, discounts, atoms)
