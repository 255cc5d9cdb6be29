"""A run's own process: what it tells its parent, where its output goes, when it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.schema import RunSpec
from results.store import run_directory
from suite.run_files import RUN_LOG_FILE

if TYPE_CHECKING:
    from suite.run_messages import RunOptions, RunStatus

PREEMPTED = "preempted: its node was taken away"  # why a run stopped that nobody asked to
CRASHED = "crashed"  # a failure that may pass when the run is started again
# By name: to import torch could be what failed.
_HOPELESS = ("OutOfMemoryError", "DeviceLost", "RetraceMismatch", "ConfigError")
_STATUS_SECONDS = 0.2  # a run tells how far it is at most this often
_ORPHAN_SECONDS = 1.0  # what a run whose parent died has to reach a checkpoint


def execute_run(spec: RunSpec, **arguments: Any) -> str:
    """`suite.run.execute`, imported where it runs."""
    from suite.run import execute

    return execute(spec, **arguments)


def work(spec: RunSpec, results: Path, options: RunOptions, execute: Callable[..., str], sender: Any) -> None:
    """The process from its start to its end.

    Through `sender` go `RunStatus`es, and at last (result, reason): what `execute` returned, "failed" or `CRASHED`.
    All that is printed goes into the run's log.
    """
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    reasons: list[str] = []

    def preempt(_number: int, _frame: object) -> None:
        reasons.append(PREEMPTED)
        stop.set()

    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGUSR1, preempt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
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

    def stop_requested() -> bool | str:
        return stop.is_set() and (reasons[0] if reasons else True)

    try:
        _redirect_output(run_directory(results, spec) / RUN_LOG_FILE)
        result = (
            execute(spec, results=results, options=options, report=report, stop_requested=stop_requested),
            "",
        )
    except BaseException as error:
        with suppress(OSError):  # the log's disk may be full: the parent is to hear the reason all the same
            traceback.print_exc()
        result = (CRASHED if _may_pass(error) else "failed", _one_line(error))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    with suppress(OSError):  # nobody may be left to tell; the manifest says it
        sender.send(result)
    sys.exit(1 if result[0] in ("failed", CRASHED) else 0)


def _end_with_parent(stop: threading.Event) -> None:
    """Waits for the parent's death; then lets the run stop by itself, or ends it: its last checkpoint is good.

    An update can take a minute, and all that time the run's lock would keep out whoever tries again.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    stop.set()
    time.sleep(_ORPHAN_SECONDS)
    with suppress(OSError, ValueError):  # a full disk, a closed log: no reason to live on
        print("its parent died, and no checkpoint was near: the run ends at its last one", flush=True)
    os._exit(1)


def _may_pass(error: BaseException) -> bool:
    """Whether a new process might get further: not where memory or disk are short, or what is there is unfit."""
    from results.errors import ResultsError

    unfit = isinstance(error, ResultsError | MemoryError | OSError | KeyboardInterrupt)
    return not unfit and type(error).__name__ not in _HOPELESS


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
