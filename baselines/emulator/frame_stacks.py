"""Frame stacks that live on the device: of each observation only the newest frame travels there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from baselines.fast.cuda_graph import Captured, Record, Work, cuda_graph, remember_buffers, replaced_buffers
from baselines.fast.trials import STEP_TOLERANCE, relative_difference


class FrameStacks:
    """The newest observations of n environments on a device, the same bytes as the emulator's own.

    A step has two halves, so that the second can be recorded in a CUDA graph:

        planes = stacks.prepare(observations, resets)   # what must travel
        stacks.push(planes)                             # stacks.images are `observations` now
    """

    def __init__(self, environments: int, device: torch.device):
        self.images = torch.zeros((environments, 4, 84, 84), dtype=torch.uint8, device=device)
        # Written anew while the copy before may still be under way? No: its step's actions were read since.
        self._staged = torch.empty((environments, 84, 84), dtype=torch.uint8, pin_memory=device.type == "cuda")

    def prepare(self, observations: np.ndarray, resets: np.ndarray) -> Tensor:
        """Readies `images` for the step that led to `observations` [n, 4, 84, 84] uint8.

        Args:
            resets: [n] bool, whose stack may not be the one before moved on by one frame; these travel whole.
        Returns: the newest frames [n, 84, 84] on the device.
        """
        self._staged.numpy()[:] = observations[:, -1]
        fresh = np.flatnonzero(resets)
        if len(fresh):
            older = torch.from_numpy(observations[fresh, :-1]).to(self.images.device)
            self.images[torch.from_numpy(fresh).to(self.images.device), 1:] = older  # `push` moves them on by one
        return self._staged.to(self.images.device, non_blocking=True)

    def prepare_again(self) -> Tensor:
        """Readies `images` to be pushed what they end with: the same observations once more."""
        self.images[:, 1:] = self.images[:, :-1].clone()
        return self._staged.to(self.images.device, non_blocking=True)

    def push(self, planes: Tensor) -> None:
        """Moves every stack on by one frame, in place."""
        self.images.copy_(torch.cat((self.images[:, 1:], planes[:, None]), dim=1))

    def remember(self) -> Callable[[], None]:
        """What brings the stacks back to where they are now."""
        before = self.images.clone()

        def undo() -> None:
            self.images.copy_(before)

        return undo


class Seen(Protocol):
    """What a group of environments sees; see `groups.EnvironmentGroup`."""

    observations: np.ndarray
    resets: np.ndarray
    vector_steps: int


class StackedEvaluation:
    """`evaluate` of what a group of environments sees now, with the frames stacked on the device, as one CUDA graph."""

    def __init__(
        self,
        evaluate: Work,
        environments: int,
        device: torch.device,
        record: Record = cuda_graph,
        *,
        network: nn.Module | None = None,
    ):
        """`evaluate`: [n, 4, 84, 84] uint8 (and more inputs) -> tensors; it reads nothing else that moves in memory.

        `network`: whose passes these are; recording leaves none in its buffers.
        """
        self._stacks = stacks = FrameStacks(environments, device)
        passed = nn.Module() if network is None else network

        # It holds the stacks and not `self`: a graph and what it records would keep each other, and a GPU's memory.
        def push_and_evaluate(planes: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
            stacks.push(planes)
            return evaluate(stacks.images, *more)

        def remember() -> Callable[[], None]:
            undo_pushes, undo_passes = stacks.remember(), remember_buffers(passed)

            def undo() -> None:
                undo_pushes()
                undo_passes()

            return undo

        self._graph = Captured(push_and_evaluate, remember, record)
        self._vector_steps = -1  # of the group, at the call before

    def __call__(self, group: Seen, *more: Tensor) -> tuple[Tensor, ...]:
        """The group's newest observations [n, 4, 84, 84], which the next call overwrites, and what `evaluate` gives.

        `more`: further inputs of `evaluate`, of the same shapes at every call.
        """
        if group.vector_steps == self._vector_steps:
            planes = self._stacks.prepare_again()
        else:
            follows = group.vector_steps == self._vector_steps + 1  # not after a resume
            planes = self._stacks.prepare(group.observations, group.resets if follows else np.ones_like(group.resets))
        self._vector_steps = group.vector_steps
        return self._stacks.images, *self._graph(planes, *more)


class _MadeUpGroup:
    """Stands for a group of environments in a proof: noise that runs on by a frame a step, the last of them reset."""

    def __init__(self, environments: int) -> None:
        self._generator = np.random.default_rng(0)
        self.observations = self._generator.integers(0, 256, (environments, 4, 84, 84), dtype=np.uint8)
        self.resets = np.ones(environments, dtype=bool)
        self.vector_steps = 0

    def step(self) -> None:
        newest = self._generator.integers(0, 256, (len(self.resets), 1, 84, 84), dtype=np.uint8)
        self.observations = np.concatenate((self.observations[:, 1:], newest), axis=1)
        self.observations[-1] = newest[-1]  # a new game: one frame four times
        self.resets = np.arange(len(self.resets)) == len(self.resets) - 1
        self.vector_steps += 1


def why_not_stacked(
    device: torch.device,
    evaluate: Work,
    environments: int,
    *,
    more: Callable[[int], Sequence[Tensor]] = lambda step: (),
    record: Record = cuda_graph,
    network: nn.Module | None = None,
) -> str | None:
    """Why stacking and `evaluate` in one graph can't be trusted on `device`.

    None if the graph had the emulator's own bytes and gave what `evaluate` does without a graph.

    Args:
        more: further inputs of `evaluate` at a step of the proof.
        network: whose passes these are; its buffers are afterwards what they were.

    Raises: whatever the device makes of it.
    """
    network = nn.Module() if network is None else network
    undo = remember_buffers(network)
    try:
        return _why_not_stacked(device, evaluate, environments, more, record, network)
    finally:
        with suppress(RuntimeError):  # on a GPU that is lost: another error would hide why
            undo()


def _why_not_stacked(
    device: torch.device,
    evaluate: Work,
    environments: int,
    more: Callable[[int], Sequence[Tensor]],
    record: Record,
    network: nn.Module,
) -> str | None:
    group = _MadeUpGroup(environments)
    evaluation = StackedEvaluation(
        lambda images, *given: (images.sum(dim=(1, 2, 3)), *evaluate(images, *given)),
        *(environments, device, record),
        network=network,
    )
    for step in range(4):
        undo, why_not_in_place = remember_buffers(network), replaced_buffers(network)
        wanted = evaluate(torch.from_numpy(group.observations).to(device), *more(step))
        if (replaced := why_not_in_place()) is not None:
            return replaced
        undo()  # both passes begin where the step does
        images, sums, *found = evaluation(group, *more(step))
        if not np.array_equal(images.cpu().numpy(), group.observations):
            return f"the stacks are not the emulator's after {step} steps"
        if sums.tolist() != group.observations.sum(axis=(1, 2, 3)).tolist():
            return f"what was evaluated is not what was stacked after {step} steps"
        # Values alone: where two are nearly the same, rounding decides which action is greedy.
        values, exact = ([output for output in outputs if output.is_floating_point()] for outputs in (found, wanted))
        off = relative_difference(values, exact)
        if not off < STEP_TOLERANCE:
            return f"its values are off by {off:.1e} from eager ones after {step} steps"
        group.step()
    return None
