"""PQN (Gallici et al. 2025, arXiv 2407.04811): Q-learning on parallel environments, no replay, no target network.

Per update: play a rollout with an epsilon-greedy policy, compute lambda-returns from the action values of that
rollout, and regress on them in shuffled minibatches, a few epochs long. Hadamax-PQN (arXiv 2505.15345) is the same
algorithm with another encoder.

Mirrored from the official code on purpose: reset steps are trained on like any other; a lost life, game over and the
time limit all cut the bootstrap. Deviations are listed in docs/baselines/pqn.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from baselines.agent import FinishedGame, Progress, Task, Tick
from baselines.config import ConfigError, Count, CountFromZero, Decay, Fraction, Positive, PositiveFraction
from baselines.emulator.envs import FRAME_SKIP, number_of_actions
from baselines.emulator.frame_stacks import why_not_stacked
from baselines.emulator.group_choice import GROUP_NUMBERS, measures_groups, rollout_speed
from baselines.emulator.groups import make_groups
from baselines.emulator.rollout_play import Rollout, RolloutPlay
from baselines.exploration import linear_epsilon
from baselines.fast.cuda_graph import remember_buffers
from baselines.fast.names import EPOCH_GRAPH, ROLLOUT_GRAPH
from baselines.fast.paths import Work, captured, rollout_path, use_layer_paths
from baselines.made_up import made_up, made_up_epochs
from baselines.networks.diagnostics import layer_diagnostics, layer_ranks
from baselines.networks.precision import use_precision
from baselines.networks.q_network import QNetwork, build_q_network
from baselines.optim import RAdam, clip_by_global_norm_
from baselines.returns import lambda_returns
from baselines.seeding import Streams
from baselines.spans import Spans

DIAGNOSTIC_BATCH = 256
# Of an update's work, for the progress display alone: one forward pass a step against two forward-and-backward ones.
_ROLLOUT_SHARE = 0.2
_MINIBATCHES_BETWEEN_SIGNS_OF_LIFE = 8

Result = TypeVar("Result")


@dataclass(frozen=True)
class PqnConfig:
    """Everything that shapes PQN's learning; values come from a pinned file."""

    encoder: str
    precision: str
    train_environments: Count
    greedy_environments: CountFromZero
    rollout_agent_steps: Count
    epochs: Count
    minibatches: Count
    learning_rate: Positive
    adam_beta1: Decay
    adam_beta2: Decay
    adam_epsilon: Positive
    max_gradient_norm: Positive
    discount: Fraction
    trace_decay: Fraction
    epsilon_start: Fraction
    epsilon_end: Fraction
    epsilon_decay_fraction: PositiveFraction

    @property
    def fault(self) -> str:
        """What of these values does not fit together; "" where all do."""
        rollout = self.rollout_agent_steps * self.train_environments
        uneven = f"minibatches must divide a rollout of {rollout} observations equally, is {self.minibatches}"
        return uneven if rollout % self.minibatches else ""

    @property
    def frames_per_update(self) -> int:
        """Emulator frames of one rollout over the training environments."""
        return self.train_environments * self.rollout_agent_steps * FRAME_SKIP

    @property
    def minibatch(self) -> int:
        """Observations of one gradient step."""
        return self.rollout_agent_steps * self.train_environments // self.minibatches

    def total_updates(self, budget_frames: int) -> int:
        """Whole updates in a budget, rounded down as the official code does: to whole rollouts, then to updates."""
        return budget_frames // FRAME_SKIP // self.rollout_agent_steps // self.train_environments

    def for_measuring(self, *, on_gpu: bool, environments: int | None = None) -> tuple[PqnConfig, int]:
        """The same work an agent step, and a budget in frames long enough for any measurement.

        A CPU gets a quarter of the rollout (a half or all, where it can't be divided so) with as large minibatches.
        """
        if environments is not None:
            raise ConfigError("PQN is measured with its own number of environments")
        steps, parts = self.rollout_agent_steps, self.minibatches
        shorter = 1 if on_gpu else gcd(4, steps, parts)
        config = replace(self, rollout_agent_steps=steps // shorter, minibatches=parts // shorter)
        return config, 10_000 * config.frames_per_update


@torch.no_grad()
def greedy_policy(network: QNetwork, observations: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy values [n] and greedy actions [n] at observations [n, 4, 84, 84] uint8."""
    best = network(observations).max(dim=1)
    return best.values, best.indices


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


def train_epoch(
    network: QNetwork,
    optimizer: RAdam,
    observations: Tensor,
    actions: Tensor,
    targets: Tensor,
    order: Tensor,
    *,
    minibatch: int,
    max_gradient_norm: float,
) -> tuple[Tensor, Tensor]:
    """`train_minibatch` for one minibatch of a rollout after the other, as one piece of work for a GPU.

    Args: observations [M, 4, 84, 84] uint8, actions [M] int64, targets [M] float; order: places in them, int64.
    Returns: losses and gradient norms, a number a minibatch.
    """
    steps = [
        train_minibatch(network, optimizer, observations[chosen], actions[chosen], targets[chosen], max_gradient_norm)
        for chosen in order.split(minibatch)
    ]
    losses, norms = zip(*steps, strict=True)
    return torch.stack(losses), torch.stack(norms)


class PqnAgent:
    """PQN on one game; see `baselines.agent.Agent` for what its methods promise."""

    def __init__(self, config: PqnConfig, task: Task):
        self.config = config
        self.device = task.device
        self.total_updates = config.total_updates(task.budget_frames)
        if self.total_updates < 1:
            least = f"give at least {config.frames_per_update} frames"
            raise ConfigError(f"a budget of {task.budget_frames} frames is too small for one update; {least}")
        self.total_frames = self.total_updates * config.frames_per_update
        self.environments = config.train_environments + config.greedy_environments
        self.off_protocol: list[str] = []
        self.updates = 0
        self.spans = Spans()

        self._streams = Streams(task.seed)
        self._seeds = {
            "train_seeds": self._streams.environment_seeds("train", config.train_environments),
            "greedy_seeds": self._streams.environment_seeds("greedy", config.greedy_environments),
        }
        self._num_actions = number_of_actions(task.envpool_id)
        network = build_q_network(config.encoder, self._num_actions, self._streams.torch_generator())
        self.network = network.to(task.device)
        use_precision(self.network, config.precision)
        self._evaluate = partial(greedy_policy, self.network)
        self.paths = use_layer_paths(self.network, task.device, plain=task.plain)
        stacks = partial(why_not_stacked, evaluate=self._evaluate, environments=self.environments, network=self.network)
        self.paths += rollout_path(task.device, plain=task.plain, why_not_stacked=stacks)
        self.optimizer = RAdam(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            capturable=task.device.type != "cpu",
        )
        stacked = ROLLOUT_GRAPH in self.paths.taken
        self.group_speeds: dict[int, float] = {}  # agent steps a second by number of groups, where it was measured
        for number in GROUP_NUMBERS if measures_groups(task) else ():
            undo = remember_buffers(self.network)
            self.group_speeds[number] = rollout_speed(partial(self._start_play, task, number, stacked=stacked))
            undo()
        fastest = max(self.group_speeds, key=self.group_speeds.__getitem__, default=1)
        self.environment_groups = task.groups or fastest
        self._play = self._start_play(task, self.environment_groups, config.rollout_agent_steps, stacked=stacked)
        self._record_learning(plain=task.plain)
        self._resume_digest: str | None = None

    def _start_play(self, task: Task, groups: int, agent_steps: int, *, stacked: bool) -> RolloutPlay:
        """All environments, fresh, in so many groups."""
        return RolloutPlay(
            make_groups(
                task.envpool_id,
                self._seeds["train_seeds"],
                self._seeds["greedy_seeds"],
                task.environment,
                threads=task.emulator_threads,
                groups=groups,
            ),
            self._evaluate,
            agent_steps=agent_steps,
            device=self.device,
            spans=self.spans,
            stacked=stacked,
            network=self.network,
        )

    def _record_learning(self, *, plain: bool) -> None:
        """Lets a GPU replay whole epochs; minibatches, if those can't be trusted."""
        where = (self.network, self.optimizer, self.device)
        size, most = self.config.minibatch, self.config.max_gradient_norm
        rollout = self._play.observations.flatten(0, 1)  # read where it is: 115 MB that no replay copies

        def epoch(order: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            learner = self.network, self.optimizer
            return train_epoch(*learner, rollout, actions, targets, order, minibatch=size, max_gradient_norm=most)

        def minibatch(observations: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            return train_minibatch(self.network, self.optimizer, observations, actions, targets, most)

        def epochs() -> list[tuple[Tensor, ...]]:
            return [*made_up_epochs(rollout, size, self._num_actions, self.device)]

        def minibatches() -> list[tuple[Tensor, ...]]:
            return [made_up(size, self._num_actions, seed, self.device) for seed in range(2)]

        self._train_epoch, paths = captured(epoch, *where, plain=plain, batches=epochs, name=EPOCH_GRAPH)
        self._by_epochs = EPOCH_GRAPH in paths.taken
        self._train_minibatch: Work = minibatch
        if not self._by_epochs:
            self._train_minibatch, more = captured(minibatch, *where, plain=plain, batches=minibatches)
            paths += more
        self.paths += paths

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
            played = yield from self._alive(self._play.play(*self._exploration(epsilon)), 0.0, _ROLLOUT_SHARE)
            rollout = played.rollout
            targets = lambda_returns(
                rollout.rewards, rollout.dones, rollout.next_values, discount=config.discount, lam=config.trace_decay
            )
            loss, gradient_norm = yield from self._alive(self._learn(rollout, targets), _ROLLOUT_SHARE, 1.0)
            self.updates += 1
            yield Progress(
                frames=self.frames,
                updates=self.updates,
                actions=played.actions,
                games=played.games,
                metrics={
                    "loss": loss,
                    "gradient_norm": gradient_norm,
                    "value": float(rollout.next_values.mean()),
                    "epsilon": epsilon,
                },
            )

    def _exploration(self, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """Where the training environments explore in a rollout, and the random actions they take there; both [T, N]."""
        shape = (self.config.rollout_agent_steps, self.config.train_environments)
        explores = self._streams.exploration.random(shape) < epsilon
        return explores, self._streams.exploration.integers(self._num_actions, size=shape)

    def _learn(self, rollout: Rollout, targets: Tensor) -> Generator[float, None, tuple[float, float]]:
        """Epochs of shuffled minibatches; returns mean loss and mean gradient norm over them."""
        config = self.config
        observations = rollout.observations.flatten(0, 1)
        actions, targets = rollout.actions.flatten(), targets.flatten()
        size, total = len(actions) // config.minibatches, config.epochs * config.minibatches
        losses: list[Tensor] = []
        norms: list[Tensor] = []
        orders = np.stack([self._streams.minibatches.permutation(len(actions)) for _ in range(config.epochs)])
        for order in torch.from_numpy(orders).to(self.device):
            if self._by_epochs:
                with self.spans("learning"):
                    epoch_losses, epoch_norms = self._train_epoch(order, actions, targets)
                losses += epoch_losses
                norms += epoch_norms
                yield len(losses) / total
                continue
            for chosen in order.split(size):
                with self.spans("learning"):
                    images = observations.index_select(0, chosen)  # whole images; [chosen] copies them byte by byte
                    loss, norm = self._train_minibatch(images, actions[chosen], targets[chosen])
                losses.append(loss)
                norms.append(norm)
                if len(losses) % _MINIBATCHES_BETWEEN_SIGNS_OF_LIFE == 0:
                    yield len(losses) / total
        with self.spans("learning"):  # a GPU is waited for here
            return float(torch.stack(losses).mean()), float(torch.stack(norms).mean())

    def _alive(self, work: Generator[float, None, Result], begins: float, ends: float) -> Generator[Tick, None, Result]:
        """Does `work`, which is the part of an update from share `begins` to `ends`; gives signs of life."""
        while True:
            try:
                done = next(work)
            except StopIteration as end:
                return end.value
            yield Tick((self.updates + begins + (ends - begins) * done) * self.config.frames_per_update)

    # State, diagnostics, provenance ---------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        return self.updates * self.config.frames_per_update

    @property
    def unreported_game_ends(self) -> int:
        return self._play.unreported_game_ends

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "streams": self._streams.state_dict(),
            "vector_steps": self._play.vector_steps,
            "observations_sha256": self._play.digest(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all but the emulators, which `retrace` brings to where `state` was taken."""
        self.updates = state["updates"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._streams.load_state_dict(state["streams"])
        self._resume_digest = state["observations_sha256"]

    def retrace(self, action_log: np.ndarray) -> Iterator[FinishedGame | Tick]:
        """Steps the fresh environments through `action_log` [T, environments] uint8, giving the finished games again.

        Raises:
            RetraceMismatch: the observations at the end are not those the checkpoint was written at.
        """
        return self._play.retrace(action_log, self._resume_digest)

    def diagnose(self) -> dict[str, float]:
        """Diagnostics on a fixed sample of the last rollout's observations; gradients are the last minibatch's."""
        return layer_diagnostics(self.network, self._play.sample_observations(DIAGNOSTIC_BATCH))

    def ranks(self, observations: int) -> dict[str, float]:
        return layer_ranks(self.network, self._play.sample_observations(observations))

    def provenance(self) -> dict[str, Any]:
        return self._play.provenance(**self._seeds)

    def close(self) -> None:
        self._play.close()

    # For measurements -----------------------------------------------------------------------------------------------

    def act_once(self) -> int:
        self._play.look()
        return self.config.train_environments

    def ready_batch(self) -> tuple[Tensor, ...]:
        """One minibatch out of the last rollout, or its epoch where a GPU replays those, with targets of zero."""
        count = self.config.minibatch * (self.config.minibatches if self._by_epochs else 1)
        targets = torch.zeros(count, device=self.device)
        if self._by_epochs:
            return torch.randperm(count, device=self.device), targets.long(), targets
        return self._play.sample_observations(count), targets.long(), targets

    def learn_once(self, batch: tuple[Tensor, ...]) -> int:
        loss, _ = self._train_epoch(*batch) if self._by_epochs else self._train_minibatch(*batch)
        loss.sum().item()  # a GPU has only been told what to do until somebody asks
        return len(batch[0]) // self.config.epochs
