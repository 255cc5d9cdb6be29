"""Watches the head of a Ray cluster while a command uses it.

Ray ends the process of whoever has lost the head for a minute, with a line about its own parts. A head that was started
again is another cluster, and whoever still belongs to the old one is ended with a stack of calls. This watch ends the
command a little earlier, and says what to do.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

_EVERY_SECONDS = 5.0
_SILENT_EVERY_SECONDS = 0.5  # Ray notices within a few seconds that a head is another one
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
        cluster_of: Callable[[str], str | None] = lambda address: _cluster_of(address),
        every_seconds: float = _EVERY_SECONDS,
        give_up_seconds: float = _GIVE_UP_SECONDS,
    ):
        """`address`: HOST:PORT; `note` hears a line when the head falls silent, comes back, or is given up.

        `cluster_of`: the name of the cluster whose head answers there, None where it cannot be known.
        """
        self._address = address
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._head = f"the head of the cluster ({address})"
        self._note = note
        self._end = end
        self._cluster_of = cluster_of
        self._every_seconds = every_seconds
        self._give_up_seconds = give_up_seconds
        self._left = threading.Event()
        self._one_ends = threading.Lock()
        self._cluster: str | None = None
        self._silent_every_seconds = min(every_seconds, _SILENT_EVERY_SECONDS)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def end_if_lost(self) -> None:
        """Call where something failed that may need the head: ends the command if no head answers, or another one."""
        if not self._answers():
            self._give_up(f"{self._head} is lost")
        elif self._is_another():
            self._give_up(f"{self._head} was started again")

    def _watch(self) -> None:
        self._cluster = self._cluster_of(self._address) if self._answers() else None
        silent_since: float | None = None
        while not self._left.wait(self._every_seconds if silent_since is None else self._silent_every_seconds):
            if self._answers():
                if silent_since is None:
                    continue
                if self._is_another():
                    self._give_up(f"{self._head} was started again")
                    return
                self._note(f"{self._head} answers again")
                silent_since = None
            elif silent_since is None:
                silent_since = time.monotonic()
                self._note(f"{self._head} does not answer; without it no run can start or come home")
            elif time.monotonic() - silent_since > self._give_up_seconds:
                self._give_up(f"{self._head} is lost")
                return

    def _is_another(self) -> bool:
        """Whether the head that answers now is not the one that this command belongs to."""
        now = self._cluster_of(self._address)
        return self._cluster is not None and now is not None and now != self._cluster

    def _give_up(self, what: str) -> None:
        if not self._one_ends.acquire(blocking=False):
            return  # the other thread says it and ends
        self._note(
            f"{what}, so the runs on it and this command end. What came home is kept: start the cluster again on all "
            "of its machines (ray stop, then ray start), then give the same command"
        )
        self._end()

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), _ANSWER_SECONDS).close()
        except OSError:
            return False
        return True


def _cluster_of(address: str) -> str | None:
    """The id that a head draws as it starts, asked by a client of its own, since those of Ray's remember theirs."""
    try:
        raylet: Any = importlib.import_module("ray._raylet")
        return str(raylet.GcsClient(address=address).cluster_id.hex())
    except Exception:  # another version of Ray, or a head that went away again: whatever it is, nothing is known
        return None


def _end() -> None:
    """At once: the main thread may wait in a call of Ray's that only returns with a head."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which the display of progress hides
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
