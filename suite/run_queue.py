"""In which order runs start where many run at once, and how long that takes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from results.schema import RunSpec
from suite.plan import RunState


class RunQueue:
    """Runs in the order of the plan: what closes a claim soonest first, and more seeds later.

    One exception keeps the end short. Once a waiting run takes as long as everything that waits would take on all
    places together, it goes first: started last, it would run alone at the end.
    """

    def __init__(self, specs: Iterable[RunSpec], seconds: Callable[[RunSpec], float]):
        """`seconds`: how long a run is expected to take; any unit does, for only ratios count."""
        self._order = deque(specs)
        self._seconds = {spec: max(0.0, seconds(spec)) for spec in self._order}
        self._left = sum(self._seconds.values())
        self._longest = [(-taken, number, spec) for number, (spec, taken) in enumerate(self._seconds.items())]
        heapq.heapify(self._longest)
        self._waiting = set(self._order)

    def __len__(self) -> int:
        return len(self._waiting)

    def pop(self, places: int) -> RunSpec:
        """The run to start next, where so many run at once. Raises IndexError if none waits."""
        while self._longest and self._longest[0][2] not in self._waiting:
            heapq.heappop(self._longest)
        while self._order and self._order[0] not in self._waiting:
            self._order.popleft()
        chosen = self._order[0]
        if -self._longest[0][0] * max(1, places) >= self._left > 0:
            chosen = self._longest[0][2]
        self._waiting.remove(chosen)
        self._left -= self._seconds[chosen]
        return chosen

    def put_back(self, spec: RunSpec) -> None:
        """A run that is to be started again goes first: others may wait for its results."""
        self._waiting.add(spec)
        self._left += self._seconds[spec]
        self._order.appendleft(spec)
        heapq.heappush(self._longest, (-self._seconds[spec], -len(self._order), spec))


def time_to_end(specs: Iterable[RunSpec], seconds: Callable[[RunSpec], float], places: int) -> float:
    """Seconds until the last of `specs` is done, on so many places that each work through the queue."""
    queue = RunQueue(specs, seconds)
    free_at = [0.0] * places
    end = 0.0
    while len(queue):
        done = heapq.heappop(free_at) + seconds(queue.pop(places))
        end = max(end, done)
        heapq.heappush(free_at, done)
    return end


def expected_seconds(states: Sequence[RunState], speeds: Mapping[str, float]) -> Callable[[RunSpec], float]:
    """How long a run will take, at measured frames/s of its baseline; of one that is not measured, at the slowest."""
    left = {state.spec: state.spec.frames - state.frames_done for state in states if state.spec}
    unknown = min(speeds.values(), default=1.0)
    return lambda spec: left[spec] / speeds.get(spec.baseline, unknown)


def plan_seconds(states: Sequence[RunState], speeds: Mapping[str, float], slots: int) -> float | None:
    """Of the runs that are left and whose baseline has a measured speed, on so many places; None without any."""
    left = [state.spec for state in states if state.spec and state.state not in ("done", "running")]
    timed = [spec for spec in left if spec.baseline in speeds]
    return time_to_end(timed, expected_seconds(states, speeds), slots) if timed else None
