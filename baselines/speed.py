"""How fast an agent trains, where its time goes, and what acting or learning alone would allow.

Every agent offers what is needed (`baselines.agent.Agent`): training, `act_once`, `learn_once` and named spans of time.
All speeds are in agent steps a second; emulator frames are four times that.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from baselines.agent import Agent, Progress, Tick
from baselines.emulator.envs import FRAME_SKIP, AtariEnvironments, EnvironmentConfig

_LEAST_SECONDS = 0.5  # of a part measured alone, for each repeat
_LEAST_LOOP_SECONDS = 1.0  # of the whole training, for each repeat


@dataclass(frozen=True)
class Stretch:
    """A piece of training."""

    began: float  # seconds, by a clock that all processes of the machine share
    ended: float
    agent_steps: int
    cpu_seconds: float  # processor time of all threads of the process


@dataclass(frozen=True)
class Speed:
    """Agent steps a second, one number a repeat."""

    loop: tuple[Stretch, ...]  # the whole training
    acting: tuple[float, ...]  # network and choice of actions alone
    learning: tuple[float, ...]  # updates on ready-made batches, nothing else
    shares: dict[str, float]  # of the loop's time, by part


def measure(
    agent: Agent,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    together: Callable[[], object] = lambda: None,
) -> Speed:
    """Trains `agent` for a while, lets it act alone and learn alone, and does that again, `repeats` times.

    The three take turns, so that a machine that is slow for a while is slow for all of them. The agent is spent
    afterwards.

    Args:
        agent: fresh, of a config and budget from `for_measuring`.
        together: called before each stretch of training; returns when every agent that is measured at once has
            called it.
    """
    events = agent.train()
    _next_progress(events)
    while not agent.updates:
        _next_progress(events)
    _next_progress(events)  # the one before may have begun without learning
    batch = agent.ready_batch()
    spent: Counter[str] = Counter()
    loop, acting, learning = [], [], []
    for _ in range(repeats):
        together()
        frames, spans_before = agent.frames, Counter(agent.spans.seconds)
        began, cpu = clock(), time.process_time()
        while clock() - began < _LEAST_LOOP_SECONDS:
            _next_progress(events)
        loop.append(Stretch(began, clock(), (agent.frames - frames) // FRAME_SKIP, time.process_time() - cpu))
        spent.update(Counter(agent.spans.seconds))
        spent.subtract(spans_before)
        acting.append(_alone(agent.act_once, clock))
        learning.append(_alone(lambda: agent.learn_once(batch), clock))
    seconds = sum(stretch.ended - stretch.began for stretch in loop)
    shares = {name: value / seconds for name, value in spent.items()}
    return Speed(tuple(loop), tuple(acting), tuple(learning), {**shares, "the rest": 1 - sum(shares.values())})


def measure_emulator(
    envpool_id: str, config: EnvironmentConfig, environments: int, threads: int, repeats: int
) -> tuple[float, ...]:
    """Agent steps a second of envpool alone, with random actions; one number a repeat."""
    envs = AtariEnvironments(envpool_id, list(range(environments)), config, threads=threads)
    envs.reset()
    actions = iter(np.random.default_rng(0).integers(envs.num_actions, size=(1000, environments), dtype=np.uint8))
    cycled = itertools.cycle(actions)

    def step() -> int:
        envs.step(next(cycled))
        return environments

    found = tuple(_alone(step, time.perf_counter, seconds=2.0) for _ in range(repeats + 1))
    envs.close()
    return found[1:]


def _alone(do: Callable[[], int], clock: Callable[[], float], seconds: float = _LEAST_SECONDS) -> float:
    """Calls `do`, which returns how many agent steps it was worth, for a while. Returns agent steps a second."""
    do()
    steps, began = 0, clock()
    while clock() - began < seconds:
        steps += do()
    return steps / (clock() - began)


def _next_progress(events: Iterator[Tick | Progress]) -> None:
    while not isinstance(next(events), Progress):
        pass
