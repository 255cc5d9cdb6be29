"""What an agent promises to whoever runs it.

An agent is built from its configuration and a `Task`: one game, one budget, one seed. It owns its environments and its
random streams, touches no file, prints nothing, and is driven from outside:

    for event in agent.train():          # until the budget is spent
        match event:
            case Tick(): ...             # still alive, inside an update; nothing to record
            case Progress(): ...         # an update is complete: record it; state_dict() is valid here, and only here

Resuming: build the same agent, `load_state_dict(state)`, then exhaust `retrace(action_log)`, which steps fresh
environments through the logged actions and gives the finished games again; then `train()` goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from baselines.emulator.envs import EnvironmentConfig
from baselines.spans import Spans

if TYPE_CHECKING:  # torch takes seconds to import, and telling what is pinned does without
    import torch

    from baselines.fast.paths import Paths


@dataclass(frozen=True)
class Task:
    """What an agent is built for, beside its configuration: what to play, and on what."""

    envpool_id: str  # "Pong-v5"
    environment: EnvironmentConfig
    budget_frames: int  # emulator frames, as asked for
    seed: int
    device: torch.device  # of the learner
    emulator_threads: int  # changes no byte of a result
    plain: bool = False  # every fast path off
    groups: int | None = None  # of environments, for PQN; None: one, or on a GPU the fastest number


@dataclass(frozen=True)
class FinishedGame:
    """One whole game, all lives, as it is scored."""

    frames: int  # training emulator frames of the run when it ended
    environment: int  # index among the environments of its kind
    episode_return: float  # sum of unclipped rewards
    length: int  # agent steps, reset steps not counted
    kind: str  # "train" or "greedy"
    end: str  # "game_over", "time_limit" or "unreported"


@dataclass(frozen=True)
class Tick:
    """A sign of life inside a long update."""

    frames: float  # emulator frames' worth of work done so far, for display only


@dataclass(frozen=True)
class Progress:
    """A complete update (or a fixed block of agent steps, for agents that learn every few steps)."""

    frames: int  # training emulator frames so far
    updates: int  # gradient-step groups so far: PQN's rollout updates, a replay agent's single updates
    actions: np.ndarray  # [T, environments] uint8, every action since the Progress before, all environments
    games: tuple[FinishedGame, ...]  # games finished since the Progress before, in order of time, then environment
    metrics: Mapping[str, float]  # "loss", "value", "epsilon", "gradient_norm", ...: means over this update


class Agent(Protocol):
    """Structural: agents share functions, not parents."""

    total_frames: int  # the budget, rounded down to what the agent will really play, in emulator frames
    total_updates: int
    updates: int  # done so far
    environments: int  # bytes a vector step in the action log
    off_protocol: list[str]  # what a short budget scaled, in words; empty for a run that counts
    unreported_game_ends: int  # games whose end only their lives told
    paths: Paths  # which fast paths it takes
    frames: int  # training emulator frames played so far, in whole Progress reports
    spans: Spans  # where its time goes: "acting", "learning", "waiting for emulation", ...

    def train(self) -> Iterator[Tick | Progress]: ...

    def retrace(self, action_log: np.ndarray) -> Iterator[FinishedGame | Tick]:
        """Steps through `action_log` [T, environments] uint8.

        Raises RetraceMismatch if the emulator went another way.
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def diagnose(self) -> dict[str, float]:
        """Effective rank, dead fraction, norms of activation and gradient by layer: {'effective_rank/conv2': 71.0}."""
        ...

    def ranks(self, observations: int) -> dict[str, float]:
        """Effective ranks by layer over so many observations, or all there are: {'effective_rank_2048/conv2': 311.0}.

        An agent of a user's own may lack it: its runs then have the ranks that `diagnose` gives, and no claim about
        ranks can rest on them.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """{envpool_id, envpool_config, rom_sha256, train_seeds, greedy_seeds} for the manifest."""
        ...

    def close(self) -> None: ...

    # For measurements, between two Progress reports. They draw from the streams and change the weights: what is trained
    # afterwards is no result.

    def act_once(self) -> int:
        """Chooses actions for all environments, as in training, and takes none.

        Returns: the agent steps of training environments that this stands for.
        """
        ...

    def ready_batch(self) -> Any:
        """What `learn_once` learns from, put together once; there must have been an update before."""
        ...

    def learn_once(self, batch: Any) -> int:
        """The shortest piece of learning, on a ready batch, waited for.

        Returns: the agent steps of training environments that this stands for.
        """
        ...


def environment_groups(agent: Agent) -> int:
    """How many groups an agent's environments step in, each on its own: one, unless it says another number."""
    return getattr(agent, "environment_groups", 1)


class RetraceMismatch(RuntimeError):
    """The emulator, fed the logged actions, did not arrive where the checkpoint was written."""
