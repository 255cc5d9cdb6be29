"""Every fast path of a device, proven and measured against the plain one: what `doctor` and `run` tell."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from baselines.emulator.frame_stacks import why_not_stacked
from baselines.fast import fourier_convolution, fused_block, fused_norm, native
from baselines.fast.bf16 import ProductsInFloat32, lacks_bf16
from baselines.fast.cuda_graph import Captured, Record, Work, cuda_graph, remember_learner
from baselines.fast.names import (
    ACTING_GRAPH,
    EPOCH_GRAPH,
    FOURIER,
    FUSED_BLOCK,
    FUSED_INPUT,
    FUSED_NORM,
    KEPT_MEMORY,
    ONE_CONVOLUTION,
    ROLLOUT_GRAPH,
    UPDATE_GRAPH,
)
from baselines.fast.paths import why_not_kept
from baselines.fast.trials import (
    Trial,
    attempt,
    block_inputs,
    speed_up,
    why_not_captured,
    why_not_fourier,
    why_not_fused,
    why_not_fused_norm,
    why_not_one_convolution,
    why_not_scaled,
)
from baselines.made_up import made_up
from baselines.networks.distribution_network import HadamaxC51Encoder
from baselines.networks.encoder import FRAMES, scaled_images
from baselines.networks.pqn_encoders import Encoder, HadamaxEncoder, NatureLayerNormEncoder
from baselines.networks.q_network import QNetwork, build_q_network
from baselines.optim import RAdam
from baselines.pqn import greedy_policy, train_epoch, train_minibatch
from baselines.registry import describe

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
# Title, encoder by its name in a pinned configuration, and class.
_HADAMAX: tuple[tuple[str, str, Callable[[], Encoder]], ...] = (
    ("Hadamax-PQN", "hadamax", HadamaxEncoder),
    ("Hadamax-C51", "hadamax-c51", HadamaxC51Encoder),
)
_MEASURED_IMAGES, _MEASURED_HEIGHT = 16, 84  # of the first layer, where most of the time goes
_MINIBATCH, _ACTIONS, _ENVIRONMENTS = 32, 6, 16


@dataclass(frozen=True)
class _Row:
    """A path that is tried, and who takes it: everyone of whom nothing else is said."""

    prove: Callable[[], Trial]
    on_gpu_alone: bool = True
    algorithms: tuple[str, ...] = ("pqn", "c51", "rainbow")
    encoder: str | None = None
    precision: str | None = None

    def concerns(self, baseline: str) -> bool:
        pinned = describe(baseline)
        return (
            pinned.algorithm in self.algorithms
            and self.encoder in (None, pinned.values.get("encoder"))
            and self.precision in (None, pinned.values.get("precision", "float32"))
        )


def trials(
    device: torch.device,
    record: Record = cuda_graph,
    *,
    baselines: Collection[str] | None = None,
    timed: bool = True,
) -> Iterator[Trial]:
    """The fast paths that `device` could have, each proven or with the reason why not.

    Args:
        baselines: only paths that one of them takes.
        timed: also how many times faster each is.

    Raises: torch.OutOfMemoryError where the GPU is full, DeviceLost where a path breaks it; nothing else.
    """
    for row in _rows(device, record, timed=timed):
        if row.on_gpu_alone and device.type != "cuda":
            continue
        if baselines is None or any(row.concerns(baseline) for baseline in baselines):
            yield row.prove()


def missing_paths(device_name: str, baselines: Collection[str]) -> list[str]:
    """What runs of these baselines would do without on a device, a line a path with its reason."""
    device = torch.device(device_name)
    tried = trials(device, baselines=baselines, timed=False)
    found = [f"{trial.name}: {trial.why_not}" for trial in tried if trial.why_not is not None]
    kept = why_not_kept()
    return found + ([] if kept is None else [f"{KEPT_MEMORY}: {kept}"])


def _rows(device: torch.device, record: Record, *, timed: bool) -> Iterator[_Row]:
    for title, name, encoder in _HADAMAX:
        for precision, dtype in _TYPES.items():
            yield _Row(
                partial(_block_trial, f"{FUSED_BLOCK}, {title} in {precision}", encoder(), device, dtype, timed),
                on_gpu_alone=False,
                encoder=name,
                precision=precision,
            )
    for title, name, encoder in _HADAMAX:
        for precision, dtype in _TYPES.items():
            if not fourier_convolution.concerns(device, dtype):
                continue
            yield _Row(
                partial(_fourier_trial, f"{FOURIER}, {title} in {precision}", encoder(), device, dtype, timed),
                on_gpu_alone=False,
                encoder=name,
                precision=precision,
            )
    for title, name, encoder in _HADAMAX:
        for precision, dtype in _TYPES.items():
            yield _Row(
                partial(_joint_trial, f"{ONE_CONVOLUTION}, {title} in {precision}", encoder(), device, dtype, timed),
                encoder=name,
                precision=precision,
            )
    for precision, dtype in _TYPES.items():
        yield _Row(
            partial(_input_trial, f"{FUSED_INPUT}, in {precision}", device, dtype, timed),
            on_gpu_alone=False,
            precision=precision,
        )
        yield _Row(
            partial(_norm_trial, f"{FUSED_NORM}, PQN in {precision}", device, dtype, timed),
            on_gpu_alone=False,
            encoder="nature-layernorm",
            precision=precision,
        )
    yield _Row(lambda: update_trial(device, record, timed=timed), algorithms=("c51", "rainbow"))
    yield _Row(lambda: epoch_trial(device, record, timed=timed), algorithms=("pqn",))
    for path, algorithms in ((ROLLOUT_GRAPH, ("pqn",)), (ACTING_GRAPH, ("c51", "rainbow"))):
        yield _Row(partial(_stacks_trial, path, device, record), algorithms=algorithms)


def _block_trial(name: str, encoder: Encoder, device: torch.device, dtype: torch.dtype, timed: bool) -> Trial:
    layers: list[Any] = [module for module in encoder.modules() if hasattr(module, "fused")]
    why_not = fused_block.why_not(device)
    for layer in layers:
        why_not = why_not or layer.why_not_fused() or why_not_fused(layer, device, dtype)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    first = layers[0].to(device, dtype)
    branches = block_inputs(first.conv_a.out_channels, dtype, images=_MEASURED_IMAGES, height=_MEASURED_HEIGHT)
    there = [branch.to(device).requires_grad_() for branch in branches]
    plain, fused = (_work(_with(first, fused=value).join, *there) for value in (False, True))
    return _timed(name, plain, fused, device)


def _fourier_trial(name: str, encoder: Encoder, device: torch.device, dtype: torch.dtype, timed: bool) -> Trial:
    """Its speed is that of the first layer, with the block as it comes, over the same with torch's convolutions."""
    layers: list[Any] = [module.to(device, dtype) for module in encoder.modules() if hasattr(module, "fourier")]
    why_not = native.why_not()
    for layer in layers:
        why_not = why_not or fourier_convolution.why_not_shape(layer.conv_a) or why_not_fourier(layer, dtype)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    first = _with(layers[0], fused=fused_block.why_not(device) is None)
    shape = (_MEASURED_IMAGES, FRAMES, _MEASURED_HEIGHT, _MEASURED_HEIGHT)
    images = torch.zeros(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    plain, transformed = (_work(_with(first, fourier=value), images) for value in (False, True))
    with ProductsInFloat32() if dtype == torch.bfloat16 and lacks_bf16(device) else nullcontext():
        return Trial(name, None, speed_up(plain, transformed, device))


def _joint_trial(name: str, encoder: Encoder, device: torch.device, dtype: torch.dtype, timed: bool) -> Trial:
    """Its speed is that of the second layer, convolutions included, over the fused block of two of them."""
    layers: list[Any] = [module for module in encoder.modules() if hasattr(module, "one_convolution")]
    why_not = fused_block.why_not(device)
    for layer in layers:
        layer.fused = True
        why_not = why_not or layer.why_not_fused() or why_not_one_convolution(layer, device, dtype)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    second = layers[1].to(device, dtype)
    shape = (_MEASURED_IMAGES, second.conv_a.in_channels, 21, 21)
    images = torch.zeros(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    two, one = (_work(_with(second, one_convolution=value), images) for value in (False, True))
    return _timed(name, two, one, device)


def _input_trial(name: str, device: torch.device, dtype: torch.dtype, timed: bool) -> Trial:
    why_not = fused_norm.why_not(device) or why_not_scaled(device, dtype)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    images = torch.zeros((128, 4, 84, 84), dtype=torch.uint8, device=device)
    plain, fused = scaled_images, fused_norm.scaled_images
    return _timed(name, lambda: plain(images, dtype), lambda: fused(images, dtype), device)


def _norm_trial(name: str, device: torch.device, dtype: torch.dtype, timed: bool) -> Trial:
    encoder = NatureLayerNormEncoder()
    layers: list[Any] = [module for module in encoder.modules() if hasattr(module, "fused_norm")]
    why_not = fused_norm.why_not(device)
    for layer in layers:
        why_not = why_not or layer.why_not_fused_norm() or why_not_fused_norm(layer, device, dtype)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    first = encoder.conv1.to(device, dtype)
    shape = (_MEASURED_IMAGES, first.conv.out_channels, 20, 20)
    outputs = torch.zeros(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    outputs.requires_grad_()
    plain, fused = (_work(_with(first, fused_norm=value).activated, outputs) for value in (False, True))
    return _timed(name, plain, fused, device)


def _stacks_trial(name: str, device: torch.device, record: Record) -> Trial:
    """With a small PQN; a run proves it with its own network."""

    def prove() -> str | None:
        network, _ = _learner(device)
        return why_not_stacked(device, partial(greedy_policy, network), _ENVIRONMENTS, record=record)

    return Trial(name, attempt(prove, name))


def _with(layer: Any, **switches: bool) -> Any:
    """A copy of a layer, switched."""
    own = copy.deepcopy(layer)
    for name, value in switches.items():
        setattr(own, name, value)
    return own


def _timed(
    name: str,
    plain: Callable[[], object],
    fast: Callable[[], object],
    device: torch.device,
    record: Record = cuda_graph,
) -> Trial:
    """A proven path and how many times faster it is.

    A GPU replays both from graphs, as it does in runs. Launched one by one, kernels as small as these take less time
    than their launches, and a path of fewer kernels with more Python around them would look slow.
    """
    if device.type != "cuda":
        return Trial(name, None, speed_up(plain, fast, device))
    factors: list[float] = []

    def measure() -> None:
        slow, quick = (record(partial(_no_outputs, work), (), lambda: None)[0] for work in (plain, fast))
        factors.append(speed_up(slow, quick, device))

    why_untimed = attempt(measure, name)
    return Trial(name, None, factors[0] if factors else None, why_untimed)


def _no_outputs(work: Callable[[], object]) -> tuple[Tensor, ...]:
    work()
    return ()


def _work(function: Callable[..., Tensor], *given: Tensor) -> Callable[[], object]:
    """`function` of what is given, forward and backward."""
    return lambda: function(*given).float().sum().backward()


def _learner(device: torch.device) -> tuple[QNetwork, RAdam]:
    """A small PQN."""
    network = build_q_network("nature-layernorm", _ACTIONS, torch.Generator().manual_seed(0)).to(device)
    return network, RAdam(network.parameters(), lr=1e-4, capturable=True)


def update_trial(device: torch.device, record: Record = cuda_graph, *, timed: bool = True) -> Trial:
    """PQN's gradient step on a small minibatch, recorded, against the same step as it is."""

    def update_of(network: QNetwork, optimizer: RAdam) -> Work:
        return lambda observations, actions, targets: train_minibatch(
            network, optimizer, observations, actions, targets, 10.0
        )

    def batches() -> list[tuple[Tensor, ...]]:
        return [made_up(_MINIBATCH, _ACTIONS, seed, device) for seed in range(2)]

    return _graph_trial(UPDATE_GRAPH, update_of, batches, device, record, timed=timed)


def epoch_trial(device: torch.device, record: Record = cuda_graph, *, timed: bool = True) -> Trial:
    """An epoch of four small minibatches, recorded, against the same epoch as it is."""
    size = 4 * _MINIBATCH

    def epoch_of(network: QNetwork, optimizer: RAdam) -> Work:
        observations, _, _ = made_up(size, _ACTIONS, 9, device)
        return lambda order, actions, targets: train_epoch(
            network, optimizer, observations, actions, targets, order, minibatch=_MINIBATCH, max_gradient_norm=10.0
        )

    def batches() -> list[tuple[Tensor, ...]]:
        orders = (torch.randperm(size, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
        return [(order.to(device), *made_up(size, _ACTIONS, seed, device)[1:]) for seed, order in enumerate(orders)]

    return _graph_trial(EPOCH_GRAPH, epoch_of, batches, device, record, timed=timed)


def _graph_trial(
    name: str,
    work_of: Callable[[QNetwork, RAdam], Work],
    batches: Callable[[], list[tuple[Tensor, ...]]],
    device: torch.device,
    record: Record,
    *,
    timed: bool,
) -> Trial:
    def prove() -> str | None:
        network, optimizer = _learner(device)
        return why_not_captured(work_of(network, optimizer), network, optimizer, batches(), record, name=name)

    why_not = attempt(prove, name)
    if why_not is not None or not timed:
        return Trial(name, why_not)
    batch = batches()[0]
    eager = work_of(*_learner(device))
    network, optimizer = _learner(device)
    recorded = Captured(work_of(network, optimizer), lambda: remember_learner(network, optimizer), record)
    return Trial(name, None, speed_up(lambda: eager(*batch), lambda: recorded(*batch), device))
