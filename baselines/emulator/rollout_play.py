"""Rollouts: many environments step side by side for a fixed number of agent steps, and all that is seen is kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.agent import FinishedGame, Tick
from baselines.emulator.envs import FRAME_SKIP
from baselines.emulator.frame_stacks import StackedEvaluation
from baselines.emulator.groups import EnvironmentGroup, all_observations, in_order
from baselines.emulator.retracing import observations_digest, retrace
from baselines.fast.cuda_graph import Record, cuda_graph
from baselines.spans import Spans

_STEPS_BETWEEN_SIGNS_OF_LIFE = 8

# Observations [n, 4, 84, 84] uint8 -> greedy values [n] and greedy actions [n], without gradient.
Evaluate = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Rollout:
    """One rollout over the training environments, on the learner's device."""

    observations: Tensor  # [T, N, 4, 84, 84] uint8; the next rollout overwrites it
    actions: Tensor  # [T, N] int64
    rewards: Tensor  # [T, N] float32, clipped
    dones: Tensor  # [T, N] bool
    next_values: Tensor  # [T, N] float32, greedy value at the observation after each step


@dataclass(frozen=True)
class Played:
    """A rollout, and what is recorded of it."""

    rollout: Rollout
    actions: np.ndarray  # [T, training and greedy environments] uint8
    games: tuple[FinishedGame, ...]  # in order of time, then environment


class RolloutPlay:
    """A run's training environments, and the greedy ones that step alongside."""

    def __init__(
        self,
        groups: Sequence[EnvironmentGroup],
        evaluate: Evaluate,
        *,
        agent_steps: int,
        device: torch.device,
        spans: Spans,
        stacked: bool = False,
        record: Record = cuda_graph,
        network: nn.Module | None = None,
    ):
        """`observations` [T, N, 4, 84, 84] uint8 on the device are the last rollout's, in the same memory every time.

        `agent_steps`: T, of a rollout. `stacked`: frames are stacked on the device, the evaluation is recorded.
        `network`: whose passes `evaluate` makes.
        """
        self.evaluate = evaluate
        self.frames_per_step = sum(group.train.stop - group.train.start for group in groups) * FRAME_SKIP
        self._groups = groups
        self._steps = agent_steps
        self._train = self.frames_per_step // FRAME_SKIP
        self._all = sum(len(group.members) for group in groups)
        self._device = device
        self._spans = spans
        self._stacked = [
            StackedEvaluation(evaluate, len(group.members), device, record, network=network)
            for group in groups
            if stacked
        ]
        self.observations = torch.empty(
            (agent_steps, self._train, *groups[0].observations.shape[1:]), dtype=torch.uint8, device=device
        )

    def play(self, explores: np.ndarray, random_actions: np.ndarray) -> Generator[float, None, Played]:
        """Plays one rollout, its training environments by an epsilon-greedy policy, the others by its greedy one.

        Args:
            explores: [T, N] bool, where a training environment takes its random action.
            random_actions: [T, N] of any integer type.
        Yields: now and then, the share of the rollout that is done.
        """
        steps, train = self._steps, self._train
        actions = np.empty((steps, self._all), dtype=np.uint8)
        games: list[FinishedGame] = []
        rewards = np.empty((steps, train), dtype=np.float32)
        dones = np.empty((steps, train), dtype=bool)
        values = torch.empty((steps + 1, train), device=self._device)
        for t in range(steps + 1):  # once more for the values that the last step bootstraps from
            ended: list[FinishedGame] = []
            for number, group in enumerate(self._groups):
                own = group.train
                if t > 0:
                    with self._spans("waiting for emulation"):
                        step, its_games = group.finish()
                    ended += its_games
                    count = own.stop - own.start
                    rewards[t - 1, own], dones[t - 1, own] = step.rewards[:count], step.dones[:count]
                seen, values[t, own], greedy = self._look(number)
                if t < steps:
                    self.observations[t, own] = seen
                    actions[t, group.members] = greedy
                    actions[t, own] = np.where(explores[t, own], random_actions[t, own], actions[t, own])
                    group.begin(actions[t, group.members])
            games += in_order(ended)
            if t % _STEPS_BETWEEN_SIGNS_OF_LIFE == _STEPS_BETWEEN_SIGNS_OF_LIFE - 1:
                yield (t + 1) / steps
        rollout = Rollout(
            observations=self.observations,
            actions=torch.from_numpy(actions[:, :train].astype(np.int64)).to(self._device),
            rewards=torch.from_numpy(rewards).to(self._device),
            dones=torch.from_numpy(dones).to(self._device),
            next_values=values[1:],
        )
        return Played(rollout, actions, tuple(games))

    def look(self) -> None:
        """Evaluates what all environments see now, as `play` does before each step."""
        for number in range(len(self._groups)):
            self._look(number)

    def retrace(self, action_log: np.ndarray, digest: str | None) -> Iterator[FinishedGame | Tick]:
        """See `retracing.retrace`."""
        return retrace(
            action_log,
            self._step,
            frames_per_step=self.frames_per_step,
            observations=lambda: all_observations(self._groups),
            digest=digest,
        )

    def digest(self) -> str:
        """Of the newest observations of all environments."""
        return observations_digest(all_observations(self._groups))

    @property
    def vector_steps(self) -> int:
        return self._groups[0].vector_steps

    @property
    def unreported_game_ends(self) -> int:
        return sum(group.unreported_game_ends for group in self._groups)

    def sample_observations(self, count: int) -> Tensor:
        """[count, 4, 84, 84] uint8 out of the last rollout, the same places every time; touches no stream."""
        observations = self.observations.flatten(0, 1)
        sample = np.random.default_rng(0).permutation(len(observations))[:count]
        return observations[torch.from_numpy(sample).to(self._device)]

    def provenance(self, *, train_seeds: Sequence[int], greedy_seeds: Sequence[int]) -> dict[str, Any]:
        """What the manifest keeps of the environments; the seeds are those they were made with."""
        return self._groups[0].environments.provenance(train_seeds=train_seeds, greedy_seeds=greedy_seeds)

    def close(self) -> None:
        for group in self._groups:
            group.environments.close()

    def _look(self, number: int) -> tuple[Tensor, Tensor, np.ndarray]:
        """What the training environments of a group see, their greedy values, and the greedy actions of all its own."""
        with self._spans("acting"):
            group = self._groups[number]
            if self._stacked:
                seen, values, greedy = self._stacked[number](group)
            else:
                seen = torch.from_numpy(group.observations).to(self._device)
                values, greedy = self.evaluate(seen)
            count = group.train.stop - group.train.start
            return seen[:count], values[:count], greedy.cpu().numpy()

    def _step(self, actions: np.ndarray) -> list[FinishedGame]:
        for group in self._groups:
            group.begin(actions[group.members])
        return in_order([game for group in self._groups for game in group.finish()[1]])
