"""One writer at a time for each run."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import filelock
import psutil

from results.atomic import remove_leftovers
from results.errors import ResultsError

_LARGEST_PID = 2**31 - 1
_START_SECONDS = 2.0  # the system tells its own start in whole seconds, and not always the same one
LOCK_FILE = ".lock"
_HOLDER_FILE = ".holder.lock"  # beside it: to take a lock can empty the locked file, so the names lie in another one


class LockLost(ResultsError):
    """This process no longer holds the folder that it wrote; another may, so nothing more of it is to be written."""


class RunLock:
    """Holds a run's folder for this process, until left or until the process dies.

    Raises:
        ResultsError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._lock = filelock.FileLock(directory / LOCK_FILE, blocking=False)
        self._signature = b""

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
            # The lock of a living holder can be had if its lock file was removed.
            holder = _read_holder(self._directory)
            if holder is not None and holder.host == socket.gethostname() and holder.is_alive():
                raise ResultsError(
                    f"another process ({holder}) is writing {self._directory}, though its lock file was removed; "
                    f"wait for it, or stop it first"
                )
            signature = {"pid": os.getpid(), "since_boot": since_boot(os.getpid()), "host": socket.gethostname()}
            self._signature = json.dumps(signature).encode()
            (self._directory / _HOLDER_FILE).write_bytes(self._signature)
            remove_leftovers(self._directory)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._signed() == self._signature:
            (self._directory / _HOLDER_FILE).unlink(missing_ok=True)
        self._lock.release()

    def check(self) -> None:
        """Call before anything is written: a lock guards nothing once its folder or its files were taken away.

        Two machines whose shared folder does not carry locks from one to the other are told apart here too: the
        later one signs, the earlier one finds a signature that is not its own.

        Raises:
            LockLost: the folder was removed or replaced, or another process signed it.
        """
        signed = self._signed()
        if signed == self._signature:
            return
        if not self._directory.is_dir():
            raise LockLost(f"{self._directory} was removed while this run was written to it")
        holder = _read_holder(self._directory)
        if holder is None:
            raise LockLost(f"the lock of {self._directory} was removed while this run was written to it")
        raise LockLost(f"another process ({holder}) has taken over {self._directory}; this one writes nothing more")

    def _signed(self) -> bytes | None:
        try:
            return (self._directory / _HOLDER_FILE).read_bytes()
        except OSError:
            return None

    def _holder(self) -> str:
        holder = _read_holder(self._directory)
        # Without a holder: it took the lock a moment ago and has not signed yet.
        return "pid unknown" if holder is None else str(holder)


@dataclass(frozen=True)
class _Holder:
    pid: int
    since_boot: float | None  # seconds from the system's start to the process's; None where that was not written down
    host: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"

    def is_alive(self) -> bool:
        """Whether that very process runs, not a later one with its number; one of another host is taken at its word."""
        return self.host != socket.gethostname() or is_running(self.pid, self.since_boot)


def since_boot(pid: int) -> float:
    """Seconds from the system's start to the process's: a clock that is set moves both. Raises psutil.NoSuchProcess."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def is_running(pid: int, started: float | None) -> bool:
    """Whether the process that had this number, and started so long after the system, still runs.

    One that has ended is in the system's list until its parent waits for it, and some never do. While threads of it
    are still ending, so is what it holds.
    """
    try:
        found = since_boot(pid)
        process = psutil.Process(pid)
        has_ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return False
    return not has_ended and (started is None or abs(found - started) <= _START_SECONDS)


def writer(directory: Path) -> str | None:
    """Who is writing the run in `directory`, as "pid N on HOST"; None if nobody is. Takes no lock.

    A process of this host must be alive to count; one of another host is taken at its word.
    """
    holder = _read_holder(directory)
    return str(holder) if holder is not None and holder.is_alive() else None


def writer_here(directory: Path) -> str | None:
    """The same of a process of this host alone: of another host it may be gone, and its run free."""
    holder = _read_holder(directory)
    is_here = holder is not None and holder.host == socket.gethostname()
    return str(holder) if holder is not None and is_here and holder.is_alive() else None


def _read_holder(directory: Path) -> _Holder | None:
    """None where nobody signed, or where what stands there is no signature."""
    try:
        signed = json.loads((directory / _HOLDER_FILE).read_text(encoding="utf-8"))
        pid, since_boot, host = signed["pid"], signed.get("since_boot"), signed["host"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = (
        type(pid) is int
        and 0 < pid <= _LARGEST_PID
        and (since_boot is None or (isinstance(since_boot, float) and math.isfinite(since_boot)))
        and isinstance(host, str)
        and re.fullmatch(r"[\w.-]{1,255}", host, re.ASCII) is not None
    )
    return _Holder(pid, since_boot, host) if sound else None
