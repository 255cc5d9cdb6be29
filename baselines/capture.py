"""A gradient step recorded once as a CUDA graph and replayed: a batch of 32 on a GPU is launches, not arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

UPDATE_GRAPH = "CUDA graph of the update"
WARM_UP_CALLS = 3  # libraries choose algorithms and allocate workspaces in the first ones

Update = Callable[..., tuple[Tensor, ...]]
# Given an update, its inputs and what undoes its calls: what replays it on those inputs, and the outputs that fills.
Recorder = Callable[[Update, Sequence[Tensor], Callable[[], None]], tuple[Callable[[], None], tuple[Tensor, ...]]]


def cuda_graph(
    update: Update, inputs: Sequence[Tensor], undo: Callable[[], None]
) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Records `update` on the current CUDA device."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_CALLS):
            update(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
    undo()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = update(*inputs)
    return graph.replay, outputs


class CapturedUpdate:
    """An update of fixed shapes, recorded at its first call. Called with tensors, it returns tensors of its own.

    What is recorded reads and writes the very memory of weights, target and optimizer: load a state before the first
    call, and only in place afterwards. The optimizer must be capturable, its state all zeros when fresh (Adam's is).
    """

    def __init__(self, update: Update, network: nn.Module, optimizer: torch.optim.Optimizer, record: Recorder):
        self._update, self._record = update, record
        self._network, self._optimizer = network, optimizer
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._replay is None:
            self._inputs = [tensor.clone() for tensor in inputs]
            self._replay, self._outputs = self._record(self._update, self._inputs, self._undo())
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._replay()
        return tuple(output.clone() for output in self._outputs)

    def _undo(self) -> Callable[[], None]:
        """What brings weights and optimizer back to where they are now, in place."""
        parameters = list(self._network.parameters())
        weights = [parameter.detach().clone() for parameter in parameters]
        moments = [
            {name: value.clone() for name, value in self._optimizer.state.get(parameter, {}).items()}
            for parameter in parameters
        ]

        @torch.no_grad()
        def undo() -> None:
            for parameter, weight, before in zip(parameters, weights, moments, strict=True):
                parameter.copy_(weight)
                for name, value in self._optimizer.state[parameter].items():
                    value.copy_(before[name]) if name in before else value.zero_()
            self._optimizer.zero_grad(set_to_none=True)

        return undo
