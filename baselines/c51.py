"""C51 (Bellemare et al. 2017, arXiv 1707.06887) as in the paper's second experiment, and Hadamax-C51.

The loop is DQN's with a distribution of returns per action: act epsilon-greedily, store, and every few agent steps
regress the distribution of a past action on the projected one of its best successor, by the target network.
Hadamax-C51 (arXiv 2505.15345) is the same algorithm with another encoder. Deviations are listed in
docs/baselines/c51.md.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.agent import FinishedGame, Progress, Task, Tick
from baselines.config import Fraction, PositiveFraction
from baselines.distributional import action_values, c51_losses, double_q_targets, support
from baselines.emulator.envs import AtariEnvironments
from baselines.emulator.frame_stacks import why_not_stacked
from baselines.exploration import linear_epsilon
from baselines.fast.paths import acting_path, captured, use_layer_paths
from baselines.networks.diagnostics import layer_diagnostics, layer_ranks
from baselines.networks.distribution_network import DistributionNetwork, build_c51_network
from baselines.networks.precision import use_precision
from baselines.replay.background_play import BackgroundPlay
from baselines.replay.memory import ReplayBatch, ReplayMemory
from baselines.replay.schedule import ReplayConfig, replay_layout, schedule
from baselines.seeding import Streams
from baselines.spans import Spans

DIAGNOSTIC_BATCH = 256


@dataclass(frozen=True)
class C51Config(ReplayConfig):
    """Everything that shapes C51's learning; values come from a pinned file."""

    encoder: str
    epsilon_start: Fraction
    epsilon_end: Fraction
    epsilon_decay_fraction: PositiveFraction


def c51_update(
    network: DistributionNetwork,
    target: DistributionNetwork,
    optimizer: torch.optim.Optimizer,
    batch: ReplayBatch,
    atoms: Tensor,
) -> Tensor:
    """One gradient step (algorithm 1 of the paper). Returns the mean loss before it, a scalar, without sync."""
    with torch.no_grad():
        next_logits = target(batch.next_observations)
        next_values = action_values(next_logits, atoms)  # the target network also chooses: no double Q-learning
    targets = double_q_targets(next_logits, next_values, batch.rewards, batch.discounts, atoms)
    loss = c51_losses(network(batch.observations), batch.actions, targets).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def greedy_actions(network: DistributionNetwork, observations: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """Mean greedy value, a scalar, and greedy actions [n] at observations [n, 4, 84, 84] uint8."""
    best = action_values(network(observations), atoms).max(dim=1)
    return best.values.mean(), best.indices


class C51Agent:
    """C51 on one game; see `baselines.agent.Agent` for what its methods promise."""

    def __init__(self, config: C51Config, task: Task):
        self.config = config
        self.device = task.device
        self.schedule = schedule(config, task.budget_frames)
        self.total_frames = self.schedule.total_frames
        self.total_updates = self.schedule.total_updates
        self.environments = config.train_environments
        self.off_protocol = list(self.schedule.off_protocol)
        self.updates = 0
        self.spans = Spans()

        self._streams = Streams(task.seed)
        self._seeds = self._streams.environment_seeds("train", config.train_environments)
        self._envs = AtariEnvironments(task.envpool_id, self._seeds, task.environment, threads=task.emulator_threads)
        self._memory = ReplayMemory(
            replay_layout(config, task.budget_frames),
            discount=config.discount,
            episodic_life=task.environment.episodic_life,
            device=task.device,
        )
        self._play = BackgroundPlay(self._envs, self._memory, self.spans)
        self._resume_digest: str | None = None

        network = build_c51_network(
            config.encoder, self._envs.num_actions, config.atoms, self._streams.torch_generator()
        )
        self.network = network.to(task.device)
        use_precision(self.network, config.precision)
        self.paths = use_layer_paths(self.network, task.device, plain=task.plain)
        self.target = copy.deepcopy(self.network)
        self.atoms = support(config.value_min, config.value_max, config.atoms).to(task.device, torch.float32)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            fused=True,
            capturable=task.device.type != "cpu",
        )
        self._update, captured_paths = captured(
            lambda *batch: (c51_update(self.network, self.target, self.optimizer, ReplayBatch(*batch), self.atoms),),
            torch.nn.ModuleList([self.network, self.target]),  # passes of both may change buffers
            self.optimizer,
            task.device,
            plain=task.plain,
            batches=lambda: [
                ReplayBatch.made_up(config.batch, self._envs.num_actions, seed, task.device).tensors()
                for seed in range(2)
            ],
        )

        def evaluate(observations: Tensor) -> tuple[Tensor, Tensor]:
            return greedy_actions(self.network, observations, self.atoms)

        stacks = partial(why_not_stacked, evaluate=evaluate, environments=self.environments, network=self.network)
        acting = acting_path(task.device, plain=task.plain, why_not_stacked=stacks)
        self.paths += captured_paths + acting
        stacked = bool(acting.taken)
        self._evaluate = self._play.evaluator(evaluate, task.device, stacked=stacked, network=self.network)

    # The algorithm ------------------------------------------------------------------------------------------------

    def train(self) -> Iterator[Tick | Progress]:
        """Deep Q-learning with distributions, one `Progress` a block of vector steps."""
        config = self.config
        while self._play.frames < self.total_frames:
            actions = np.empty((config.block_vector_steps, self.environments), dtype=np.uint8)
            games: list[FinishedGame] = []
            losses: list[Tensor] = []
            values = torch.zeros((), device=self.device)
            for t in range(config.block_vector_steps):
                epsilon = self._epsilon()
                actions[t], value = self._act(epsilon)
                values += value
                self._play.begin(actions[t])
                losses += self._learn()
                games += self._play.finish().games
                yield Tick(self._play.frames)
            metrics = {"epsilon": epsilon, "value": float(values) / config.block_vector_steps}
            if losses:
                metrics["loss"] = float(torch.stack(losses).mean())
            yield Progress(self._play.frames, self.updates, actions, tuple(games), metrics)

    def _act(self, epsilon: float) -> tuple[np.ndarray, Tensor]:
        """Epsilon-greedy actions [N], and the mean value of the greedy ones without sync."""
        explores = self._streams.exploration.random(self.environments) < epsilon
        random_actions = self._streams.exploration.integers(self._envs.num_actions, size=self.environments)
        with self.spans("acting"):
            value, best = self._evaluate()
            greedy = best.cpu().numpy()
        return np.where(explores, random_actions, greedy), value

    def _learn(self) -> list[Tensor]:
        """The updates that are due in this vector step; returns their losses."""
        counts = self.schedule.updates_in(self._play.vector_steps)
        if not counts:
            return []
        with self.spans("sampling"):
            # Nothing enters the memory between them, so their batches can be put together at once.
            indices = self._memory.draw_uniform(len(counts) * self.config.batch, self._streams.replay)
            batches = self._memory.gather(indices, self.device).split(self.config.batch)
        losses: list[Tensor] = []
        with self.spans("learning"):
            for agent_steps, batch in zip(counts, batches, strict=True):
                losses += self._update(*batch.tensors())
                self.updates += 1
                if self.schedule.copies_target_at(agent_steps):
                    self.target.load_state_dict(self.network.state_dict())
        return losses

    def _epsilon(self) -> float:
        """By the agent steps taken so far, over the first share of this run's own budget."""
        return linear_epsilon(
            self._play.vector_steps * self.environments,
            start=self.config.epsilon_start,
            end=self.config.epsilon_end,
            decay=self.config.epsilon_decay_fraction * self.schedule.total_agent_steps,
        )

    # State, diagnostics, provenance ---------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        return self._play.frames

    @property
    def unreported_game_ends(self) -> int:
        return self._play.tracker.unreported

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "streams": self._streams.state_dict(),
            "observations_sha256": self._play.digest(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all but emulators and memory, which `retrace` brings to where `state` was taken."""
        self.updates = state["updates"]
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._streams.load_state_dict(state["streams"])
        self._resume_digest = state["observations_sha256"]

    def retrace(self, action_log: np.ndarray) -> Iterator[FinishedGame | Tick]:
        """Steps the fresh environments through `action_log` [T, environments] uint8; the memory fills again.

        Raises:
            RetraceMismatch: the observations at the end are not those the checkpoint was written at.
        """
        return self._play.retrace(action_log, self._resume_digest)

    def diagnose(self) -> dict[str, float]:
        """Diagnostics on a fixed sample of the memory's observations; gradients are the last update's."""
        return layer_diagnostics(self.network, self._play.sample_observations(DIAGNOSTIC_BATCH, self.device))

    def ranks(self, observations: int) -> dict[str, float]:
        return layer_ranks(self.network, self._play.sample_observations(observations, self.device))

    def provenance(self) -> dict[str, Any]:
        return self._play.provenance(self._seeds)

    def close(self) -> None:
        self._play.close()

    # For measurements -----------------------------------------------------------------------------------------------

    def act_once(self) -> int:
        self._act(self._epsilon())
        return self.environments

    def ready_batch(self) -> ReplayBatch:
        return self._memory.gather(self._memory.draw_uniform(self.config.batch, self._streams.replay), self.device)

    def learn_once(self, batch: ReplayBatch) -> int:
        """One update; copies of the target network left out."""
        (loss,) = self._update(*batch.tensors())
        loss.item()  # a GPU has only been told what to do until somebody asks
        return self.config.agent_steps_per_update
