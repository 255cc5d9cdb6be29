"""How fast an agent trains, where its time goes, and what acting or learning alone would allow.

The agent is watched from outside: the calls that make up its loop are timed where they are made. All speeds are in
agent steps a second; emulator frames are four times that.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.agent import FRAME_SKIP, Progress
from baselines.c51 import C51Agent
from baselines.emulator.envs import AtariEnvironments, EnvironmentConfig
from baselines.pqn import PqnAgent, PqnConfig
from baselines.rainbow import RainbowAgent
from baselines.replay.schedule import ReplayConfig

ReplayAgent = C51Agent | RainbowAgent
_SHORT_FRAMES = 400_000  # of a replay agent, so that it soon learns
_LEAST_SECONDS = 0.5  # of a part measured alone, for each repeat
_LEAST_LOOP_SECONDS = 1.0  # of the whole training, for each repeat


@dataclass(frozen=True)
class Stretch:
    """A piece of training."""

    began: float  # seconds, by a clock that all processes of the machine share
    ended: float
    agent_steps: int


@dataclass(frozen=True)
class Speed:
    """Agent steps a second, one number a repeat."""

    loop: tuple[Stretch, ...]  # the whole training
    acting: tuple[float, ...]  # network and choice of actions alone
    learning: tuple[float, ...]  # updates on ready-made batches, nothing else
    shares: dict[str, float]  # of the loop's time, by part


def shortened(config: Any, *, environments: int | None = None) -> tuple[Any, int]:
    """The same work an agent step in shorter stretches, so that it can be measured in seconds on a CPU.

    Rollouts and reports of progress become a quarter as long; minibatches keep their size.

    Args:
        environments: of a replay agent, instead of the pinned number.
    Returns: the config, and a budget in frames long enough for any number of repeats.
    """
    if isinstance(config, PqnConfig):
        short = dataclasses.replace(
            config, rollout_agent_steps=config.rollout_agent_steps // 4, minibatches=config.minibatches // 4
        )
        return short, 10_000 * short.frames_per_update
    count = environments or config.train_environments
    steps = config.block_vector_steps * config.train_environments // 4
    assert isinstance(config, ReplayConfig)
    return dataclasses.replace(config, train_environments=count, block_vector_steps=steps // count), _SHORT_FRAMES


def measure(
    agent: PqnAgent | ReplayAgent,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    together: Callable[[], object] = lambda: None,
) -> Speed:
    """Trains `agent` for a while, then acts, then learns alone; the agent is spent afterwards.

    Args:
        agent: fresh, of a `shortened` config and its budget.
        repeats: stretches of training, after one to warm up.
        together: called before each stretch; returns when every agent that is measured at once has called it.
    """
    events = agent.train()
    _next_progress(events)
    while not agent.updates:
        _next_progress(events)
    _next_progress(events)  # the one before may have begun without learning
    parts, watched = _watch(agent, clock)
    loop = []
    for _ in range(repeats):
        together()
        before, began = agent_steps_of(agent), clock()
        while clock() - began < _LEAST_LOOP_SECONDS:
            _next_progress(events)
        loop.append(Stretch(began, clock(), agent_steps_of(agent) - before))
    seconds = sum(stretch.ended - stretch.began for stretch in loop)
    watched.close()
    shares = {name: spent() / seconds for name, spent in parts.items()}
    shares["the rest"] = 1 - sum(shares.values())
    acting = [_alone(_acting(agent), clock) for _ in range(repeats)]
    learn = _learning(agent)
    learning = [_alone(learn, clock) for _ in range(repeats)]
    return Speed(tuple(loop), tuple(acting), tuple(learning), shares)


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


def whole(config: PqnConfig) -> tuple[PqnConfig, int]:
    """`config` as it is, which a GPU is fast enough for, and a budget long enough for any number of repeats."""
    return config, 10_000 * config.frames_per_update


def agent_steps_of(agent: PqnAgent | ReplayAgent) -> int:
    """Agent steps of the training environments so far."""
    if isinstance(agent, PqnAgent):
        return agent.updates * agent.config.frames_per_update // FRAME_SKIP
    return agent._play.frames // FRAME_SKIP


def _alone(do: Callable[[], int], clock: Callable[[], float], seconds: float = _LEAST_SECONDS) -> float:
    """Calls `do`, which returns how many agent steps it was worth, for a while. Returns agent steps a second."""
    do()
    steps, began = 0, clock()
    while clock() - began < seconds:
        steps += do()
    return steps / (clock() - began)


def _acting(agent: PqnAgent | ReplayAgent) -> Callable[[], int]:
    def act() -> int:
        if isinstance(agent, PqnAgent):
            for number in range(len(agent._groups)):
                agent._act(number)
            return agent.config.train_environments
        if isinstance(agent, C51Agent):
            agent._act(0.0)
        else:
            agent._act()
        return agent.environments

    return act


def _learning(agent: PqnAgent | ReplayAgent) -> Callable[[], int]:
    """One update, or one minibatch of PQN's, on what is ready made; returns the agent steps it stands for."""
    if isinstance(agent, PqnAgent):
        config = agent.config
        batch = config.rollout_agent_steps * config.train_environments // config.minibatches
        observations = agent._rollout_observations.flatten(0, 1)[:batch].clone()
        zeros = torch.zeros(batch, device=agent.device)

        def train() -> int:
            loss, _ = agent._train_minibatch(observations, zeros.long(), zeros)
            loss.item()
            return batch // config.epochs

        return train

    indices = agent._memory.draw_uniform(agent.config.batch * 4, agent._streams.replay)
    drawn: Any = indices
    if isinstance(agent, RainbowAgent):
        indices = indices[: agent.config.batch]
        drawn = indices, agent._sampler.probabilities(indices, agent._memory.size)
        agent._sampler.draw = lambda *_, **__: drawn  # type: ignore[method-assign]
        agent._sampler.update = lambda *_: None  # type: ignore[method-assign]
    else:
        per_step = max(1, agent.environments // agent.config.agent_steps_per_update)
        drawn = indices = indices[: per_step * agent.config.batch]
        agent._memory.draw_uniform = lambda *_: drawn  # type: ignore[method-assign]
    ready = agent._memory.gather(indices, agent.device)
    agent._memory.gather = lambda *_: ready  # type: ignore[method-assign]

    def learn() -> int:
        before = agent.updates
        if isinstance(agent, RainbowAgent):
            agent._learn(agent_steps_of(agent))
        else:
            # Of one environment only each fourth step learns: look for one that does.
            while not (losses := agent._learn()):
                agent._play.vector_steps += 1
            losses[-1].item()  # a GPU has only been told what to do until somebody asks
        return (agent.updates - before) * agent.config.agent_steps_per_update

    return learn


def _watch(agent: PqnAgent | ReplayAgent, clock: Callable[[], float]) -> tuple[dict[str, Callable[[], float]], _Timers]:
    """Starts to time the parts of the loop. Returns what each took so far, and the timers, to be closed."""
    timers = _Timers(clock)
    if isinstance(agent, PqnAgent):
        waits = [timers.on(group, "finish") for group in agent._groups]
        acting = timers.on(agent, "_act")
        learning = timers.on(agent, "_learn")
        parts = {"waiting for emulation": lambda: sum(wait() for wait in waits), "acting": acting, "learning": learning}
        return parts, timers
    acting = timers.on(agent, "_act")
    # Emulation shows only as the time the learner waits for it, for it runs beside the learning.
    waiting = timers.on(agent._play, "finish")
    if isinstance(agent, RainbowAgent):
        names: list[tuple[Any, str]] = [(agent._sampler, "draw"), (agent._sampler, "update"), (agent._memory, "gather")]
    else:
        names = [(agent._memory, "draw_uniform"), (agent._memory, "gather")]
    updates = timers.on(agent, "_learn")
    sampling_parts = [timers.on(owner, name) for owner, name in names]

    def sampling() -> float:
        return sum(part() for part in sampling_parts)

    return {
        "waiting for emulation": waiting,
        "acting": acting,
        "sampling": sampling,
        "learning": lambda: updates() - sampling(),
    }, timers


class _Timers:
    """Stand-ins for functions that add up the time of their calls, until closed."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._undo: list[Callable[[], None]] = []

    def on(self, owner: Any, name: str) -> Callable[[], float]:
        method, spent, clock = getattr(owner, name), [0.0], self._clock
        is_own = name in vars(owner)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = clock()
            try:
                return method(*arguments, **named)
            finally:
                spent[0] += clock() - began

        def timed_generator(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
            generator = method(*arguments, **named)
            while True:
                began = clock()
                try:
                    event = next(generator)
                except StopIteration as end:
                    return end.value
                finally:
                    spent[0] += clock() - began
                yield event

        setattr(owner, name, timed_generator if inspect.isgeneratorfunction(method) else timed)
        self._undo.append(lambda: setattr(owner, name, method) if is_own else delattr(owner, name))
        return lambda: spent[0]

    def close(self) -> None:
        for undo in self._undo:
            undo()


def _next_progress(events: Iterator[Any]) -> None:
    while not isinstance(next(events), Progress):
        pass
