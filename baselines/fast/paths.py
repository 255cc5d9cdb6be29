"""Which fast paths a run takes: each wraps the same arithmetic as the plain one, and each can be turned off."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.fast import fourier_convolution, fused_block, fused_norm, native
from baselines.fast.cuda_graph import Captured, Work, remember_learner
from baselines.fast.names import (
    ACTING_GRAPH,
    FOURIER,
    FUSED_BLOCK,
    FUSED_INPUT,
    FUSED_NORM,
    KEPT_MEMORY,
    ONE_CONVOLUTION,
    ROLLOUT_GRAPH,
    UPDATE_GRAPH,
)
from baselines.fast.trials import (
    attempt,
    why_not_captured,
    why_not_fourier,
    why_not_fused,
    why_not_fused_norm,
    why_not_one_convolution,
    why_not_scaled,
)


@dataclass(frozen=True)
class Paths:
    """The fast paths that a run takes, and why it does not take the others it could."""

    taken: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()  # "fused Hadamax block: no C++ compiler was found"

    @property
    def partly(self) -> tuple[str, ...]:
        """Of paths that are taken, the layers that do without: "fused Hadamax block in conv2"."""
        names = (missed.split(": ")[0] for missed in self.missed)
        return tuple(name for name in names if any(name.startswith(f"{path} in ") for path in self.taken))

    def __add__(self, other: Paths) -> Paths:
        return Paths(self.taken + other.taken, self.missed + other.missed)


def use_layer_paths(network: nn.Module, device: torch.device, *, plain: bool) -> Paths:
    """Lets the layers of `network` take every path that `device` proves. Call this after `use_precision`."""
    ways = (use_fused_blocks, use_fourier, use_fused_norms)
    return sum((use(network, device, plain=plain) for use in ways), Paths())


def use_fused_blocks(network: nn.Module, device: torch.device, *, plain: bool) -> Paths:
    """Lets the Hadamax layers of `network` take the fused block, if it has any and the block proves itself on `device`.

    A layer that has such a path has an attribute `fused` and says by `why_not_fused()` what keeps it from that. It is
    proven in the type that the network computes in: call this after `use_precision`. `plain` leaves all as they are.
    """
    layers: dict[str, Any] = {name: module for name, module in network.named_modules() if hasattr(module, "fused")}
    if not layers:
        return Paths()
    missed = "turned off" if plain else fused_block.why_not(device)
    if missed is not None:
        return Paths(missed=(f"{FUSED_BLOCK}: {missed}",))
    dtype = _computes_in(network)
    unfit = {
        name: reason
        for name, layer in layers.items()
        if (reason := layer.why_not_fused() or why_not_fused(layer, device, dtype)) is not None
    }
    for name, layer in layers.items():
        layer.fused = name not in unfit
    fused = {name: layer for name, layer in layers.items() if layer.fused}
    return _switched(FUSED_BLOCK, layers, unfit) + _use_one_convolution(fused, device, dtype)


def _use_one_convolution(layers: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Paths:
    """On a GPU, whose matrix units 32 channels starve: layers whose block is fused take both branches from one.

    A layer that has such a path has an attribute `one_convolution`.
    """
    layers = {name: layer for name, layer in layers.items() if hasattr(layer, "one_convolution")}
    if device.type != "cuda" or not layers:
        return Paths()
    unfit = {n: reason for n, layer in layers.items() if (reason := why_not_one_convolution(layer, device, dtype))}
    for name, layer in layers.items():
        layer.one_convolution = name not in unfit
    return _switched(ONE_CONVOLUTION, layers, unfit)


def use_fourier(network: nn.Module, device: torch.device, *, plain: bool) -> Paths:
    """On a CPU, lets the first Hadamax layers of `network` convolve by Fourier transforms, if they prove themselves.

    A layer that has such a path has an attribute `fourier`, and convolutions named `conv_a` and on. It is proven in the
    type that the network computes in: call this after `use_precision`.
    """
    dtype = _computes_in(network)
    layers: dict[str, Any] = {name: module for name, module in network.named_modules() if hasattr(module, "fourier")}
    if not layers or not fourier_convolution.concerns(device, dtype):
        return Paths()
    missed = "turned off" if plain else native.why_not()
    if missed is not None:
        return Paths(missed=(f"{FOURIER}: {missed}",))
    unfit = {}
    for name, layer in layers.items():
        reason = fourier_convolution.why_not_shape(layer.conv_a) or why_not_fourier(layer, dtype)
        layer.fourier = reason is None
        if reason is not None:
            unfit[name] = reason
    return _switched(FOURIER, layers, unfit)


def use_fused_norms(network: nn.Module, device: torch.device, *, plain: bool) -> Paths:
    """Lets the encoders of `network` scale frames, and norm and rectify, each in one pass over memory.

    An encoder has an attribute `fused_input`; a layer that norms has `fused_norm`, and says by `why_not_fused_norm()`
    what keeps it from that. Both are proven in the type that the network computes in: call this after `use_precision`.
    """
    if device.type not in ("cpu", "cuda"):
        return Paths()
    layers: dict[str, Any] = {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "fused_norm") and module.why_not_fused_norm() is None  # e.g. GELU: no such path
    }
    encoders: list[Any] = [module for module in network.modules() if hasattr(module, "fused_input")]
    missed = "turned off" if plain else fused_norm.why_not(device)
    if missed is not None:
        names = [FUSED_INPUT] * bool(encoders) + [FUSED_NORM] * bool(layers)
        return Paths(missed=tuple(f"{name}: {missed}" for name in names))
    dtype = _computes_in(network)
    why_not = why_not_scaled(device, dtype)
    for encoder in encoders:
        encoder.fused_input = why_not is None
    found = Paths(taken=(FUSED_INPUT,)) if why_not is None else Paths(missed=(f"{FUSED_INPUT}: {why_not}",))
    unfit = {}
    for name, layer in layers.items():
        (width,) = layer.norm.normalized_shape
        reason = fused_norm.why_not_width(width, device) or why_not_fused_norm(layer, device, dtype)
        layer.fused_norm = reason is None
        if reason is not None:
            unfit[name] = reason
    return found + (_switched(FUSED_NORM, layers, unfit) if layers else Paths())


def _switched(path: str, layers: dict[str, Any], unfit: dict[str, str]) -> Paths:
    """`path` is taken if a layer takes it, missed where one does not."""
    return Paths(
        taken=(path,) if len(unfit) < len(layers) else (),
        missed=tuple(f"{path} in {name}: {reason}" for name, reason in unfit.items()),
    )


def _computes_in(network: nn.Module) -> torch.dtype:
    coarse = (getattr(module, "compute_dtype", None) for module in network.modules())
    return next((dtype for dtype in coarse if dtype is not None), torch.float32)


def captured(
    update: Work,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    plain: bool,
    batches: Callable[[], Sequence[Sequence[Tensor]]],
    name: str = UPDATE_GRAPH,
) -> tuple[Work, Paths]:
    """`update` as a CUDA graph on a GPU where that proves itself, unless `plain`; as it is anywhere else.

    `batches`: made-up inputs of two updates, asked for on a GPU alone. `name`: of the path.
    """
    if device.type != "cuda":
        return update, Paths()
    missed = "turned off" if plain else why_not_captured(update, network, optimizer, batches(), name=name)
    if missed is not None:
        return update, Paths(missed=(f"{name}: {missed}",))
    # Recorded anew at its first call: a checkpoint that is loaded before brings other memory.
    return Captured(update, lambda: remember_learner(network, optimizer)), Paths(taken=(name,))


def rollout_path(device: torch.device, *, plain: bool, why_not_stacked: Callable[[torch.device], str | None]) -> Paths:
    """What `StackedEvaluation` is for in a rollout: on a GPU, where every launch and copy costs a step its time.

    `why_not_stacked` tries stacks out on the device and says what is wrong, None if nothing.
    """
    return _stacked(ROLLOUT_GRAPH, device, plain=plain, why_not_stacked=why_not_stacked)


def acting_path(device: torch.device, *, plain: bool, why_not_stacked: Callable[[torch.device], str | None]) -> Paths:
    """What `StackedEvaluation` is for where a replay agent acts: one frame an environment travels, one launch a step.

    `why_not_stacked`: as for `rollout_path`.
    """
    return _stacked(ACTING_GRAPH, device, plain=plain, why_not_stacked=why_not_stacked)


def _stacked(
    name: str, device: torch.device, *, plain: bool, why_not_stacked: Callable[[torch.device], str | None]
) -> Paths:
    if device.type != "cuda":
        return Paths()
    missed = "turned off" if plain else attempt(lambda: why_not_stacked(device), name)
    return Paths(taken=(name,)) if missed is None else Paths(missed=(f"{name}: {missed}",))


def keep_freed_memory(*, plain: bool) -> Paths:
    """Tells the C library to keep what is freed for the next allocation instead of giving it back to the system.

    An update's tensors are the same sizes every time, and getting their pages anew from the system each time cost a
    CPU run of Hadamax-PQN half of its time. It changes no bit of a result. Only glibc on Linux has the switch.
    """
    missed = "turned off" if plain else why_not_kept()
    if missed is not None:
        return Paths(missed=(f"{KEPT_MEMORY}: {missed}",))
    mallopt = _mallopt()
    assert mallopt is not None
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return Paths(taken=(KEPT_MEMORY,))


def why_not_kept() -> str | None:
    """Why freed memory can't be kept here, in words; None if it can."""
    return "this system's C library has no switch for it" if _mallopt() is None else None


def _mallopt() -> Any | None:
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
