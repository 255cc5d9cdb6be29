"""PQN (Gallici et al. 2025, arXiv 2407.04811): Q-learning on parallel environments, no replay, no target network.

Per update: play a rollout with an epsilon-greedy policy, compute lambda-returns from the action values of that
rollout, and regress on them in shuffled minibatches, a few epochs long. Hadamax-PQN (arXiv 2505.15345) is the same
algorithm with another encoder.

Mirrored from the official code on purpose: reset steps are trained on like any other; a lost life, game over and the
time limit all cut the bootstrap. Deviations are listed in docs/baselines/pqn.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.agent import FRAME_SKIP, FinishedGame, Progress, ReplayMismatch, Tick
from baselines.config import ConfigError
from baselines.emulator.envs import EnvironmentConfig
from baselines.emulator.frame_stacks import StackedEvaluation
from baselines.emulator.groups import all_observations, in_order, make_groups
from baselines.exploration import linear_epsilon
from baselines.fast.paths import ROLLOUT_GRAPH, TWO_GROUPS, captured, rollout_paths, use_fused_blocks
from baselines.networks.diagnostics import layer_diagnostics
from baselines.networks.precision import use_precision
from baselines.networks.q_network import QNetwork, build_q_network
from baselines.optim import RAdam, clip_by_global_norm_
from baselines.returns import lambda_returns
from baselines.seeding import Streams

DIAGNOSTIC_BATCH = 256
# Of an update's work, for the progress display alone: one forward pass a step against two forward-and-backward ones.
_ROLLOUT_SHARE = 0.2


@dataclass(frozen=True)
class PqnConfig:
    """Everything that shapes PQN's learning; values come from a pinned file."""

    encoder: str
    precision: str
    train_environments: int
    greedy_environments: int
    rollout_agent_steps: int
    epochs: int
    minibatches: int
    learning_rate: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_gradient_norm: float
    discount: float
    trace_decay: float
    epsilon_start: float
    epsilon_end: float
    epsilon_decay_fraction: float

    @property
    def frames_per_update(self) -> int:
        """Emulator frames of one rollout over the training environments."""
        return self.train_environments * self.rollout_agent_steps * FRAME_SKIP

    def total_updates(self, budget_frames: int) -> int:
        """Whole updates in a budget, rounded down as the official code does: to whole rollouts, then to updates."""
        return budget_frames // FRAME_SKIP // self.rollout_agent_steps // self.train_environments


@dataclass(frozen=True)
class Rollout:
    """One rollout over the training environments, on the learner's device."""

    observations: Tensor  # [T, N, 4, 84, 84] uint8
    actions: Tensor  # [T, N] int64
    rewards: Tensor  # [T, N] float32, clipped
    dones: Tensor  # [T, N] bool
    next_values: Tensor  # [T, N] float32, max over actions of Q at the observation after each step


def td_loss(network: QNetwork, observations: Tensor, actions: Tensor, targets: Tensor) -> Tensor:
    """0.5 * mean squared error between Q(s, a) and its target (section 4 of the paper; the official code's 0.5).

    Args: observations [B, 4, 84, 84] uint8, actions [B] int64, targets [B] float. Returns: a scalar.
    """
    values = network(observations).gather(1, actions[:, None])[:, 0]
    return 0.5 * (values - targets).square().mean()


def train_minibatch(
    network: QNetwork,
    optimizer: RAdam,
    observations: Tensor,
    actions: Tensor,
    targets: Tensor,
    max_gradient_norm: float,
) -> tuple[Tensor, Tensor]:
    """One gradient step. Returns the loss before it and the global gradient norm before clipping, both without sync."""
    loss = td_loss(network, observations, actions, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradient_norm = clip_by_global_norm_(network.parameters(), max_gradient_norm)
    optimizer.step()
    return loss.detach(), gradient_norm


class PqnAgent:
    """PQN on one game; see `baselines.agent.Agent` for what its methods promise."""

    def __init__(
        self,
        config: PqnConfig,
        environment: EnvironmentConfig,
        envpool_id: str,
        *,
        budget_frames: int,
        seed: int,
        device: torch.device,
        emulator_threads: int,
        plain: bool = False,
    ):
        self.config = config
        self.device = device
        self.total_updates = config.total_updates(budget_frames)
        if self.total_updates < 1:
            raise ConfigError(
                f"a budget of {budget_frames} frames is too small for one update; "
                f"give at least {config.frames_per_update} frames"
            )
        self.total_frames = self.total_updates * config.frames_per_update
        self.environments = config.train_environments + config.greedy_environments
        self.off_protocol: list[str] = []
        self.updates = 0

        self._streams = Streams(seed)
        self._seeds = {
            "train": self._streams.environment_seeds("train", config.train_environments),
            "greedy": self._streams.environment_seeds("greedy", config.greedy_environments),
        }
        rollout = rollout_paths(device, plain=plain)
        self._groups = make_groups(
            envpool_id,
            *(self._seeds["train"], self._seeds["greedy"], environment),
            threads=emulator_threads,
            groups=2 if TWO_GROUPS in rollout.taken else 1,
        )
        self._num_actions = self._groups[0].environments.num_actions

        self.network = build_q_network(config.encoder, self._num_actions, self._streams.torch_generator()).to(device)
        use_precision(self.network, config.precision)
        self.paths = use_fused_blocks(self.network, device, plain=plain) + rollout
        self.optimizer = RAdam(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            capturable=device.type == "cuda",
        )
        self._train_minibatch, captured_paths = captured(
            lambda observations, chosen, targets: train_minibatch(
                *(self.network, self.optimizer, observations, chosen, targets), config.max_gradient_norm
            ),
            *(self.network, self.optimizer, device),
            plain=plain,
        )
        self.paths += captured_paths
        self._stacked: list[StackedEvaluation] = []
        if ROLLOUT_GRAPH in rollout.taken:
            self._stacked = [StackedEvaluation(self._evaluate, len(group.members), device) for group in self._groups]
        self._resume_digest: str | None = None
        self._rollout_observations = torch.empty(
            (config.rollout_agent_steps, config.train_environments, *self._groups[0].observations.shape[1:]),
            dtype=torch.uint8,
            device=device,
        )

    # The algorithm ------------------------------------------------------------------------------------------------

    def train(self) -> Iterator[Tick | Progress]:
        """Algorithm 1 of the paper, one `Progress` an update."""
        config = self.config
        while self.updates < self.total_updates:
            epsilon = linear_epsilon(
                self.updates,
                start=config.epsilon_start,
                end=config.epsilon_end,
                decay=config.epsilon_decay_fraction * self.total_updates,
            )
            games: list[FinishedGame] = []
            actions = np.empty((config.rollout_agent_steps, self.environments), dtype=np.uint8)
            rollout = yield from self._play(epsilon, actions, games)
            targets = lambda_returns(
                rollout.rewards, rollout.dones, rollout.next_values, discount=config.discount, lam=config.trace_decay
            )
            loss, gradient_norm = yield from self._learn(rollout, targets)
            self.updates += 1
            yield Progress(
                frames=self.updates * config.frames_per_update,
                updates=self.updates,
                actions=actions,
                games=tuple(games),
                metrics={
                    "loss": loss,
                    "gradient_norm": gradient_norm,
                    "value": float(rollout.next_values.mean()),
                    "epsilon": epsilon,
                },
            )

    def _play(self, epsilon: float, actions: np.ndarray, games: list[FinishedGame]) -> Generator[Tick, None, Rollout]:
        """Plays one rollout, filling `actions` and `games`; returns it."""
        steps, train = self.config.rollout_agent_steps, self.config.train_environments
        explores = self._streams.exploration.random((steps, train)) < epsilon
        random_actions = self._streams.exploration.integers(self._num_actions, size=(steps, train))
        rewards = np.empty((steps, train), dtype=np.float32)
        dones = np.empty((steps, train), dtype=bool)
        values = torch.empty((steps + 1, train), device=self.device)
        for t in range(steps + 1):  # once more for the values that the last step bootstraps from
            ended: list[FinishedGame] = []
            for number, group in enumerate(self._groups):
                own = group.train
                if t > 0:
                    step, its_games = group.finish()
                    ended += its_games
                    count = own.stop - own.start
                    rewards[t - 1, own], dones[t - 1, own] = step.rewards[:count], step.dones[:count]
                seen, values[t, own], greedy = self._act(number)
                if t < steps:
                    self._rollout_observations[t, own] = seen
                    actions[t, group.members] = greedy
                    actions[t, own] = np.where(explores[t, own], random_actions[t, own], actions[t, own])
                    group.begin(actions[t, group.members])
            games += in_order(ended)
            if t % 8 == 7:
                yield Tick(self._frames_at(_ROLLOUT_SHARE * (t + 1) / steps))
        return Rollout(
            observations=self._rollout_observations,
            actions=torch.from_numpy(actions[:, :train].astype(np.int64)).to(self.device),
            rewards=torch.from_numpy(rewards).to(self.device),
            dones=torch.from_numpy(dones).to(self.device),
            next_values=values[1:],
        )

    def _act(self, number: int) -> tuple[Tensor, Tensor, np.ndarray]:
        """What the training environments of a group see, their greedy values, and the greedy actions of all its own."""
        group = self._groups[number]
        if self._stacked:
            seen, values, greedy = self._stacked[number](group)
        else:
            seen = torch.from_numpy(group.observations).to(self.device)
            values, greedy = self._evaluate(seen)
        count = group.train.stop - group.train.start
        return seen[:count], values[:count], greedy.cpu().numpy()

    @torch.no_grad()
    def _evaluate(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Greedy values [n] and greedy actions [n]."""
        best = self.network(observations).max(dim=1)
        return best.values, best.indices

    def _learn(self, rollout: Rollout, targets: Tensor) -> Generator[Tick, None, tuple[float, float]]:
        """Epochs of shuffled minibatches; returns mean loss and mean gradient norm over them."""
        config = self.config
        observations = rollout.observations.flatten(0, 1)
        actions, targets = rollout.actions.flatten(), targets.flatten()
        size, total = len(actions) // config.minibatches, config.epochs * config.minibatches
        losses, norms = [], []
        orders = np.stack([self._streams.minibatches.permutation(len(actions)) for _ in range(config.epochs)])
        for order in torch.from_numpy(orders).to(self.device):
            for chosen in order.split(size):
                loss, norm = self._train_minibatch(observations[chosen], actions[chosen], targets[chosen])
                losses.append(loss)
                norms.append(norm)
                if len(losses) % 8 == 0:
                    yield Tick(self._frames_at(_ROLLOUT_SHARE + (1 - _ROLLOUT_SHARE) * len(losses) / total))
        return float(torch.stack(losses).mean()), float(torch.stack(norms).mean())

    def _frames_at(self, share_of_update: float) -> float:
        return (self.updates + share_of_update) * self.config.frames_per_update

    # State, diagnostics, provenance ---------------------------------------------------------------------------------

    @property
    def unreported_game_ends(self) -> int:
        return sum(group.unreported_game_ends for group in self._groups)

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "streams": self._streams.state_dict(),
            "vector_steps": self._groups[0].vector_steps,
            "observations_sha256": self._observations_digest(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all but the emulators, which `replay` brings to where `state` was taken."""
        self.updates = state["updates"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._streams.load_state_dict(state["streams"])
        self._resume_digest = state["observations_sha256"]

    def replay(self, action_log: np.ndarray) -> Iterator[FinishedGame | Tick]:
        """Steps the fresh environments through `action_log` [T, environments] uint8, giving the finished games again.

        Raises:
            ReplayMismatch: the observations at the end are not those the checkpoint was written at.
        """
        for t, actions in enumerate(action_log):
            for group in self._groups:
                group.begin(actions[group.members])
            yield from in_order([game for group in self._groups for game in group.finish()[1]])
            if t % 64 == 63:
                yield Tick((t + 1) * self.config.train_environments * FRAME_SKIP)
        if self._observations_digest() != self._resume_digest:
            raise ReplayMismatch(
                "the emulator did not reproduce the logged games; was envpool or its ROM changed since the run began?"
            )

    def _observations_digest(self) -> str:
        return hashlib.sha256(all_observations(self._groups).tobytes()).hexdigest()

    def diagnose(self) -> dict[str, float]:
        """Diagnostics on a fixed sample of the last rollout's observations; gradients are the last minibatch's."""
        observations = self._rollout_observations.flatten(0, 1)
        sample = np.random.default_rng(0).permutation(len(observations))[:DIAGNOSTIC_BATCH]
        return layer_diagnostics(self.network, observations[torch.from_numpy(sample).to(self.device)])

    def provenance(self) -> dict[str, Any]:
        return self._groups[0].environments.provenance(
            train_seeds=self._seeds["train"], greedy_seeds=self._seeds["greedy"]
        )

    def close(self) -> None:
        for group in self._groups:
            group.environments.close()
