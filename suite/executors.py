"""Where runs run: an executor takes specs and brings each as far as it gets, whatever becomes of the others.

`LocalExecutor` gives every run a process of its own, some at a time. The first Ctrl-C (or SIGTERM) asks the processes
to stop at their next checkpoint, a second one kills them. A process whose parent died stops by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from results.schema import RunSpec
from results.store import run_directory

if TYPE_CHECKING:  # `suite.run` imports torch
    from multiprocessing.context import SpawnProcess

    from suite.run import RunOptions, RunStatus

LOG_FILE = "run.log"
_POLL_SECONDS = 0.2
_STATUS_SECONDS = 0.2  # a run tells how far it is at most this often
_FAREWELL_SECONDS = 20.0  # how long a process that gave its result may take to end


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    spec: RunSpec
    result: str  # "done", "skipped" (was done before), "interrupted", "failed" or "not started"
    reason: str = ""  # of a failure, one line


class Watcher(Protocol):
    """Whoever shows progress; called in the parent process only."""

    def started(self, spec: RunSpec) -> None: ...
    def status(self, spec: RunSpec, status: RunStatus) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def stopping(self) -> None: ...


class Executor(Protocol):
    """What the command line needs of a place where runs run."""

    def run(self, specs: Sequence[RunSpec], watcher: Watcher) -> list[Outcome]:
        """Outcomes in the order of `specs`."""
        ...


def execute_run(spec: RunSpec, **arguments: Any) -> str:
    """`suite.run.execute`, imported where it runs."""
    from suite.run import execute

    return execute(spec, **arguments)


class LocalExecutor:
    """Runs in processes of this machine, as many at once as there are `slots`."""

    def __init__(self, results: Path, slots: Sequence[RunOptions], execute: Callable[..., str] = execute_run):
        """`slots`: the options (device, threads) of each place; `execute`: importable, see `suite.run.execute`."""
        self._results = results
        self._slots = slots
        self._execute = execute
        self._signals = 0

    def run(self, specs: Sequence[RunSpec], watcher: Watcher) -> list[Outcome]:
        """Call from the main thread: it takes over SIGINT and SIGTERM until it returns."""
        waiting = deque(specs)
        free = deque(self._slots)
        active: list[_Worker] = []
        outcomes: dict[RunSpec, Outcome] = {}
        told_to_stop = 0
        with self._catching_signals():
            try:
                while active or (waiting and not self._signals):
                    while waiting and free and not self._signals:
                        spec = waiting.popleft()
                        active.append(_Worker(spec, self._results, free.popleft(), self._execute))
                        watcher.started(spec)
                    if self._signals > told_to_stop:
                        told_to_stop = self._signals
                        for worker in active:
                            worker.stop(at_once=told_to_stop > 1)
                        if told_to_stop == 1:
                            watcher.stopping()
                    connection.wait([handle for worker in active for handle in worker.handles()], _POLL_SECONDS)
                    for worker in list(active):
                        for status in worker.statuses():
                            watcher.status(worker.spec, status)
                        if worker.has_ended():
                            active.remove(worker)
                            free.append(worker.options)
                            outcomes[worker.spec] = worker.outcome(was_stopped=told_to_stop > 0)
                            watcher.finished(outcomes[worker.spec])
            finally:
                for worker in active:  # only if something went wrong here
                    worker.abandon()
        return [outcomes.get(spec, Outcome(spec, "not started")) for spec in specs]

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        def count(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1

        previous = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class _Worker:
    """The parent's end of one run's process."""

    def __init__(self, spec: RunSpec, results: Path, options: RunOptions, execute: Callable[..., str]):
        self.spec = spec
        self.options = options
        self._result: tuple[str, str] | None = None
        self._result_at = 0.0
        self._receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=_work, args=(spec, results, options, execute, sender), name=str(spec)
        )
        resource_tracker.ensure_running()  # its own start would lift the block below
        # A terminal sends Ctrl-C to the children too; they inherit the block, so that not even a starting one dies.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
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
        except (EOFError, OSError):
            self._receiver.close()
        return news

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
        """Call when it has ended."""
        code = self._process.exitcode
        assert code is not None
        if self._result is not None:
            return Outcome(self.spec, *self._result)
        if was_stopped and -code in (signal.SIGTERM, signal.SIGKILL):
            return Outcome(self.spec, "interrupted", "killed before it wrote a checkpoint; goes on from the last one")
        if code >= 0:
            return Outcome(self.spec, "failed", f"its process ended with code {code} and no result")
        hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
        return Outcome(self.spec, "failed", f"its process was killed by {signal.Signals(-code).name}{hint}")

    def stop(self, *, at_once: bool) -> None:
        if at_once:
            self._process.kill()
        else:
            self._process.terminate()

    def abandon(self) -> None:
        self._process.kill()
        self._process.join()
        self._receiver.close()


def _work(spec: RunSpec, results: Path, options: RunOptions, execute: Callable[..., str], sender: Any) -> None:
    """A run's process: result or reason go through `sender`, all that is printed into the run's log."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    last_told = 0.0

    def report(status: RunStatus) -> None:
        nonlocal last_told
        if time.monotonic() - last_told < _STATUS_SECONDS:
            return
        last_told = time.monotonic()
        try:
            sender.send(status)
        except OSError:
            stop.set()  # the parent is gone, and nobody would take the result

    try:
        _redirect_output(run_directory(results, spec) / LOG_FILE)
        result = (
            execute(spec, results=results, options=options, report=report, stop_requested=stop.is_set),
            "",
        )
    except BaseException as error:
        traceback.print_exc()
        result = ("failed", _one_line(error))
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # nobody may be left to tell; the manifest says it
        sender.send(result)
    sys.exit(1 if result[0] == "failed" else 0)


def _redirect_output(log: Path) -> None:
    """Sends what this process and its libraries print into `log`, off the progress display."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _one_line(error: BaseException) -> str:
    from results.errors import ResultsError

    text = " ".join(str(error).split())
    if isinstance(error, ResultsError):
        return text  # says all by itself
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
