"""Environments in groups that step on their own: while one group steps, the actions of another are chosen.

How many groups there are changes what can overlap in time, and on a GPU how sums round, which can end in other actions.
Emulators and random draws know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines.agent import FinishedGame
from baselines.config import ConfigError
from baselines.emulator.envs import FRAME_SKIP, AtariEnvironments, EnvironmentConfig, Step
from baselines.emulator.scorekeeper import GameTracker


class EnvironmentGroup:
    """Some of a run's environments, its training ones first, with their score."""

    def __init__(self, environments: AtariEnvironments, train: range, greedy: range, all_train: int):
        """`train`, `greedy`: which of the run's environments of either kind these are; `all_train`: how many it has."""
        self.train = slice(train.start, train.stop)
        self.members = np.array([*train, *(all_train + i for i in greedy)])  # places among all, training ones first
        self.vector_steps = 0  # finished so far
        self.observations = environments.reset()  # [n, 4, 84, 84] uint8, the newest
        self.resets = np.ones(len(self.members), dtype=bool)  # where they are no continuation of the ones before
        self.environments = environments
        self._frames_per_step = all_train * FRAME_SKIP
        self._tracker = GameTracker(
            train=len(train),
            greedy=len(greedy),
            lives=environments.lives,
            first_train=train.start,
            first_greedy=greedy.start,
        )

    def begin(self, actions: np.ndarray) -> None:
        """Starts a step with `actions` [n]; `finish` takes it in."""
        self.environments.begin(actions)

    def finish(self) -> tuple[Step, list[FinishedGame]]:
        """Waits for the step that was begun. Returns it, and the games that ended with it."""
        step = self.environments.finish()
        self.observations, self.resets = step.observations, step.resets
        self.vector_steps += 1
        return step, self._tracker.update(step, self.vector_steps * self._frames_per_step)

    @property
    def unreported_game_ends(self) -> int:
        return self._tracker.unreported


def make_groups(
    envpool_id: str,
    train_seeds: Sequence[int],
    greedy_seeds: Sequence[int],
    config: EnvironmentConfig,
    *,
    threads: int,
    groups: int,
) -> list[EnvironmentGroup]:
    """Starts all environments, spread evenly over `groups`, each with `threads` of its own.

    Raises: ConfigError if a group would have no training environment.
    """
    if not 1 <= groups <= len(train_seeds):
        raise ConfigError(
            f"{groups} groups cannot share {len(train_seeds)} training environments, one each at least; "
            f"take from 1 to {len(train_seeds)} groups"
        )
    made = []
    for number in range(groups):
        train, greedy = (
            range(len(seeds) * number // groups, len(seeds) * (number + 1) // groups)
            for seeds in (train_seeds, greedy_seeds)
        )
        seeds = [*train_seeds[train.start : train.stop], *greedy_seeds[greedy.start : greedy.stop]]
        environments = AtariEnvironments(envpool_id, seeds, config, threads=threads)
        made.append(EnvironmentGroup(environments, train, greedy, len(train_seeds)))
    return made


def all_observations(groups: Sequence[EnvironmentGroup]) -> np.ndarray:
    """The newest observations [N, 4, 84, 84] of all environments, the training ones first: a copy."""
    whole = np.empty((sum(len(group.members) for group in groups), *groups[0].observations.shape[1:]), dtype=np.uint8)
    for group in groups:
        whole[group.members] = group.observations
    return whole


def in_order(games: list[FinishedGame]) -> list[FinishedGame]:
    """Games that ended at one step, in the order in which a single group would have given them."""
    return sorted(games, key=lambda game: (game.kind != "train", game.environment))
