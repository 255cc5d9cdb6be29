"""Work in fresh processes, which end with the command, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
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
    """What `function` returns in each of `count` fresh processes. Else as `each_in_processes`.

    Args:
        begin: called with `begin_with` in each process first.
    """
    return each_in_processes(count, signals, function, [arguments] * count, begin=begin, begin_with=begin_with)


def each_in_processes(
    count: int,
    signals: StopSignals,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    returned: Callable[[int], None] = lambda _: None,
    begin: Callable[..., None] | None = None,
    begin_with: tuple[Any, ...] = (),
) -> list[Any]:
    """What `function` returns for the arguments of each call, in their order, worked off by `count` fresh processes.

    Signals are counted meanwhile, not raised: in the middle of starting a process, an exception would leave the pool
    unable to end.

    Args:
        signals: entered.
        returned: told of each call that returned, by its place in `calls`.
        begin: called with `begin_with` in each process first.

    Raises:
        Stopped: a signal came; the processes were ended in the middle of their work.
    """
    with ProcessPoolExecutor(count, SPAWN, initializer=_begin, initargs=(begin, begin_with)) as pool:
        try:
            with unheard_by_children(signal.SIGINT, signal.SIGTERM):
                futures = [pool.submit(function, *arguments) for arguments in calls]
            open_ones = set(futures)
            while open_ones:
                finished, open_ones = wait(open_ones, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()  # a call that failed ends the others
                    returned(futures.index(future))
                if open_ones and signals.count:
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
