"""Where runs run: an executor takes specs and brings each as far as it gets, whatever becomes of the others.

`LocalExecutor` gives every run a process of its own, some at a time. The first Ctrl-C (or SIGTERM) asks the processes
to stop at their next checkpoint, a second one kills them. A process whose parent died stops by itself. A run that
crashes or hangs is started again, as often as `Supervision` allows (`--restarts N`, once by default).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from results.schema import RunSpec
from suite.run_process import CRASHED, execute_run, work
from suite.stop_signals import StopSignals, unheard_by_children

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from suite.run_messages import RunOptions, RunStatus

_POLL_SECONDS = 0.2
_FAREWELL_SECONDS = 20.0  # how long a process that gave its result may take to end


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    spec: RunSpec
    result: str  # "done", "skipped" (was done before), "interrupted", "failed" or "not started"
    reason: str = ""  # of a failure, one line
    restarts: tuple[str, ...] = ()  # why it was started again, a line each time


class Audience(Protocol):
    """Whoever is shown how runs come along; called in the parent process only."""

    def started(self, spec: RunSpec) -> None: ...
    def status(self, spec: RunSpec, status: RunStatus) -> None: ...
    def restarting(self, spec: RunSpec, reason: str) -> None: ...  # `started` follows
    def finished(self, outcome: Outcome) -> None: ...
    def stopping(self) -> None: ...
    def note(self, line: str) -> None: ...  # about no run in particular, or a warning


@dataclass(frozen=True)
class Supervision:
    """When a run is started again, from its last checkpoint."""

    restarts: int  # of one run, at most
    silent_seconds: float  # a run that gives no sign of life for so long hangs, and is killed


class LocalExecutor:
    """Runs in processes of this machine, as many at once as there are `slots`."""

    def __init__(
        self,
        results: Path,
        slots: Sequence[RunOptions],
        supervision: Supervision,
        execute: Callable[..., str] = execute_run,
    ):
        """`slots`: the options (device, threads) of each place; `execute`: importable, see `suite.run.execute`."""
        self._results = results
        self._slots = slots
        self._supervision = supervision
        self._execute = execute

    def run(self, specs: Sequence[RunSpec], audience: Audience) -> list[Outcome]:
        """Outcomes in the order of `specs`. Call from the main thread: it takes over SIGINT and SIGTERM until then."""
        waiting = deque(specs)
        free = deque(self._slots)
        active: list[RunProcess] = []
        outcomes: dict[RunSpec, Outcome] = {}
        restarts: dict[RunSpec, tuple[str, ...]] = {}
        told_to_stop, is_full = 0, False
        with StopSignals() as signals:
            try:
                while active or (waiting and not signals.count):
                    while waiting and free and not signals.count and not is_full:
                        spec = waiting.popleft()
                        try:
                            active.append(RunProcess(spec, self._results, free[0], self._execute))
                        except OSError as error:  # no more processes, open files or memory
                            reason = f"its process cannot be started ({error.strerror or error})"
                            if active:
                                is_full = True
                                waiting.appendleft(spec)
                                audience.note(f"{spec}: {reason}; tried again when another run ends")
                                break
                            audience.started(spec)
                            outcomes[spec] = Outcome(spec, "failed", reason, restarts.get(spec, ()))
                            audience.finished(outcomes[spec])
                            continue
                        free.popleft()
                        audience.started(spec)
                    if signals.count > told_to_stop:
                        told_to_stop = signals.count
                        for worker in active:
                            worker.stop(at_once=told_to_stop > 1)
                        if told_to_stop == 1:
                            audience.stopping()
                    connection.wait([handle for worker in active for handle in worker.handles()], _POLL_SECONDS)
                    for worker in list(active):
                        for status in worker.statuses():
                            audience.status(worker.spec, status)
                        worker.end_if_silent(self._supervision.silent_seconds)
                        if not worker.has_ended():
                            continue
                        active.remove(worker)
                        is_full = False
                        free.append(worker.options)
                        spec, before = worker.spec, restarts.get(worker.spec, ())
                        outcome = worker.outcome(was_stopped=signals.count > 0)
                        if worker.crashed and not signals.count and len(before) < self._supervision.restarts:
                            restarts[spec] = (*before, outcome.reason)
                            audience.restarting(spec, outcome.reason)
                            waiting.appendleft(spec)
                            continue
                        outcomes[spec] = replace(outcome, restarts=before)
                        audience.finished(outcomes[spec])
            finally:
                for worker in active:  # only if something went wrong here
                    worker.abandon()
        return [outcomes.get(spec) or Outcome(spec, "not started", restarts=restarts.get(spec, ())) for spec in specs]


class RunProcess:
    """A run's process, from its parent's end: on this machine, or on a node of a cluster."""

    def __init__(self, spec: RunSpec, results: Path, options: RunOptions, execute: Callable[..., str]):
        self.spec = spec
        self.options = options
        self._result: tuple[str, str] | None = None
        self._result_at = 0.0
        self._silent_seconds = 0.0
        self._looked_at = time.monotonic()
        self._was_silent = False
        self.crashed = False  # known once `outcome` was asked for
        self._receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=work, args=(spec, results, options, execute, sender), name=str(spec)
        )
        with unheard_by_children(signal.SIGINT):
            self._process.start()
        sender.close()  # else the pipe would not end with the child

    def handles(self) -> list[Any]:
        """What becomes ready when there is news."""
        return [self._process.sentinel] if self._receiver.closed else [self._receiver, self._process.sentinel]

    def statuses(self) -> list[RunStatus]:
        """How far the run came since the last call; keeps its result, once that has come."""
        news = []
        try:
            while not self._receiver.closed and self._receiver.poll():
                message = self._receiver.recv()
                if isinstance(message, tuple):
                    self._result, self._result_at = message, time.monotonic()
                else:
                    news.append(message)
                self._silent_seconds = 0.0
        except (EOFError, OSError):
            self._receiver.close()
        return news

    def end_if_silent(self, allowed_seconds: float) -> None:
        """Kills the process if it gave no sign of life for so long. Call often."""
        now = time.monotonic()
        # Time in which this process itself stood still (Ctrl-Z, a laptop asleep) says nothing about the run.
        self._silent_seconds += min(now - self._looked_at, 10 * _POLL_SECONDS)
        self._looked_at = now
        if self._silent_seconds > allowed_seconds and self._result is None and self._process.exitcode is None:
            self._was_silent = True
            self._process.kill()

    def has_ended(self) -> bool:
        """Whether the process is gone; one that gave its result and does not leave is made to."""
        if self._result is not None and time.monotonic() - self._result_at > _FAREWELL_SECONDS:
            self._process.kill()
        if self._process.exitcode is None:
            return False
        self.statuses()
        self._receiver.close()
        self._process.join()
        return True

    def outcome(self, *, was_stopped: bool) -> Outcome:
        """What became of the run; call when its process has ended."""
        code = self._process.exitcode
        assert code is not None
        if self._result is not None:
            result, reason = self._result
            self.crashed = result == CRASHED
            return Outcome(self.spec, "failed" if self.crashed else result, reason)
        if was_stopped and -code in (signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
            return Outcome(self.spec, "interrupted", "killed before it wrote a checkpoint; goes on from the last one")
        self.crashed = True
        if self._was_silent:
            minutes = self._silent_seconds / 60
            return Outcome(self.spec, "failed", f"it hung: no sign of life for {minutes:.3g} minutes")
        if code >= 0:
            return Outcome(self.spec, "failed", f"its process ended with code {code} and no result")
        self.crashed = -code != signal.SIGKILL  # memory that ran out once runs out again
        hint = "" if self.crashed else ", perhaps because memory ran out"
        return Outcome(self.spec, "failed", f"its process was killed by {signal.Signals(-code).name}{hint}")

    def stop(self, *, at_once: bool, preempted: bool = False) -> None:
        """Asks for a checkpoint and the end, or ends it. `preempted`: not the user, but its machine is taken away."""
        if at_once:
            self._process.kill()
        elif preempted:
            if self._process.pid is not None and self._process.exitcode is None:
                os.kill(self._process.pid, signal.SIGUSR1)
        else:
            self._process.terminate()

    def abandon(self) -> None:
        self._process.kill()
        self._process.join()
        self._receiver.close()
