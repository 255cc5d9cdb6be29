"""One writer at a time for each run."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
import psutil

from results.atomic import remove_leftovers
from results.errors import ResultsError

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
            holder = {"pid": os.getpid(), "host": socket.gethostname()}
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
        return "pid unknown" if holder is None else f"pid {holder[0]} on {holder[1]}"


def writer(directory: Path) -> str | None:
    """Who is writing the run in `directory`, as "pid N on HOST"; None if nobody is. Takes no lock.

    A process of this host must be alive to count; one of another host is taken at its word.
    """
    holder = _read_holder(directory)
    if holder is None or (holder[1] == socket.gethostname() and not psutil.pid_exists(holder[0])):
        return None
    return f"pid {holder[0]} on {holder[1]}"


def _read_holder(directory: Path) -> tuple[int, str] | None:
    try:
        holder = json.loads((directory / _HOLDER_FILE).read_text(encoding="utf-8"))
        return int(holder["pid"]), str(holder["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
