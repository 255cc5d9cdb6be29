"""Ctrl-C and SIGTERM, taken as a wish to stop that is heard where it suits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Self


class StopSignals:
    """Counts SIGINT and SIGTERM, in place of what they do otherwise, until it is left. For the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._another)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _another(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does: what is half written is removed. For the main thread."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def unheard_by_children(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that are started meanwhile block these signals from their first instruction on.

    A terminal sends Ctrl-C to every process of a command, `timeout` does so with SIGTERM; a child that is just starting
    would die of it. The parent hears what came meanwhile when this ends.
    """
    resource_tracker.ensure_running()  # its own start would lift the block below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
