"""Work of fixed shapes, recorded once as a CUDA graph and replayed: a small batch on a GPU is mostly launches."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor, nn

WARM_UP_CALLS = 3  # libraries choose algorithms and allocate workspaces in the first ones

Work = Callable[..., tuple[Tensor, ...]]
# Given work, its inputs and what undoes its calls: what replays it on those inputs, and the outputs that fills.
Record = Callable[[Work, Sequence[Tensor], Callable[[], None]], tuple[Callable[[], None], tuple[Tensor, ...]]]


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """The one stream beside a device's own, for warm-ups and recordings: cuBLAS keeps memory for every stream."""
    return torch.cuda.Stream(device)


def cuda_graph(
    work: Work, inputs: Sequence[Tensor], undo: Callable[[], None]
) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Records `work` on the current CUDA device.

    Raises: what `work` raised; where that spoiled the recording, torch's own error would hide the reason.
    """
    current = torch.cuda.current_stream()
    aside = _side_stream(torch.cuda.current_device())
    aside.wait_stream(current)
    try:
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_CALLS):
                work(*inputs)
    finally:
        current.wait_stream(aside)  # after an error too: whoever undoes the calls may not overtake them
    undo()
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    # A graph that is destroyed while another is recorded spoils that one: no garbage may be collected then.
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    reason: Exception | None = None
    try:
        with torch.cuda.graph(graph, pool=pool, stream=aside):
            try:
                outputs = work(*inputs)
            except Exception as error:
                reason = error
                raise
    except Exception as error:
        _give_up(graph, pool)
        raise reason or error from None
    finally:
        reason = None  # its traceback holds this frame
        torch.cuda.set_stream(current)  # torch leaves it only after a recording that succeeded
        if collects:
            gc.enable()
    return graph.replay, outputs


def _give_up(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """Ends what torch may have left begun of a recording that failed; `pool`: of memory, that it was to keep.

    Where CUDA gives a recording up (a number was read), torch 2.11 raises before it tells its allocator of the end:
    every later recording then fails ("captures_underway.empty() INTERNAL ASSERT FAILED"), and what this one allocated
    is never given back. Newer versions tell it, or do so in `reset`.
    """
    with suppress(RuntimeError):  # what stopped the recording is the reason to tell
        graph.reset()
    with suppress(RuntimeError):  # that there is no such recording: torch has ended it itself
        device = torch.cuda.current_device()
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


class Captured:
    """Work of fixed shapes, recorded at its first call. Called with tensors, it returns tensors of its own.

    What is recorded reads and writes the very memory of weights, optimizer and whatever else the work touches: load a
    state before the first call, and only in place afterwards.
    """

    def __init__(self, work: Work, remember: Callable[[], Callable[[], None]], record: Record = cuda_graph):
        """`remember`: called before the work is tried out; returns what brings back all that the work changes."""
        self._work, self._remember, self._record = work, remember, record
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._replay is None:
            self._inputs = [tensor.clone() for tensor in inputs]
            self._replay, self._outputs = self._record(self._work, self._inputs, self._remember())
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._replay()
        return tuple(output.clone() for output in self._outputs)


def remember_learner(network: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """What brings weights, buffers and optimizer back to where they are now, in place.

    The optimizer must be capturable, its state all zeros when fresh (Adam's is).

    Args:
        network: what the optimizer steps; other networks too, where a pass may change their buffers.
    """
    parameters = list(network.parameters())
    values = [parameter.detach().clone() for parameter in parameters]
    undo_passes = remember_buffers(network)
    moments = [
        {name: value.clone() for name, value in optimizer.state.get(parameter, {}).items()} for parameter in parameters
    ]

    @torch.no_grad()
    def undo() -> None:
        for parameter, weight in zip(parameters, values, strict=True):
            parameter.copy_(weight)
        undo_passes()
        for parameter, before in zip(parameters, moments, strict=True):
            for name, value in optimizer.state.get(parameter, {}).items():
                value.copy_(before[name]) if name in before else value.zero_()
        optimizer.zero_grad(set_to_none=True)

    return undo


def remember_buffers(network: nn.Module) -> Callable[[], None]:
    """What brings buffers back to what they hold now, where they lie now: a pass of a user's encoder may change them.

    Whatever only tries a network out takes its passes back with it, or the run would begin elsewhere than another one.
    """
    kept = [
        (module, name, buffer, buffer.detach().clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]

    @torch.no_grad()
    def undo() -> None:
        for module, name, buffer, value in kept:
            setattr(module, name, buffer)
            buffer.copy_(value)

    return undo


def replaced_buffers(network: nn.Module) -> Callable[[], str | None]:
    """What tells, later on, which buffer is another tensor than now, in words; None if there is none.

    A graph reads and writes the tensors that it was recorded with: one that is put in their place is never read.
    """
    before = dict(network.named_buffers())

    def why_not() -> str | None:
        for name, buffer in network.named_buffers():
            if buffer is not before.get(name):
                return f"a pass puts another tensor in the place of the buffer {name}; write into it (copy_) instead"
        return None

    return why_not
