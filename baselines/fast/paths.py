"""Which fast paths a run takes: each wraps the same arithmetic as the plain one, and each can be turned off."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.fast import fused_block
from baselines.fast.cuda_graph import Captured, Work, remember_learner
from baselines.fast.trials import attempt, why_not_captured, why_not_fused

FUSED_BLOCK = "fused Hadamax block"
UPDATE_GRAPH = "CUDA graph of the update"
ROLLOUT_GRAPH = "CUDA graph of the rollout step, frames stacked on the GPU"
ACTING_GRAPH = "CUDA graph of acting, frames stacked on the GPU"
TWO_GROUPS = "two groups of environments"
KEPT_MEMORY = "freed memory kept"


@dataclass(frozen=True)
class Paths:
    """The fast paths that a run takes, and why it does not take the others it could."""

    taken: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()  # "fused Hadamax block: no C++ compiler was found"

    def __add__(self, other: Paths) -> Paths:
        return Paths(self.taken + other.taken, self.missed + other.missed)


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
    dtype = next((d for m in network.modules() if (d := getattr(m, "compute_dtype", None)) is not None), torch.float32)
    unfit = {
        name: reason
        for name, layer in layers.items()
        if (reason := layer.why_not_fused() or why_not_fused(layer, device, dtype)) is not None
    }
    for name, layer in layers.items():
        layer.fused = name not in unfit
    return Paths(
        taken=(FUSED_BLOCK,) if len(unfit) < len(layers) else (),
        missed=tuple(f"{FUSED_BLOCK} in {name}: {reason}" for name, reason in unfit.items()),
    )


def captured(
    update: Work,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    plain: bool,
    batches: Callable[[], Sequence[Sequence[Tensor]]],
) -> tuple[Work, Paths]:
    """`update` as a CUDA graph on a GPU where that proves itself, unless `plain`; as it is anywhere else.

    `batches`: made-up inputs of two updates, of the shapes that training will have, asked for on a GPU alone.
    """
    if device.type != "cuda":
        return update, Paths()
    missed = "turned off" if plain else why_not_captured(update, network, optimizer, batches())
    if missed is not None:
        return update, Paths(missed=(f"{UPDATE_GRAPH}: {missed}",))
    # Recorded anew at its first call: a checkpoint that is loaded before brings other memory.
    return Captured(update, lambda: remember_learner(network, optimizer)), Paths(taken=(UPDATE_GRAPH,))


def rollout_paths(device: torch.device, *, plain: bool, why_not_stacked: Callable[[torch.device], str | None]) -> Paths:
    """What `make_groups` and `StackedEvaluation` are for: on a GPU, where the CPU has nothing to do but emulate.

    `why_not_stacked` tries stacks out on the device and says what is wrong, None if nothing.
    """
    if device.type != "cuda":
        return Paths()
    if plain:
        return Paths(missed=tuple(f"{name}: turned off" for name in (TWO_GROUPS, ROLLOUT_GRAPH)))
    missed = attempt(lambda: why_not_stacked(device))
    if missed is not None:
        return Paths(taken=(TWO_GROUPS,), missed=(f"{ROLLOUT_GRAPH}: {missed}",))
    return Paths(taken=(TWO_GROUPS, ROLLOUT_GRAPH))


def acting_path(device: torch.device, *, plain: bool, why_not_stacked: Callable[[torch.device], str | None]) -> Paths:
    """What `StackedEvaluation` is for where a replay agent acts: one frame an environment travels, one launch a step.

    `why_not_stacked`: as for `rollout_paths`.
    """
    if device.type != "cuda":
        return Paths()
    missed = "turned off" if plain else attempt(lambda: why_not_stacked(device))
    return Paths(taken=(ACTING_GRAPH,)) if missed is None else Paths(missed=(f"{ACTING_GRAPH}: {missed}",))


def keep_freed_memory(*, plain: bool) -> Paths:
    """Tells the C library to keep what is freed for the next allocation instead of giving it back to the system.

    An update's tensors are the same sizes every time, and getting their pages anew from the system each time cost a
    CPU run of Hadamax-PQN half of its time. It changes no bit of a result. Only glibc on Linux has the switch.
    """
    if plain:
        return Paths(missed=(f"{KEPT_MEMORY}: turned off",))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return Paths(missed=(f"{KEPT_MEMORY}: this system's C library has no switch for it",))
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return Paths(taken=(KEPT_MEMORY,))


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
