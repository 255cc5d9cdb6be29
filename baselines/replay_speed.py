"""How fast a replay agent trains, where its time goes, and what its updates alone would allow.

The agent is watched from outside: the calls that make up its loop are timed where they are made. Emulation shows only
as the time the learner waits for it, for it runs beside the learning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from baselines.agent import Progress
from baselines.c51 import C51Agent
from baselines.rainbow import RainbowAgent

ReplayAgent = C51Agent | RainbowAgent


@dataclass(frozen=True)
class ReplaySpeed:
    """Of one agent on one machine; a second is one of the clock that was read."""

    agent_steps_per_second: float
    updates_alone_agent_steps_per_second: float  # the same updates on ready-made batches, nothing else running
    shares: dict[str, float]  # of the loop's time: acting, sampling, learning, waiting for emulation, the rest

    @property
    def share_of_updates_alone(self) -> float:
        """1 if everything but the updates were free."""
        return self.agent_steps_per_second / self.updates_alone_agent_steps_per_second


def measure_speed(agent: ReplayAgent, *, blocks: int, clock: Callable[[], float] = time.perf_counter) -> ReplaySpeed:
    """Trains `agent` for some blocks and times it, then its updates alone; the agent is spent afterwards.

    Args:
        agent: fresh, of a budget that leaves `blocks` after its learning has started, and one more to warm up.
        clock: seconds; `time.thread_time` leaves out what other programs take, and all but the learner's own thread.
    """
    events = agent.train()
    while agent.updates == 0:
        next(events)
    _next_progress(events)
    _next_progress(events)  # the first one may have begun before learning did

    parts = {"acting": _Timed(agent, "_act", clock), "learning": _Timed(agent, "_learn", clock)}
    parts["waiting for emulation"] = _Timed(agent._play, "finish", clock)
    sampling = [_Timed(agent._memory, "draw_uniform", clock), _Timed(agent._memory, "gather", clock)]
    if isinstance(agent, RainbowAgent):
        sampling[0] = _Timed(agent._sampler, "draw", clock)  # draws uniformly itself, now and then
        sampling.append(_Timed(agent._sampler, "update", clock))

    frames, began = agent._play.frames, clock()
    for _ in range(blocks):
        _next_progress(events)
    seconds = clock() - began
    agent_steps = (agent._play.frames - frames) / 4
    spent = {name: part.seconds for name, part in parts.items()}
    spent["sampling"] = sum(part.seconds for part in sampling)
    spent["learning"] -= spent["sampling"]
    spent["the rest"] = seconds - sum(spent.values())

    alone = _updates_alone(agent, clock) / agent.config.agent_steps_per_update
    return ReplaySpeed(agent_steps / seconds, 1 / alone, {name: part / seconds for name, part in spent.items()})


def _updates_alone(agent: ReplayAgent, clock: Callable[[], float], least: int = 16) -> float:
    """Seconds of one update whose batches are ready made."""
    indices = agent._memory.draw_uniform(agent.config.batch * 4, agent._streams.replay)
    drawn: Any = indices
    if isinstance(agent, RainbowAgent):
        indices = indices[: agent.config.batch]
        drawn = indices, agent._sampler.probabilities(indices, agent._memory.size)
        agent._sampler.draw = lambda *_, **__: drawn  # type: ignore[method-assign]
        agent._sampler.update = lambda *_: None  # type: ignore[method-assign]
    else:
        agent._memory.draw_uniform = lambda *_: drawn  # type: ignore[method-assign]
    batch = agent._memory.gather(indices, agent.device)
    agent._memory.gather = lambda *_: batch  # type: ignore[method-assign]

    before, began = agent.updates, clock()
    while agent.updates < before + least:
        if isinstance(agent, RainbowAgent):
            agent._learn(agent._play.frames // 4)
        else:
            agent._learn()
    return (clock() - began) / (agent.updates - before)


class _Timed:
    """Stands in for a method and adds up the time of its calls."""

    def __init__(self, owner: object, name: str, clock: Callable[[], float]):
        self.seconds = 0.0
        self._method, self._clock = getattr(owner, name), clock
        setattr(owner, name, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        began = self._clock()
        try:
            return self._method(*arguments, **named)
        finally:
            self.seconds += self._clock() - began


def _next_progress(events: Any) -> None:
    while not isinstance(next(events), Progress):
        pass
