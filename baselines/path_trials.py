"""Every fast path of a device, proven and measured against the plain one: what `doctor` shows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from baselines.emulator.frame_stacks import why_not_stacked
from baselines.fast import fused_block
from baselines.fast.cuda_graph import Captured, Record, cuda_graph, remember_learner
from baselines.fast.paths import FUSED_BLOCK, ROLLOUT_GRAPH, UPDATE_GRAPH
from baselines.fast.trials import Trial, attempt, block_inputs, speed_up, why_not_captured, why_not_fused
from baselines.made_up import made_up
from baselines.networks.distribution_network import HadamaxC51Encoder
from baselines.networks.pqn_encoders import Encoder, HadamaxEncoder
from baselines.networks.q_network import build_q_network
from baselines.optim import RAdam
from baselines.pqn import train_minibatch

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
_ENCODERS: dict[str, Callable[[], Encoder]] = {"Hadamax-PQN": HadamaxEncoder, "Hadamax-C51": HadamaxC51Encoder}
_MEASURED_IMAGES, _MEASURED_HEIGHT = 16, 84  # of the first layer, where most of the time goes
_MINIBATCH, _ACTIONS = 32, 6


def trials(device: torch.device, record: Record = cuda_graph) -> Iterator[Trial]:
    """The fast paths that `device` could have, each proven or with the reason why not. None raises."""
    for title, encoder in _ENCODERS.items():
        for precision, dtype in _TYPES.items():
            yield _block_trial(f"{FUSED_BLOCK}, {title} in {precision}", encoder(), device, dtype)
    if device.type == "cuda":
        yield update_trial(device, record)
        yield Trial(ROLLOUT_GRAPH, attempt(lambda: why_not_stacked(device, record)))


def _block_trial(name: str, encoder: Encoder, device: torch.device, dtype: torch.dtype) -> Trial:
    layers: list[Any] = [module for module in encoder.modules() if hasattr(module, "fused")]
    why_not = fused_block.why_not(device)
    for layer in layers:
        why_not = why_not or layer.why_not_fused() or why_not_fused(layer, device, dtype)
    if why_not is not None:
        return Trial(name, why_not)
    first = layers[0].to(device, dtype)
    branches = block_inputs(first.conv_a.out_channels, dtype, images=_MEASURED_IMAGES, height=_MEASURED_HEIGHT)
    there = [branch.to(device).requires_grad_() for branch in branches]
    return Trial(name, None, speed_up(_work(first, there, fused=False), _work(first, there, fused=True), device))


def _work(layer: Any, branches: list[Tensor], *, fused: bool) -> Callable[[], object]:
    """The layer's block forward and backward."""
    own = copy.deepcopy(layer)
    own.fused = fused
    return lambda: own.join(*branches).float().sum().backward()


def update_trial(device: torch.device, record: Record = cuda_graph) -> Trial:
    """PQN's gradient step on a small minibatch, recorded, against the same step as it is."""

    def learner() -> tuple[Any, RAdam, Callable[..., tuple[Tensor, ...]]]:
        network = build_q_network("nature-layernorm", _ACTIONS, torch.Generator().manual_seed(0)).to(device)
        optimizer = RAdam(network.parameters(), lr=1e-4, capturable=True)

        def update(observations: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            return train_minibatch(network, optimizer, observations, actions, targets, 10.0)

        return network, optimizer, update

    def prove() -> str | None:
        batches.extend(made_up(_MINIBATCH, _ACTIONS, seed, device) for seed in range(2))
        network, optimizer, update = learner()
        return why_not_captured(update, network, optimizer, batches, record)

    batches: list[tuple[Tensor, ...]] = []
    why_not = attempt(prove)
    if why_not is not None:
        return Trial(UPDATE_GRAPH, why_not)
    _, _, eager = learner()
    network, optimizer, update = learner()
    recorded = Captured(update, lambda: remember_learner(network, optimizer), record)
    return Trial(UPDATE_GRAPH, None, speed_up(lambda: eager(*batches[0]), lambda: recorded(*batches[0]), device))
