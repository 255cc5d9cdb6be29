"""The environments of a replay agent, which step in the background while it learns.

The order is fixed, so that what overlaps in time changes nothing: a vector step's actions come from the network as it
was when the step began; the updates of that vector step draw from the memory as it was then; only after them does the
step enter the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.agent import FinishedGame, Tick
from baselines.emulator.envs import FRAME_SKIP, AtariEnvironments, Step
from baselines.emulator.frame_stacks import StackedEvaluation
from baselines.emulator.retracing import observations_digest, retrace
from baselines.emulator.scorekeeper import GameTracker
from baselines.fast.cuda_graph import Record, Work, cuda_graph
from baselines.replay.memory import ReplayMemory
from baselines.spans import Spans


@dataclass(frozen=True)
class Played:
    """What one vector step left behind."""

    games: list[FinishedGame]
    opened: np.ndarray  # flat indices of the transitions that can be sampled from now on
    closed: np.ndarray  # and of those that no longer can


class BackgroundPlay:
    """N training environments, their score and their replay memory."""

    def __init__(self, environments: AtariEnvironments, memory: ReplayMemory, spans: Spans):
        self.memory = memory
        self._envs = environments
        self._spans = spans
        self.observations = environments.reset()  # [N, 4, 84, 84] uint8
        self.resets = np.ones(environments.num_envs, dtype=bool)  # where they are no continuation of the ones before
        memory.start(self.observations, environments.lives)
        self.tracker = GameTracker(train=environments.num_envs, greedy=0, lives=environments.lives)
        self.vector_steps = 0
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emulators")
        self._pending: tuple[np.ndarray, Future[Step]] | None = None

    def evaluator(
        self,
        evaluate: Work,
        device: torch.device,
        *,
        stacked: bool,
        record: Record = cuda_graph,
        network: nn.Module | None = None,
    ) -> Work:
        """What evaluates the newest observations: called with the other inputs of `evaluate`, it gives its outputs.

        Args:
            evaluate: observations [N, 4, 84, 84] uint8 on `device`, and other inputs -> tensors.
            stacked: frames are stacked on the device and the evaluation is recorded.
            network: whose passes `evaluate` makes.
        """
        if not stacked:
            return lambda *more: evaluate(torch.from_numpy(self.observations).to(device), *more)
        evaluation = StackedEvaluation(evaluate, self._envs.num_envs, device, record, network=network)
        return lambda *more: evaluation(self, *more)[1:]

    def begin(self, actions: np.ndarray) -> None:
        """Starts a vector step with `actions` [N]; `finish` takes it in. Nothing else may be begun before."""
        if self._pending is not None:
            raise RuntimeError("a vector step is under way; finish() it first")
        self._pending = actions, self._worker.submit(self._envs.step, actions)

    def finish(self) -> Played:
        """Waits for the step that was begun and stores it."""
        if self._pending is None:
            raise RuntimeError("no vector step is under way; begin() one first")
        actions, future = self._pending
        self._pending = None
        # Emulation shows only as the time that the learner waits for it: it runs beside the learning.
        with self._spans("waiting for emulation"):
            step = future.result()
            return self._store(actions, step)

    def retrace(self, action_log: np.ndarray, digest: str | None) -> Iterator[FinishedGame | Tick]:
        """Steps the fresh environments through `action_log` [T, N] uint8; the memory fills again.

        Raises:
            RetraceMismatch: the observations at the end do not have this `digest`.
        """
        return retrace(
            action_log,
            lambda actions: self._store(actions, self._envs.step(actions)).games,
            frames_per_step=self._envs.num_envs * FRAME_SKIP,
            observations=lambda: self.observations,
            digest=digest,
        )

    def provenance(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What the manifest keeps of the environments; `seeds` are those they were made with."""
        return self._envs.provenance(train_seeds=seeds)

    def sample_observations(self, count: int, device: torch.device) -> Tensor:
        """[count, 4, 84, 84] uint8 out of the memory, the same ones for the same memory; touches no stream."""
        indices = self.memory.draw_uniform(count, np.random.default_rng(0))
        return self.memory.gather(indices, device).observations

    @property
    def frames(self) -> int:
        """Emulator frames played so far."""
        return self.vector_steps * self._envs.num_envs * FRAME_SKIP

    def digest(self) -> str:
        """SHA-256 of the current observations."""
        return observations_digest(self.observations)

    def close(self) -> None:
        self._worker.shutdown(wait=True)
        self._envs.close()

    def _store(self, actions: np.ndarray, step: Step) -> Played:
        self.vector_steps += 1
        self.observations, self.resets = step.observations, step.resets
        opened, closed = self.memory.add(actions, step)
        return Played(self.tracker.update(step, self.frames), opened, closed)
