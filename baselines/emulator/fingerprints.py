"""What the emulator gives for a fixed sequence of random actions, as two hashes a game.

Equal hashes mean equal bytes: every frame, reward, end of a game and life count of eight environments. The recipe is
that of `environment_fingerprints.csv` (results/reference), made with the official code's envpool 0.8.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.emulator.envs import AtariEnvironments, EnvironmentConfig

SHORT_AGENT_STEPS = 100
FULL_AGENT_STEPS = 1200
_ENVIRONMENT_SEEDS = range(11, 19)  # eight of them
_ACTION_SEED = 3


@dataclass(frozen=True)
class Fingerprint:
    """Of one game, after so many agent steps of each of the eight environments."""

    agent_steps: int
    actions: int  # how many the game has
    frames_sha256: str  # first observations [8, 4, 84, 84], then each step's newest plane [8, 84, 84]
    signals_sha256: str  # each step's clipped and raw rewards, dones, lives, game overs


def fingerprints(
    envpool_id: str, config: EnvironmentConfig, *, after: Sequence[int] = (SHORT_AGENT_STEPS,), threads: int = 2
) -> list[Fingerprint]:
    """The fingerprints of a game after each number of agent steps in `after`, rising, at most `FULL_AGENT_STEPS`.

    Through `AtariEnvironments`, so that what training sees is what is checked. `threads` changes nothing in the bytes.
    """
    environments = AtariEnvironments(envpool_id, list(_ENVIRONMENT_SEEDS), config, threads=threads)
    try:
        shape = (FULL_AGENT_STEPS, len(_ENVIRONMENT_SEEDS))
        actions = np.random.default_rng(_ACTION_SEED).integers(0, environments.num_actions, size=shape)
        frames, signals = hashlib.sha256(environments.reset().tobytes()), hashlib.sha256()
        found = []
        for t in range(max(after)):
            step = environments.step(actions[t])
            frames.update(step.observations[:, -1].tobytes())
            for signal, kind in (
                (step.rewards, np.float32),
                (step.dones, np.uint8),
                (step.raw_rewards, np.float32),
                (step.lives, np.int32),
                (step.game_over, np.int32),
            ):
                signals.update(signal.astype(kind).tobytes())
            if t + 1 in after:
                found.append(Fingerprint(t + 1, environments.num_actions, frames.hexdigest(), signals.hexdigest()))
        return found
    finally:
        environments.close()
