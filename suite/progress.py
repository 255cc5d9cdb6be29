"""Progress of runs on stderr: a live display on a terminal, an occasional plain line anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from results.schema import RunSpec
from suite import display
from suite.executors import Audience, Outcome
from suite.run_files import RUN_LOG_FILE

if TYPE_CHECKING:
    from typing import Self

    from rich.progress import Progress, TaskID

    from suite.run_messages import RunStatus

PLAIN_INTERVAL_SECONDS = 30.0
_BAR, _WIDE = 20, 120  # columns; a narrower terminal has no room for bars
STOPPING = "stopping: every run writes a checkpoint when its update ends; Ctrl-C again leaves at once"


class ProgressDisplay(Audience):
    """An audience that is entered before the first run and left after the last one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def progress_display(stream: TextIO, runs: int) -> ProgressDisplay:
    """The display that fits `stream`, for so many runs."""
    return LiveProgress(stream, runs) if is_terminal(stream) else PlainProgress(stream, runs)


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be rewritten there."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def seconds_left(status: RunStatus) -> float | None:
    """Until the end of the run, at its speed so far."""
    if not status.frames_per_second:
        return None
    return max(0.0, status.total_frames - status.frames) / status.frames_per_second


def status_line(spec: RunSpec, status: RunStatus) -> str:
    """How far a run is, in one line."""
    return f"{spec}: {status_facts(status)[0]}"


def status_facts(status: RunStatus) -> list[str]:
    """How far a run is, in ever fewer words."""
    share = display.percent(min(1.0, status.frames / status.total_frames))
    if status.phase == "retracing":
        return [f"resuming, {share} of its past re-played", f"resuming, {share}", share]
    of_all = f"{share} of {display.count(status.total_frames)} frames"
    speed = [f"{display.count(status.frames_per_second)} frames/s"] if status.frames_per_second else []
    seconds = seconds_left(status)
    left = [] if seconds is None else [f"{display.duration(seconds)} left"]
    score = [] if status.mean_return is None else [f"mean return {display.score(status.mean_return)}"]
    forms = ([of_all, *speed, *left, *score], [share, *speed, *left, *score], [share, *left, *score], [share, *left])
    return [", ".join(form) for form in (*forms, [share])]


def outcome_line(outcome: Outcome) -> str:
    """What became of a run, in one line."""
    words = {"skipped": "was done already", "interrupted": "stopped; its checkpoint is written"}
    if outcome.result == "failed":
        return f"{outcome.spec}: FAILED: {outcome.reason} (more in {outcome.spec.directory / RUN_LOG_FILE})"
    return f"{outcome.spec}: {outcome.reason or words.get(outcome.result, outcome.result)}"


def restart_line(spec: RunSpec, reason: str) -> str:
    return f"{spec}: {reason}; started again, from its checkpoint if it has one"


class PlainProgress(ProgressDisplay):
    """Lines without control codes: when a run starts and ends, and every half minute between."""

    def __init__(self, stream: TextIO, runs: int, *, clock: Callable[[], float] = time.monotonic):
        self._stream = stream
        self._runs = runs
        self._finished = 0
        self._clock = clock
        self._last_line: dict[RunSpec, float] = {}

    def started(self, spec: RunSpec) -> None:
        self._last_line[spec] = self._clock()
        self._print(f"{spec}: started")

    def status(self, spec: RunSpec, status: RunStatus) -> None:
        if self._clock() - self._last_line[spec] >= PLAIN_INTERVAL_SECONDS:
            self._last_line[spec] = self._clock()
            self._print(status_line(spec, status))

    def finished(self, outcome: Outcome) -> None:
        self._finished += 1
        self._print(f"{outcome_line(outcome)} ({self._finished} of {self._runs})")

    def restarting(self, spec: RunSpec, reason: str) -> None:
        self._print(restart_line(spec, reason))

    def stopping(self) -> None:
        self._print(STOPPING)

    def note(self, line: str) -> None:
        self._print(line)

    def _print(self, line: str) -> None:
        with suppress(OSError):  # a full disk below the log of a batch job is no reason to end its runs
            print(line, file=self._stream, flush=True)


class LiveProgress(ProgressDisplay):
    """A bar for every run in progress; colours follow NO_COLOR."""

    def __init__(self, stream: TextIO, runs: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(file=stream, highlight=False)
        bar = [BarColumn(bar_width=_BAR)] if console.width >= _WIDE else []
        self._room = console.width - (_BAR + 1 if bar else 0)  # for a run's name and facts
        self._progress: Progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            *bar,
            TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self._tasks: dict[RunSpec, TaskID] = {}
        self._overall = self._progress.add_task("all runs", total=runs, facts=f"0 of {runs}")
        self._runs = runs
        self._finished = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, spec: RunSpec) -> None:
        self._tasks[spec] = self._progress.add_task(str(spec), total=None, facts="starting")

    def status(self, spec: RunSpec, status: RunStatus) -> None:
        self._progress.update(
            self._tasks[spec],
            total=status.total_frames,
            completed=status.frames,
            facts=self._fitting(status_facts(status)),
        )

    def _fitting(self, facts: list[str]) -> str:
        """The longest form that leaves room for the longest name beside it."""
        room = self._room - 1 - max(len(str(spec)) for spec in self._tasks)
        return next((form for form in facts if len(form) <= room), facts[-1])

    def finished(self, outcome: Outcome) -> None:
        self._finished += 1
        self._progress.remove_task(self._tasks.pop(outcome.spec))
        self._progress.update(self._overall, completed=self._finished, facts=f"{self._finished} of {self._runs}")
        self._progress.console.print(outcome_line(outcome), markup=False)

    def restarting(self, spec: RunSpec, reason: str) -> None:
        self._progress.remove_task(self._tasks.pop(spec))
        self._progress.console.print(restart_line(spec, reason), markup=False)

    def stopping(self) -> None:
        self._progress.console.print(STOPPING, markup=False)

    def note(self, line: str) -> None:
        self._progress.console.print(line, markup=False)
