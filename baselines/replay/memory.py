"""Replay memory of single frames: the last million steps of a few environments in 7 GB.

Each frame is kept once; a stack of four is put together when it is sampled, byte for byte as the emulator showed it.
The memory is a ring of *slots*, one a vector step. Slot t holds, for each environment, the newest frame of the
observation at time t, and of the step taken there the action, the clipped reward, and how it ended.

What is never sampled: a slot whose step was a reset step (it starts at a done observation, its action was ignored); the
newest n, whose windows are not complete; the oldest three, whose stacks are partly overwritten. The ring is longer by
those six than the capacity says.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from baselines.emulator.envs import Step
from baselines.made_up import made_up
from baselines.replay.nstep import n_step_returns


@dataclass(frozen=True)
class ReplayLayout:
    """The shape of a memory; everything about its size follows."""

    capacity: int  # transitions that can be sampled, a multiple of `environments`
    environments: int
    n_steps: int
    frame_stack: int = 4
    image_shape: tuple[int, int] = (84, 84)

    def __post_init__(self) -> None:
        if self.capacity < self.environments or self.capacity % self.environments:
            raise ValueError(f"capacity {self.capacity} is no positive multiple of {self.environments} environments")

    @property
    def slots(self) -> int:
        """Vector steps the ring is long: those that can be sampled, and those kept for their stacks and windows."""
        return self.capacity // self.environments + self.n_steps + self.frame_stack - 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of all frames, once the ring is full."""
        return self.slots * self.environments * int(np.prod(self.image_shape))

    @property
    def bookkeeping_bytes(self) -> int:
        """Bytes of everything beside the frames, on the host; priorities not counted."""
        return self.slots * self.environments * (1 + 4 + 5)


@dataclass(frozen=True)
class ReplayBatch:
    """B transitions on the learner's device."""

    observations: Tensor  # [B, 4, 84, 84] uint8
    actions: Tensor  # [B] int64
    rewards: Tensor  # [B] float32, of up to n steps, discounted among themselves
    discounts: Tensor  # [B] float32, of the next observation's value; 0 where nothing is left to gain
    next_observations: Tensor  # [B, 4, 84, 84] uint8

    def tensors(self) -> tuple[Tensor, ...]:
        """All of it, in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def made_up(cls, size: int, actions: int, seed: int, device: torch.device) -> ReplayBatch:
        """Noise in the shapes of a batch."""
        observations, chosen, rewards = made_up(size, actions, seed, device)
        return cls(observations, chosen, rewards, torch.full_like(rewards, 0.97), observations.flip(0))

    def split(self, size: int) -> list[ReplayBatch]:
        """Consecutive batches of `size`, the last with what is left."""
        columns = [tensor.split(size) for tensor in self.tensors()]
        return [ReplayBatch(*parts) for parts in zip(*columns, strict=True)]


class ReplayMemory:
    """The last `capacity` transitions of N environments that step together.

    Transitions are named by flat indices, slot * N + environment. Draws come from the generator that is passed in, and
    depend on nothing but it and what was added.
    """

    def __init__(self, layout: ReplayLayout, *, discount: float, episodic_life: bool, device: torch.device):
        """`episodic_life`: whether a lost life leaves nothing to come. `device`: where the frames are kept."""
        self.layout = layout
        self.discount = discount
        self._episodic_life = episodic_life
        shape = (layout.slots, layout.environments)
        # Untouched pages cost nothing: on the host the ring grows as it fills.
        self._frames = torch.empty((*shape, *layout.image_shape), dtype=torch.uint8, device=device)
        self._actions = np.zeros(shape, dtype=np.uint8)
        self._rewards = np.zeros(shape, dtype=np.float32)
        self._ends = np.zeros(shape, dtype=bool)
        self._terminals = np.zeros(shape, dtype=bool)
        self._ages = np.zeros(shape, dtype=np.uint8)  # frames since the stack began, at most frame_stack - 1
        self._resets = np.zeros(shape, dtype=bool)
        self._startable = np.zeros(shape, dtype=bool)  # can be sampled now
        self._planes_back = np.arange(layout.frame_stack - 1, -1, -1)  # of each plane, oldest first, from the newest
        self.vector_steps = 0
        self.size = 0  # transitions that can be sampled

    # Writing --------------------------------------------------------------------------------------------------------

    def start(self, observations: np.ndarray, lives: np.ndarray) -> None:
        """The environments' first observations [N, 4, 84, 84] uint8, each one frame four times, and lives [N]."""
        self._observations, self._lives = observations, lives.copy()
        self._store_frames(0, observations, new_stacks=np.ones(len(observations), dtype=bool))

    def add(self, actions: np.ndarray, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """Stores one vector step: `actions` [N], taken at the observations before, and what came of them.

        Returns: flat indices of the transitions that can be sampled from now on, and of those that no longer can.
        Raises: ValueError if the observations are not stacks that run on, or start anew at a reset step.
        """
        slots = self.layout.slots
        slot = self.vector_steps % slots
        self._actions[slot] = actions
        self._rewards[slot] = step.rewards
        self._ends[slot] = step.dones
        # A time limit leaves the game's value standing, unless its last step also cost a life that ends an episode.
        ended_by_life = (step.lives < self._lives) if self._episodic_life else False
        self._terminals[slot] = step.dones & (step.game_over | ~step.truncated | ended_by_life)
        self._resets[slot] = step.resets
        self.vector_steps += 1
        head = self.vector_steps % slots  # holds the newest observation, its step not yet taken
        self._store_frames(head, step.observations, self._new_stacks(step))
        self._observations, self._lives = step.observations, step.lives.copy()

        completed = np.empty(0, dtype=np.int64)
        if self.vector_steps >= self.layout.n_steps:
            first = (self.vector_steps - self.layout.n_steps) % slots
            self._startable[first] = ~self._resets[first]
            completed = self._flat(first)
        # The slot whose stack reached back to the frame that was just overwritten; those before it are closed already.
        last = (head + self.layout.frame_stack - 1) % slots
        retired = self._flat(last)
        self._startable[last] = False
        self.size += len(completed) - len(retired)
        return completed, retired

    def _store_frames(self, slot: int, observations: np.ndarray, new_stacks: np.ndarray) -> None:
        self._frames[slot] = torch.from_numpy(observations[:, -1]).to(self._frames.device)
        older = np.minimum(self._ages[slot - 1] + 1, self.layout.frame_stack - 1)  # slot -1 is the ring's last
        self._ages[slot] = np.where(new_stacks, 0, older)

    def _new_stacks(self, step: Step) -> np.ndarray:
        """[N] bool: which stacks start anew. The frames themselves tell, for not every game's start is reported."""
        new = np.zeros(len(step.resets), dtype=bool)
        for i in np.flatnonzero(step.resets):
            stack = step.observations[i]
            new[i] = (stack == stack[-1]).all()
            if not new[i] and not np.array_equal(stack[:-1], self._observations[i, 1:]):
                raise ValueError(f"environment {i}: a stack that neither runs on nor starts anew cannot be stored")
        return new

    def _flat(self, slot: int) -> np.ndarray:
        return slot * self.layout.environments + np.flatnonzero(self._startable[slot])

    # Reading --------------------------------------------------------------------------------------------------------

    def draw_uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Flat indices [count] int64 of transitions drawn uniformly, with replacement, from all that can be sampled.

        Raises: ValueError if there is none.
        """
        if self.size == 0:
            raise ValueError("the memory holds no complete transition to sample")
        layout = self.layout
        newest = self.vector_steps - layout.n_steps
        oldest = max(0, self.vector_steps - layout.slots + layout.frame_stack)
        span = (newest - oldest + 1) * layout.environments
        drawn = np.empty(0, dtype=np.int64)
        while len(drawn) < count:  # reset steps lie in between: draw again in their stead
            tries = oldest * layout.environments + generator.integers(span, size=count - len(drawn))
            tries %= layout.slots * layout.environments
            drawn = np.concatenate([drawn, tries[self._startable.reshape(-1)[tries]]])
        return drawn

    def gather(self, indices: np.ndarray, device: torch.device) -> ReplayBatch:
        """The transitions of flat `indices` [B], on `device`.

        Only indices that `add` opened and has not closed again, or that were drawn since, give what was stored.
        """
        layout = self.layout
        slots, columns = np.divmod(indices, layout.environments)
        window = ((slots[:, None] + np.arange(layout.n_steps)) % layout.slots, columns[:, None])
        returns = n_step_returns(
            self._rewards[window], self._ends[window], self._terminals[window], discount=self.discount
        )
        next_slots = (slots + returns.lengths) % layout.slots
        stacks = self._stacks(np.concatenate([slots, next_slots]), np.concatenate([columns, columns])).to(device)
        return ReplayBatch(
            observations=stacks[: len(indices)],
            actions=torch.from_numpy(self._actions[slots, columns].astype(np.int64)).to(device),
            rewards=torch.from_numpy(returns.rewards.astype(np.float32)).to(device),
            discounts=torch.from_numpy(returns.discounts.astype(np.float32)).to(device),
            next_observations=stacks[len(indices) :],
        )

    def _stacks(self, slots: np.ndarray, columns: np.ndarray) -> Tensor:
        """Observations [B, 4, 84, 84] at `slots` [B] of environments `columns` [B], where the frames are kept."""
        back = np.minimum(self._planes_back, self._ages[slots, columns][:, None])  # [B, 4]
        rows = (slots[:, None] - back) % self.layout.slots * self.layout.environments + columns[:, None]
        chosen = torch.from_numpy(rows.reshape(-1)).to(self._frames.device)
        frames = self._frames.flatten(0, 1).index_select(0, chosen)
        return frames.unflatten(0, (len(slots), self.layout.frame_stack))
