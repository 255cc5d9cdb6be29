"""Keeps the score: turns steps of vectorised environments into finished games, all lives, unclipped.

A game ends at `game_over` or `truncated`, and in one hidden case: a reset step after a lost life plays no-ops and
FIRE, and should the game end inside them, it starts anew with no end reported. Lives that rise at such a reset step
tell; the old game's record ends there, as `unreported`.
"""

from __future__ import annotations

import numpy as np

from baselines.agent import FinishedGame
from baselines.emulator.envs import Step


class GameTracker:
    """Follows `train + greedy` environments, the training ones first.

    `unreported` counts the games whose end the emulator kept to itself.
    """

    def __init__(self, *, train: int, greedy: int, lives: np.ndarray, first_train: int = 0, first_greedy: int = 0):
        """Args:
        lives: [train + greedy], what each environment showed at the run's first reset.
        first_train, first_greedy: what the first of each kind is called, where others are followed elsewhere.
        """
        self._train = train
        self._numbers = [first_train + i for i in range(train)] + [first_greedy + i for i in range(greedy)]
        self._returns = np.zeros(train + greedy, dtype=np.float64)
        self._lengths = np.zeros(train + greedy, dtype=np.int64)
        self._lives = lives.copy()
        self._game_ended = np.zeros(train + greedy, dtype=bool)
        self.unreported = 0

    def update(self, step: Step, frames: int) -> list[FinishedGame]:
        """The games that this step finished, by environment. `frames`: of the run, after this step."""
        unreported = step.resets & ~self._game_ended & (step.lives > self._lives)
        finished = [self._finish(i, frames, "unreported") for i in np.flatnonzero(unreported).tolist()]
        self.unreported += len(finished)

        played = ~step.resets
        self._returns[played] += step.raw_rewards[played]
        self._lengths[played] += 1
        self._lives = step.lives.copy()
        self._game_ended = step.game_over | step.truncated
        for i in np.flatnonzero(self._game_ended).tolist():
            finished.append(self._finish(i, frames, "game_over" if step.game_over[i] else "time_limit"))
        return sorted(finished, key=lambda game: (game.kind != "train", game.environment))

    def _finish(self, i: int, frames: int, end: str) -> FinishedGame:
        game = FinishedGame(
            frames=frames,
            environment=self._numbers[i],
            episode_return=float(self._returns[i]),
            length=int(self._lengths[i]),
            kind="train" if i < self._train else "greedy",
            end=end,
        )
        self._returns[i] = 0.0
        self._lengths[i] = 0
        return game
