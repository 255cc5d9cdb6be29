"""Watches the head of a Ray cluster while a command uses it.

Ray ends the process of whoever has lost the head for a minute, with a line about its own parts. This one ends it a
little earlier, and says what to do.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

_EVERY_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_GIVE_UP_SECONDS = 45.0  # Ray's own limit is 60


class HeadWatch:
    """Knocks at the head from a thread, from entering to leaving."""

    def __init__(
        self,
        address: str,
        note: Callable[[str], None],
        *,
        end: Callable[[], None] = lambda: _end(),
        every_seconds: float = _EVERY_SECONDS,
        give_up_seconds: float = _GIVE_UP_SECONDS,
    ):
        """`address`: HOST:PORT; `note` hears a line when the head falls silent, comes back, or is given up."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._note = note
        self._end = end
        self._every_seconds = every_seconds
        self._give_up_seconds = give_up_seconds
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _watch(self) -> None:
        silent_since: float | None = None
        head = f"the head of the cluster ({self._host}:{self._port})"
        while not self._left.wait(self._every_seconds):
            if self._answers():
                if silent_since is not None:
                    self._note(f"{head} answers again")
                silent_since = None
            elif silent_since is None:
                silent_since = time.monotonic()
                self._note(f"{head} does not answer; without it no run can start or come home")
            elif time.monotonic() - silent_since > self._give_up_seconds:
                self._note(
                    f"{head} is lost, so the runs on it and this command end. What came home is kept: start the "
                    "cluster again, then give the same command"
                )
                self._end()
                return

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), _ANSWER_SECONDS).close()
        except OSError:
            return False
        return True


def _end() -> None:
    """At once: the main thread may wait in a call of Ray's that only returns with a head."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which the display of progress hides
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
