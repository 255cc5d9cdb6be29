"""Temporary folders that are known by the process that made them, so that those of a killed one can be removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from results.lock import is_running, since_boot

OWNER_FILE = "owner"  # number and start of the process that made the folder


@contextmanager
def owned_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder for this process; removes those that killed processes left under such names first."""
    for left in abandoned(prefix):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        own(Path(name))
        yield Path(name)


def own(folder: Path) -> None:
    """Signs a folder that this process has made."""
    (folder / OWNER_FILE).write_text(f"{os.getpid()} {since_boot(os.getpid())}")


def abandoned(prefix: str) -> list[Path]:
    """Signed folders of this user, whose names begin so, and whose process has ended."""
    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError, ValueError):  # another command may be removing it; one that is not signed is not ours
            if folder.stat().st_uid == os.getuid() and not _is_owned(folder):
                found.append(folder)
    return found


def _is_owned(folder: Path) -> bool:
    pid, _, started = (folder / OWNER_FILE).read_text().partition(" ")
    if not started:
        return True  # being written at this moment
    return is_running(int(pid), float(started))
