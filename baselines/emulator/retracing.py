"""Retracing: fresh environments are stepped through the actions that a run has logged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from baselines.agent import FinishedGame, RetraceMismatch, Tick

_STEPS_BETWEEN_TICKS = 64


def retrace(
    action_log: np.ndarray,
    step: Callable[[np.ndarray], Iterable[FinishedGame]],
    *,
    frames_per_step: int,
    observations: Callable[[], np.ndarray],
    digest: str | None,
) -> Iterator[FinishedGame | Tick]:
    """Takes every vector step of `action_log` [T, environments] uint8; gives the games that finish, and signs of life.

    Args:
        step: takes actions [environments] and returns the games that the step finished.
        frames_per_step: training emulator frames of a vector step.
        observations: the environments' newest, at the end.
        digest: of the observations at which the log was kept (`observations_digest`).
    Raises:
        RetraceMismatch: the environments arrived elsewhere.
    """
    for t, actions in enumerate(action_log, start=1):
        yield from step(actions)
        if t % _STEPS_BETWEEN_TICKS == 0:
            yield Tick(t * frames_per_step)
    if observations_digest(observations()) != digest:
        raise RetraceMismatch(
            "the emulator did not reproduce the logged games; was envpool or its ROM changed since the run began?"
        )


def observations_digest(observations: np.ndarray) -> str:
    """SHA-256 of observations [environments, 4, 84, 84] uint8: where the environments are, for all that is seen."""
    return hashlib.sha256(observations.tobytes()).hexdigest()
