"""Rainbow (Hessel et al. 2018, arXiv 1710.02298): six improvements of DQN in one agent.

Double Q-learning, dueling heads, return distributions, noisy networks for exploration, 3-step returns and prioritised
replay. The arithmetic is dqn_zoo's, the noise scale the published 0.5. Deviations are listed in
docs/baselines/rainbow.md.
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
from baselines.config import Fraction, NotNegative, Positive
from baselines.distributional import action_values, cross_entropy, double_q_targets, support
from baselines.emulator.envs import AtariEnvironments
from baselines.emulator.frame_stacks import why_not_stacked
from baselines.fast.paths import acting_path, captured, use_layer_paths
from baselines.networks.diagnostics import layer_diagnostics, layer_ranks
from baselines.networks.noise import FactorisedNoise
from baselines.networks.precision import use_precision
from baselines.networks.rainbow_network import RainbowNetwork, build_rainbow_network
from baselines.optim import clip_by_global_norm_
from baselines.replay.background_play import BackgroundPlay, Played
from baselines.replay.memory import ReplayBatch, ReplayMemory
from baselines.replay.priorities import PrioritizedSampler, importance_weights, linear_schedule
from baselines.replay.schedule import ReplayConfig, replay_layout, schedule
from baselines.seeding import Streams
from baselines.spans import Spans

DIAGNOSTIC_BATCH = 256


@dataclass(frozen=True)
class RainbowConfig(ReplayConfig):
    """Everything that shapes Rainbow's learning; values come from a pinned file."""

    noise_scale: NotNegative
    max_gradient_norm: Positive
    max_priority: Positive
    priority_exponent: NotNegative
    uniform_sample_probability: Fraction
    importance_exponent_start: NotNegative
    importance_exponent_end: NotNegative
    # Not in rainbow.toml, which is older than it and whose hash stays: a file that names none means the published one.
    encoder: str = "nature-torso"


def rainbow_update(
    network: RainbowNetwork,
    target: RainbowNetwork,
    optimizer: torch.optim.Optimizer,
    batch: ReplayBatch,
    weights: Tensor,
    noise: Tensor,
    atoms: Tensor,
    max_gradient_norm: float,
) -> tuple[Tensor, Tensor]:
    """One gradient step.

    Args:
        weights: [B] float32, importance-sampling weights.
        noise: [3, width] float32, for the network on observations, on next observations, and for the target network.
    Returns: losses [B] before it, unweighted, and the global gradient norm before clipping, both without sync.
    """
    with torch.no_grad():
        selector_values = action_values(network(batch.next_observations, noise=noise[1:2]), atoms)
        next_logits = target(batch.next_observations, noise=noise[2:3])
    targets = double_q_targets(next_logits, selector_values, batch.rewards, batch.discounts, atoms)
    losses = cross_entropy(network(batch.observations, noise=noise[0:1]), batch.actions, targets)
    optimizer.zero_grad(set_to_none=True)
    (losses * weights).mean().backward()
    gradient_norm = clip_by_global_norm_(network.parameters(), max_gradient_norm)
    optimizer.step()
    return losses.detach(), gradient_norm


@torch.no_grad()
def noisy_greedy_actions(
    network: RainbowNetwork, observations: Tensor, noise: Tensor, atoms: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean greedy value, a scalar, and greedy actions [n] at observations [n, 4, 84, 84] uint8; noise [n, width]."""
    best = action_values(network(observations, noise=noise), atoms).max(dim=1)
    return best.values.mean(), best.indices


class RainbowAgent:
    """Rainbow on one game; see `baselines.agent.Agent` for what its methods promise."""

    def __init__(self, config: RainbowConfig, task: Task):
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
        layout = replay_layout(config, task.budget_frames)
        self._memory = ReplayMemory(
            layout,
            discount=config.discount,
            episodic_life=task.environment.episodic_life,
            device=task.device,
        )
        self._sampler = PrioritizedSampler(
            layout.slots * layout.environments,
            exponent=config.priority_exponent,
            uniform_probability=config.uniform_sample_probability,
        )
        self._play = BackgroundPlay(self._envs, self._memory, self.spans)
        self._resume_digest: str | None = None

        network = build_rainbow_network(
            config.encoder,
            self._envs.num_actions,
            config.atoms,
            config.noise_scale,
            self._streams.torch_generator(),
        )
        self.network = network.to(task.device)
        use_precision(self.network, config.precision)
        fused = use_layer_paths(self.network, task.device, plain=task.plain)
        self.target = copy.deepcopy(self.network)
        self.atoms = support(config.value_min, config.value_max, config.atoms).to(task.device, torch.float32)
        self._noise = FactorisedNoise(self._streams.noise, task.device)
        self._noise_width = sum(network.noise_sizes)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            fused=True,
            capturable=task.device.type != "cpu",
        )
        self._update, captured_paths = captured(
            lambda weights, noise, *batch: rainbow_update(
                self.network,
                self.target,
                self.optimizer,
                ReplayBatch(*batch),
                weights,
                noise,
                self.atoms,
                config.max_gradient_norm,
            ),
            torch.nn.ModuleList([self.network, self.target]),  # passes of both may change buffers
            self.optimizer,
            task.device,
            plain=task.plain,
            batches=lambda: [self._made_up_batch(seed) for seed in range(2)],
        )

        def evaluate(observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            return noisy_greedy_actions(self.network, observations, noise, self.atoms)

        stacks = partial(
            why_not_stacked,
            evaluate=evaluate,
            environments=self.environments,
            network=self.network,
            more=lambda step: (self._made_up_noise(self.environments, step),),
        )
        acting = acting_path(task.device, plain=task.plain, why_not_stacked=stacks)
        self.paths = fused + captured_paths + acting
        stacked = bool(acting.taken)
        self._evaluate = self._play.evaluator(evaluate, task.device, stacked=stacked, network=self.network)

    def _made_up_batch(self, seed: int) -> tuple[Tensor, ...]:
        """Noise in the shapes of what an update takes; touches no stream."""
        batch = ReplayBatch.made_up(self.config.batch, self._envs.num_actions, seed, self.device)
        return torch.ones_like(batch.rewards), self._made_up_noise(3, seed), *batch.tensors()

    def _made_up_noise(self, rows: int, seed: int) -> Tensor:
        return torch.randn(rows, self._noise_width, generator=torch.Generator().manual_seed(seed)).to(self.device)

    # The algorithm ------------------------------------------------------------------------------------------------

    def train(self) -> Iterator[Tick | Progress]:
        """Acts by noise, learns by priority; one `Progress` a block of vector steps."""
        config = self.config
        while self._play.frames < self.total_frames:
            actions = np.empty((config.block_vector_steps, self.environments), dtype=np.uint8)
            games: list[FinishedGame] = []
            losses: list[float] = []
            norms: list[Tensor] = []
            values = torch.zeros((), device=self.device)
            for t in range(config.block_vector_steps):
                actions[t], value = self._act()
                values += value
                self._play.begin(actions[t])
                for agent_steps in self.schedule.updates_in(self._play.vector_steps):
                    loss, norm = self._learn(agent_steps)
                    losses.append(loss)
                    norms.append(norm)
                games += self._store(self._play.finish())
                yield Tick(self._play.frames)
            metrics = {"importance_exponent": self._importance_exponent(self._play.vector_steps * self.environments)}
            metrics["value"] = float(values) / config.block_vector_steps
            if losses:
                metrics |= {"loss": float(np.mean(losses)), "gradient_norm": float(torch.stack(norms).mean())}
            yield Progress(self._play.frames, self.updates, actions, tuple(games), metrics)

    def _act(self) -> tuple[np.ndarray, Tensor]:
        """Greedy actions [N] of the noisy network, fresh noise for each environment; mean value, without sync."""
        with self.spans("acting"):
            noise = self._noise.draw(self.environments, self._noise_width)
            value, best = self._evaluate(noise)
            return best.cpu().numpy(), value

    def _learn(self, agent_steps: int) -> tuple[float, Tensor]:
        """The update due at this count of agent steps. Returns mean unweighted loss and gradient norm."""
        with self.spans("sampling"):
            indices, weights, batch = self._sample(self._importance_exponent(agent_steps))
        with self.spans("learning"):
            losses, norm = self._update(weights, self._noise.draw(3, self._noise_width), *batch.tensors())
            priorities = losses.cpu().numpy()
        with self.spans("sampling"):
            self._sampler.update(indices, np.minimum(priorities, self.config.max_priority))
        self.updates += 1
        if self.schedule.copies_target_at(agent_steps):
            self.target.load_state_dict(self.network.state_dict())
        return float(priorities.mean()), norm

    def _sample(self, importance_exponent: float) -> tuple[np.ndarray, Tensor, ReplayBatch]:
        """Flat indices [B] drawn by priority, their importance-sampling weights [B], and the transitions."""
        indices, probabilities = self._sampler.draw(
            self.config.batch,
            self._streams.replay,
            size=self._memory.size,
            uniform=lambda count: self._memory.draw_uniform(count, self._streams.replay),
        )
        weights = importance_weights(probabilities, self._memory.size, exponent=importance_exponent)
        on_device = torch.from_numpy(weights.astype(np.float32)).to(self.device)
        return indices, on_device, self._memory.gather(indices, self.device)

    def _store(self, played: Played) -> list[FinishedGame]:
        self._sampler.remove(played.closed)
        self._sampler.insert(played.opened)
        return played.games

    def _importance_exponent(self, agent_steps: int) -> float:
        return linear_schedule(
            agent_steps,
            start=self.config.importance_exponent_start,
            end=self.config.importance_exponent_end,
            first=self.schedule.learning_start,
            last=self.schedule.total_agent_steps,
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
            "priorities": self._sampler.state_dict(),
            "observations_sha256": self._play.digest(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all but emulators and memory, which `retrace` brings to where `state` was taken."""
        self.updates = state["updates"]
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._streams.load_state_dict(state["streams"])
        self._sampler.load_state_dict(state["priorities"])
        self._resume_digest = state["observations_sha256"]

    def retrace(self, action_log: np.ndarray) -> Iterator[FinishedGame | Tick]:
        """Steps the fresh environments through `action_log` [T, environments] uint8; the memory fills again.

        Priorities are the checkpoint's: what was opened and closed on the way is in them already.

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
        self._act()
        return self.environments

    def ready_batch(self) -> tuple[Tensor, ReplayBatch]:
        _, weights, batch = self._sample(self._importance_exponent(self._play.vector_steps * self.environments))
        return weights, batch

    def learn_once(self, batch: tuple[Tensor, ReplayBatch]) -> int:
        """One update; copies of the target network and new priorities left out."""
        weights, transitions = batch
        losses, _ = self._update(weights, self._noise.draw(3, self._noise_width), *transitions.tensors())
        losses.cpu()  # a GPU has only been told what to do until somebody asks
        return self.config.agent_steps_per_update
