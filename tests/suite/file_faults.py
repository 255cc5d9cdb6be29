"""Strikes at a chosen file operation of this process: kills it, or has the disk full.

What is intercepted: making a folder, opening a file for writing, each write that reaches the system, truncating, fsync,
renaming, removing. They are counted from 0, those below one folder alone.
"""

import errno
import io
import json
import os
import shutil
import signal
from pathlib import Path

TAKEN = json.dumps({"pid": 7, "since_boot": 1.0, "host": "elsewhere"}).encode()
WRITES = ("open", "write", "mkdir")  # what a full disk refuses


class Faults:
    """Counts the operations below `folder` once `install` was called."""

    def __init__(self, folder, *, kind=None, at=None):
        """`kind`: None (only count), "before" or "after" (SIGKILL), "full" (no space until a file is removed), "gone"
        (the folder is removed before the operation), "taken" (another machine signs the folder before it)."""
        self.operations = []  # "write actions.bin", ... in order
        self._folder, self._kind, self._at = Path(folder), kind, at
        self._full = False
        self.made_room = False  # since the disk was full

    def strike(self, name, path, operation):
        """Does `operation`, with what was chosen for it before or after."""
        path = Path(os.fsdecode(path))
        if not path.is_relative_to(self._folder):
            return operation()
        number = len(self.operations)
        self.operations.append(f"{name} {path.name}")
        here = number == self._at
        if here and self._kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if here and self._kind == "gone":
            shutil.rmtree(self._folder)
        if here and self._kind == "taken":
            (self._folder / ".holder.lock").write_bytes(TAKEN)
        self._full |= here and self._kind == "full"
        if self._full and name in WRITES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        try:
            return operation()
        finally:
            if here and self._kind == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            if self._full and name == "unlink":
                self._full = False
                self.made_room = True

    def install(self):
        """For the rest of this process's life."""
        paths = {}  # descriptor -> path, of files opened by number
        faults = self

        class Raw(io.FileIO):
            def write(self, data):
                return faults.strike("write", self.name, lambda: super(Raw, self).write(data))

            def truncate(self, size=None):
                return faults.strike("truncate", self.name, lambda: super(Raw, self).truncate(size))

        plain_open, plain_os_open = io.open, os.open

        def open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
            if isinstance(file, int) or not set(mode) & set("wax+"):
                return plain_open(file, mode, buffering, encoding, errors, newline, **more)
            path = os.path.abspath(os.fspath(file))
            raw = self.strike("open", path, lambda: Raw(path, mode.replace("b", "").replace("t", "")))
            paths[raw.fileno()] = path
            file = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)

        def os_open(path, flags, *rest, **more):
            if not flags & (os.O_WRONLY | os.O_RDWR):
                descriptor = plain_os_open(path, flags, *rest, **more)
            else:
                where = os.path.abspath(os.fspath(path))
                descriptor = self.strike("open", where, lambda: plain_os_open(path, flags, *rest, **more))
            paths[descriptor] = os.path.abspath(os.fspath(path))
            return descriptor

        def fsync(descriptor):
            # A process that is killed loses nothing that it wrote: to wait for the disk would only take time.
            return self.strike("fsync", paths.get(descriptor, "/"), lambda: None)

        def named(name, plain):
            def act(path, *rest, **more):
                where = os.path.abspath(os.fspath(path))
                return self.strike(name, where, lambda: plain(path, *rest, **more))

            return act

        io.open, os.open, os.fsync = open_file, os_open, fsync
        for name in ("mkdir", "unlink", "replace", "rename", "rmdir", "remove"):
            label = {"replace": "rename", "remove": "unlink"}.get(name, name)
            setattr(os, name, named(label, getattr(os, name)))
