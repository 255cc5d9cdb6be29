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
        self.results = results
        self.slots = slots
        self.supervision = supervision
        self.execute = execute

    def run(self, specs: Sequence[RunSpec], audience: Audience) -> list[Outcome]:
        """Outcomes in the order of `specs`. Call from the main thread: it takes over SIGINT and SIGTERM until then."""
        with StopSignals() as signals:
            session = _Session(self, specs, audience, signals)
            session.work()
        return session.outcomes()


class _Session:
    """One call of `LocalExecutor.run`."""

    def __init__(
        self, executor: LocalExecutor, specs: Sequence[RunSpec], audience: Audience, signals: StopSignals
    ) -> None:
        self._executor = executor
        self._specs = specs
        self._audience = audience
        self._signals = signals
        self._waiting = deque(specs)
        self._free = deque(executor.slots)
        self._active: list[RunProcess] = []
        self._outcomes: dict[RunSpec, Outcome] = {}
        self._restarts: dict[RunSpec, tuple[str, ...]] = {}
        self._told_to_stop = 0
        self._is_full = False  # no process more can be started until one ends

    def work(self) -> None:
        """Until all runs have ended, or no more is started and the active ones have stopped."""
        try:
            while self._active or (self._waiting and not self._signals.count):
                self._start_waiting()
                self._pass_signals_on()
                connection.wait([handle for worker in self._active for handle in worker.handles()], _POLL_SECONDS)
                for worker in list(self._active):
                    self._look_at(worker)
        finally:
            for worker in self._active:  # only if something went wrong here
                worker.abandon()

    def outcomes(self) -> list[Outcome]:
        """Of all runs, in their order."""
        return [
            self._outcomes.get(spec) or Outcome(spec, "not started", restarts=self._restarts.get(spec, ()))
            for spec in self._specs
        ]

    def _start_waiting(self) -> None:
        while self._waiting and self._free and not self._signals.count and not self._is_full:
            spec = self._waiting.popleft()
            try:
                process = RunProcess(spec, self._executor.results, self._free[0], self._executor.execute)
            except OSError as error:  # no more processes, open files or memory
                self._not_started(spec, f"its process cannot be started ({error.strerror or error})")
                continue
            self._free.popleft()
            self._active.append(process)
            self._audience.started(spec)

    def _not_started(self, spec: RunSpec, reason: str) -> None:
        if self._active:
            self._is_full = True
            self._waiting.appendleft(spec)
            self._audience.note(f"{spec}: {reason}; tried again when another run ends")
            return
        self._audience.started(spec)
        self._finish(Outcome(spec, "failed", reason))

    def _pass_signals_on(self) -> None:
        if self._signals.count <= self._told_to_stop:
            return
        self._told_to_stop = self._signals.count
        for worker in self._active:
            worker.stop(at_once=self._told_to_stop > 1)
        if self._told_to_stop == 1:
            self._audience.stopping()

    def _look_at(self, worker: RunProcess) -> None:
        """Passes on what a process tells; of one that has ended, takes the outcome or starts its run again."""
        supervision = self._executor.supervision
        for status in worker.statuses():
            self._audience.status(worker.spec, status)
        worker.end_if_silent(supervision.silent_seconds)
        if not worker.has_ended():
            return
        self._active.remove(worker)
        self._is_full = False
        self._free.append(worker.options)
        spec, before = worker.spec, self._restarts.get(worker.spec, ())
        outcome = worker.outcome(was_stopped=self._signals.count > 0)
        if worker.crashed and not self._signals.count and len(before) < supervision.restarts:
            self._restarts[spec] = (*before, outcome.reason)
            self._audience.restarting(spec, outcome.reason)
            self._waiting.appendleft(spec)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        outcome = replace(outcome, restarts=self._restarts.get(outcome.spec, ()))
        self._outcomes[outcome.spec] = outcome
        self._audience.finished(outcome)


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
