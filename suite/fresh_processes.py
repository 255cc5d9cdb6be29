"""Work in fresh processes, which end with the command, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from typing import Any

from suite.stop_signals import StopSignals, unheard_by_children

SPAWN = multiprocessing.get_context("spawn")
_POLL_SECONDS = 0.2


class Stopped(Exception):
    """Ctrl-C or SIGTERM came before the work was done."""


def in_processes(
    count: int,
    signals: StopSignals,
    function: Callable[..., Any],
    *arguments: Any,
    begin: Callable[..., None] | None = None,
    begin_with: tuple[Any, ...] = (),
) -> list[Any]:
    """What `function` returns in each of `count` fresh processes.

    Signals are counted meanwhile, not raised: in the middle of starting a process, an exception would leave the pool
    unable to end.

    Args:
        signals: entered.
        begin: called with `begin_with` in each process first.

    Raises:
        Stopped: a signal came; the processes were ended in the middle of their work.
    """
    with ProcessPoolExecutor(count, SPAWN, initializer=_begin, initargs=(begin, begin_with)) as pool:
        try:
            with unheard_by_children(signal.SIGINT, signal.SIGTERM):
                futures = [pool.submit(function, *arguments) for _ in range(count)]
            while wait(futures, timeout=_POLL_SECONDS).not_done:
                if signals.count:
                    raise Stopped
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
    return [future.result() for future in futures]


def _begin(begin: Callable[..., None] | None, begin_with: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*begin_with)


def _end_with_parent() -> None:
    """A command that was killed can end no process itself."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
