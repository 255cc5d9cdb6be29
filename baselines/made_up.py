"""Made-up batches in the shapes of training, for proofs of fast paths: no stream of a run is touched."""

from __future__ import annotations

import torch
from torch import Tensor


def made_up(size: int, actions: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noise: observations [size, 4, 84, 84] uint8, actions [size] int64, unit normal numbers [size] float32."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randint(0, 256, (size, 4, 84, 84), dtype=torch.uint8, generator=generator)
    chosen = torch.randint(0, actions, (size,), generator=generator)
    return observations.to(device), chosen.to(device), torch.randn(size, generator=generator).to(device)


def made_up_epochs(
    rollout: Tensor, minibatch: int, actions: int, device: torch.device
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Order, actions and targets of two epochs of two minibatches, on noise that is written into `rollout`.

    Args:
        rollout: [M, 4, 84, 84] uint8, whose first places are written over.
    """
    size = min(2 * minibatch, len(rollout))
    epochs = []
    for seed in range(2):
        rollout[:size], chosen, targets = made_up(size, actions, seed, device)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        epochs.append((order.to(device), chosen, targets))
    return epochs
