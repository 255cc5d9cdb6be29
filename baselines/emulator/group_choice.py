"""How many groups of environments are fastest on this machine: it depends on cores, game and GPU, so it is measured.

What is measured are fresh environments of the run's own seeds, closed again. On a CPU no result
depends on the number; on a GPU it changes how sums round.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from baselines.agent import Task
from baselines.emulator.envs import FRAME_SKIP
from baselines.emulator.rollout_play import RolloutPlay

GROUP_NUMBERS = (2, 3, 4)  # with one, CPU and GPU wait for each other at every step
_STEPS, _ROLLOUTS = 16, 3


def groups_of_few(config: Any) -> int | None:
    """One group for each training environment, where there are too few for every number in `GROUP_NUMBERS`; else None.

    `config`: of any agent; one of a user's own may have no training environments by that name.
    """
    environments = getattr(config, "train_environments", None)
    return environments if environments is not None and environments < max(GROUP_NUMBERS) else None


def measures_groups(task: Task) -> bool:
    """Whether the fastest number of groups is looked for: nobody asked for one, and there is a GPU to overlap with."""
    return task.groups is None and task.device.type == "cuda" and not task.plain


def rollout_speed(start: Callable[[int], RolloutPlay], clock: Callable[[], float] = time.perf_counter) -> float:
    """Agent steps a second of rollouts without learning: the best of a few, after one in which graphs are recorded.

    Args:
        start: starts fresh environments for rollouts of so many agent steps.
    """
    play = start(_STEPS)
    try:
        environments = play.frames_per_step // FRAME_SKIP
        everywhere = np.ones((_STEPS, environments), dtype=bool)
        actions = np.zeros((_STEPS, environments), dtype=np.uint8)  # every game has action 0
        seconds = []
        for _ in range(1 + _ROLLOUTS):
            began = clock()
            for _share in play.play(everywhere, actions):
                pass
            seconds.append(clock() - began)
        return _STEPS * environments / min(seconds[1:])
    finally:
        play.close()
        del play
        gc.collect()  # before the next one is made: a recorded graph holds memory of the GPU
