"""One writer at a time for each run."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
import psutil

from results.atomic import remove_leftovers
from results.errors import ResultsError

_LARGEST_PID = 2**31 - 1
_CLOCK_SECONDS = 2.0  # a clock that was set right moves the start of every process a little
LOCK_FILE = ".lock"
_HOLDER_FILE = ".holder.lock"  # beside it: to take a lock can empty the locked file, so the names lie in another one


class RunLock:
    """Holds a run's folder for this process, until left or until the process dies.

    Raises:
        ResultsError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._lock = filelock.FileLock(directory / LOCK_FILE, blocking=False)

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise ResultsError(
                f"another process ({self._holder()}) is writing {self._directory}; wait for it, or stop it first"
            ) from None
        except OSError as error:
            raise ResultsError(f"cannot write {self._directory}: {error.strerror or error}") from error
        try:
            holder = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}
            (self._directory / _HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
            remove_leftovers(self._directory)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self._directory / _HOLDER_FILE).unlink(missing_ok=True)
        self._lock.release()

    def _holder(self) -> str:
        holder = _read_holder(self._directory)
        # Without a holder: it took the lock a moment ago and has not signed yet.
        return "pid unknown" if holder is None else str(holder)


@dataclass(frozen=True)
class _Holder:
    pid: int
    started: float | None  # seconds since 1970; None from a suite that did not write it down
    host: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"

    def is_alive(self) -> bool:
        """Whether that very process runs, not a later one with its number; one of another host is taken at its word."""
        if self.host != socket.gethostname():
            return True
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return self.started is None or abs(started - self.started) <= _CLOCK_SECONDS


def writer(directory: Path) -> str | None:
    """Who is writing the run in `directory`, as "pid N on HOST"; None if nobody is. Takes no lock.

    A process of this host must be alive to count; one of another host is taken at its word.
    """
    holder = _read_holder(directory)
    return str(holder) if holder is not None and holder.is_alive() else None


def _read_holder(directory: Path) -> _Holder | None:
    """None where nobody signed, or where what stands there is no signature."""
    try:
        signed = json.loads((directory / _HOLDER_FILE).read_text(encoding="utf-8"))
        pid, started, host = signed["pid"], signed.get("started"), signed["host"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = (
        type(pid) is int
        and 0 < pid <= _LARGEST_PID
        and (started is None or (isinstance(started, float) and math.isfinite(started)))
        and isinstance(host, str)
        and re.fullmatch(r"[\w.-]{1,255}", host, re.ASCII) is not None
    )
    return _Holder(pid, started, host) if sound else None
