"""Progress of many runs on many nodes: a few lines, however many there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from results.schema import RunSpec
from suite import display
from suite.executors import Outcome
from suite.progress import PLAIN_INTERVAL_SECONDS, STOPPING, ProgressDisplay, is_terminal, outcome_line, restart_line

if TYPE_CHECKING:
    from typing import Self

    from rich.live import Live

    from suite.run_messages import RunStatus


class Fleet:
    """What is known of all runs together."""

    def __init__(self, frames_left: dict[RunSpec, int]):
        """`frames_left`: of each run that is to be done, emulator frames."""
        self._budgets = frames_left
        self._active: dict[RunSpec, RunStatus | None] = {}
        self._done_frames = 0
        self.results: dict[str, int] = {}

    def started(self, spec: RunSpec) -> None:
        self._active[spec] = None

    def status(self, spec: RunSpec, status: RunStatus) -> None:
        self._active[spec] = status

    def left_off(self, spec: RunSpec) -> None:
        self._active.pop(spec, None)

    def finished(self, outcome: Outcome) -> None:
        self.left_off(outcome.spec)
        self.results[outcome.result] = self.results.get(outcome.result, 0) + 1
        self._done_frames += self._budgets.get(outcome.spec, 0)

    @property
    def frames_per_second(self) -> float:
        """Of all runs that train at this moment."""
        training = (status for status in self._active.values() if status is not None and status.phase == "training")
        return sum(status.frames_per_second or 0.0 for status in training)

    @property
    def seconds_left(self) -> float | None:
        """Until the whole matrix is done, at the speed of this moment; None while nothing is measured."""
        speed = self.frames_per_second
        under_way = 0.0
        for spec, status in self._active.items():
            if status is not None and status.phase == "training":
                share = status.frames / status.total_frames
                begun = spec.frames - self._budgets.get(spec, spec.frames)
                under_way += max(0.0, share * spec.frames - begun)
        left = sum(self._budgets.values()) - self._done_frames - under_way
        return max(0.0, left) / speed if speed else None

    def line(self) -> str:
        ended = sum(self.results.values())
        parts = [f"{display.count(ended)} of {display.count(len(self._budgets))} runs ended"]
        parts += [f"{number} {result}" for result, number in self.results.items() if result != "done"]
        parts.append(f"{len(self._active)} under way")
        if self.frames_per_second:
            parts.append(f"{display.count(self.frames_per_second)} frames/s in total")
        if self.seconds_left is not None:
            parts.append(f"about {display.duration(self.seconds_left)} left")
        return ", ".join(parts)


class FleetProgress(ProgressDisplay):
    """One line for all runs, rewritten on a terminal and repeated each half minute elsewhere; failures as they come."""

    def __init__(self, stream: TextIO, frames_left: dict[RunSpec, int], *, clock: Callable[[], float] = time.monotonic):
        self._stream = stream
        self._fleet = Fleet(frames_left)
        self._clock = clock
        self._said_at = clock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if is_terminal(self._stream):
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False)
            self._live = Live(console=console, transient=True, get_renderable=self._fleet.line)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._print(self._fleet.line())

    def started(self, spec: RunSpec) -> None:
        self._fleet.started(spec)
        self._say()

    def status(self, spec: RunSpec, status: RunStatus) -> None:
        self._fleet.status(spec, status)
        self._say()

    def restarting(self, spec: RunSpec, reason: str) -> None:
        self._fleet.left_off(spec)
        self._print(restart_line(spec, reason))

    def finished(self, outcome: Outcome) -> None:
        self._fleet.finished(outcome)
        if outcome.result == "failed":
            self._print(outcome_line(outcome))
        self._say()

    def stopping(self) -> None:
        self._print(STOPPING)

    def note(self, line: str) -> None:
        self._print(line)

    def _say(self) -> None:
        if self._live is None and self._clock() - self._said_at >= PLAIN_INTERVAL_SECONDS:
            self._said_at = self._clock()
            self._print(self._fleet.line())

    def _print(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False)
            return
        with suppress(OSError):  # a full disk below the log of a batch job is no reason to end its runs
            print(line, file=self._stream, flush=True)
