"""When a replay agent learns: everything published per agent step, for environments that step together.

A vector step of N environments is N agent steps. Agent steps are counted from 1; with the count at g, the published
algorithm updates when g is a multiple of `agent_steps_per_update`, and copies the target network when g passes a
multiple of `target_copy_agent_steps`. Here the N counts of a vector step are gone through at once, in order, so that
over a run there are exactly as many updates and copies, at the same counts.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Self

from baselines.config import Bounds, Count, CountFromZero, Decay, Finite, Fraction, Positive
from baselines.emulator.envs import FRAME_SKIP
from baselines.replay.memory import ReplayLayout

_MEASURED_FRAMES = 400_000


@dataclass(frozen=True)
class ReplayConfig:
    """What C51 and Rainbow both pin; values come from a pinned file."""

    precision: str
    train_environments: Count
    block_vector_steps: Count  # vector steps between two reports of progress; a run is whole blocks
    replay_transitions: Count
    batch: Count
    n_steps: Count
    agent_steps_per_update: Count
    learning_start_agent_steps: CountFromZero
    target_copy_agent_steps: Count
    short_budget_fraction: Fraction  # learning start and target period are at most this share of the budget
    learning_rate: Positive
    adam_beta1: Decay
    adam_beta2: Decay
    adam_epsilon: Positive
    discount: Fraction
    atoms: Annotated[int, Bounds(2)]
    value_min: Finite
    value_max: Finite

    @property
    def fault(self) -> str:
        """What of these values does not fit together; "" where all do."""
        if self.value_min >= self.value_max:
            return f"value_min must be below value_max, is {self.value_min:g} against {self.value_max:g}"
        if self.replay_transitions < self.train_environments:
            return (
                f"replay_transitions must be at least {self.train_environments}, one of each of train_environments; "
                f"is {self.replay_transitions}"
            )
        # Updates come after the learning start. The first one samples what is complete: n steps in every environment.
        least = self.n_steps * self.train_environments
        if self.learning_start_agent_steps < least:
            return (
                f"learning_start_agent_steps must be at least {least}, n_steps x train_environments, so that the first "
                f"update has a transition to sample; is {self.learning_start_agent_steps}"
            )
        return ""

    @property
    def frames_per_update(self) -> int:
        """Emulator frames of one block, the least budget."""
        return self.train_environments * self.block_vector_steps * FRAME_SKIP

    @property
    def frames_on_protocol(self) -> int:
        """The least budget that scales none of these values, in emulator frames; 0 where every budget does."""
        if not self.short_budget_fraction:
            return 0
        latest = max(self.learning_start_agent_steps, self.target_copy_agent_steps)
        return FRAME_SKIP * max(self.replay_transitions, math.ceil(latest / self.short_budget_fraction))

    def total_updates(self, budget_frames: int) -> int:
        """Single updates in a budget, rounded down to whole blocks; 0 for a budget below one block."""
        return schedule(self, budget_frames).total_updates if budget_frames >= self.frames_per_update else 0

    def for_measuring(self, *, on_gpu: bool, environments: int | None = None) -> tuple[Self, int]:
        """The same work an agent step, and a budget in frames at which learning soon starts.

        Reports of progress become a quarter as long, with `environments` in place of the pinned number; a GPU gets the
        same, since an update of 32 transitions is short there too.
        """
        count = environments or self.train_environments
        agent_steps = self.block_vector_steps * self.train_environments // 4
        config = dataclasses.replace(self, train_environments=count, block_vector_steps=agent_steps // count)
        return config, _MEASURED_FRAMES


@dataclass(frozen=True)
class ReplaySchedule:
    """What a budget makes of a pinned configuration, in agent steps."""

    environments: int
    agent_steps_per_update: int
    total_agent_steps: int
    learning_start: int
    target_copy: int
    replay_transitions: int
    off_protocol: tuple[str, ...]  # what a short budget scaled, in words

    @property
    def total_frames(self) -> int:
        return self.total_agent_steps * FRAME_SKIP

    @property
    def total_updates(self) -> int:
        period = self.agent_steps_per_update
        return self.total_agent_steps // period - self.learning_start // period

    def updates_in(self, vector_step: int) -> list[int]:
        """The agent-step counts at which `vector_step`, counted from 0, updates."""
        period = self.agent_steps_per_update
        first = max(vector_step * self.environments, self.learning_start)  # exclusive
        last = (vector_step + 1) * self.environments  # inclusive
        return list(range(first - first % period + period, last + 1, period))

    def copies_target_at(self, agent_steps: int) -> bool:
        """Whether the update at this count is followed by a copy of the target network."""
        return agent_steps // self.target_copy > (agent_steps - self.agent_steps_per_update) // self.target_copy


def schedule(config: ReplayConfig, budget_frames: int) -> ReplaySchedule:
    """The schedule of a budget, scaling what a short one must.

    Learning that starts, or a target that is copied, only after a run's end would test nothing: both are held to
    `short_budget_fraction` of the budget. A memory need not hold more than the whole run.

    Raises: ValueError for a budget below one block.
    """
    blocks = budget_frames // config.frames_per_update
    if blocks < 1:
        raise ValueError(f"{budget_frames} frames are below the least budget, {config.frames_per_update}")
    total = blocks * config.frames_per_update // FRAME_SKIP
    # The budget as asked for decides whether it is short: rounding down to whole blocks takes nothing off a protocol.
    asked = budget_frames // FRAME_SKIP
    # Enough for a first complete window, and for a batch that is not all one transition.
    least_start = max(config.batch, (config.n_steps + 1) * config.train_environments)

    def limited(published: int, fraction: float, least: int = 0) -> int:
        """`published`, or the share of a short budget's agent steps that takes its place."""
        return published if published <= int(fraction * asked) else min(published, max(int(fraction * total), least))

    share = config.short_budget_fraction
    published = {
        "learning starts": config.learning_start_agent_steps,
        "target copies": config.target_copy_agent_steps,
        "replay transitions": config.replay_transitions,
    }
    given = {
        "learning starts": limited(config.learning_start_agent_steps, share, least_start),
        "target copies": limited(config.target_copy_agent_steps, share, config.agent_steps_per_update),
        "replay transitions": limited(config.replay_transitions, 1.0),
    }
    said = {
        "learning starts": "learning starts after {} agent steps instead of {}",
        "target copies": "the target network is copied every {} agent steps instead of {}",
        "replay transitions": "the replay memory holds {} transitions, the whole run, instead of {}",
    }
    return ReplaySchedule(
        environments=config.train_environments,
        agent_steps_per_update=config.agent_steps_per_update,
        total_agent_steps=total,
        learning_start=given["learning starts"],
        target_copy=given["target copies"],
        replay_transitions=given["replay transitions"],
        off_protocol=tuple(
            said[what].format(f"{given[what]:,}", f"{value:,}")
            for what, value in published.items()
            if given[what] != value
        ),
    )


def replay_layout(config: ReplayConfig, budget_frames: int) -> ReplayLayout:
    """The memory of a run with this budget."""
    transitions = schedule(config, budget_frames).replay_transitions
    environments = config.train_environments
    return ReplayLayout(transitions - transitions % environments, environments, config.n_steps)
