"""Brings runs home: what a run saves on some node of a cluster is kept where the command's results live.

A node sends a `Parcel` after each save. It holds the actions since the parcel before, the newest checkpoint, the tables
that changed and the manifest. They are written in that order, each file whole or not at all, so a run that is killed at
any moment goes on from what lies here. A run that starts on another node gets it as `Luggage`.

The keeper is a plain object: the cluster's engine gives it a process and calls it from afar, one call at a time.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.atomic import write_bytes
from results.errors import ResultsError
from results.hashing import sha256_hex
from results.lock import LockLost, RunLock
from results.schema import CODE_FOLDER, MANIFEST_FILE, RunSpec
from results.store import Run, open_run, run_directory
from suite.run_files import ACTION_LOG_FILE, CHECKPOINT_NAME, RUN_LOG_FILE

# Orders to a run: train, leave a node that is taken away, stop at a checkpoint, end at once.
GO_ON, LEAVE, STOP, KILL = 0, 1, 2, 3
_CODE_NAME = re.compile(rf"{CODE_FOLDER}/[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a user's own, as a run keeps it


class Held(str):
    """Why a run cannot start now, in one line: another process writes it. That may end soon, so it is worth waiting."""

    __slots__ = ()


@dataclass(frozen=True)
class Luggage:
    """What a run takes along to the node where it starts."""

    files: Mapping[str, bytes]  # manifest, tables, checkpoints, kept code; empty for a run that begins
    actions: bytes = b""  # the whole action log so far


@dataclass(frozen=True)
class Parcel:
    """What one save changed in a run's folder."""

    actions_offset: int  # bytes of the action log that lie at home already
    actions: bytes  # those after them, up to the newest checkpoint
    files: Mapping[str, bytes]  # changed files, each whole; the manifest among them
    present: frozenset[str]  # checkpoints and action log that the folder has; others are removed at home
    printed: bytes = b""  # since the parcel before

    @property
    def sizes(self) -> Counter[str]:
        """Bytes of each kind of content: checkpoints, actions, tables, and the rest."""
        sizes = Counter({"actions": len(self.actions), "the rest": len(self.printed)})
        for name, data in self.files.items():
            kind = "checkpoints" if CHECKPOINT_NAME.fullmatch(name) else "the rest"
            sizes["tables" if name.endswith(".parquet") else kind] += len(data)
        return sizes


@dataclass(frozen=True)
class Answer:
    """What a node is told in return."""

    order: int  # GO_ON, LEAVE, STOP or KILL
    trouble: str = ""  # why the parcel was not kept, one line
    is_last: bool = False  # no later parcel will be kept either


@dataclass
class News:
    """What happened since the command asked last."""

    opened: dict[RunSpec, tuple[int, str]] = field(default_factory=dict)  # attempt and node of a run that starts
    statuses: dict[RunSpec, Any] = field(default_factory=dict)  # the newest of each run
    troubles: list[str] = field(default_factory=list)
    parcels: int = 0
    bytes_kept: Counter[str] = field(default_factory=Counter)  # by kind, as in `Parcel.sizes`


class Keeper:
    """Writes the results of all runs of one command. Holds the lock of each run that is under way."""

    def __init__(self, results: Path, *, shared: bool = False):
        """`shared`: the nodes write into `results` themselves; nothing is brought home, and they hold the locks."""
        self._results = results
        self._shared = shared
        self._locks: dict[RunSpec, RunLock] = {}
        self._attempts: dict[RunSpec, int] = {}
        self._orders: dict[RunSpec, int] = {}
        self._order_to_all = GO_ON
        self._news = News()
        self._troubles: dict[RunSpec, str] = {}

    def open(self, spec: RunSpec, attempt: int, node: str) -> Luggage | str:
        """What the run needs to go on, or one line on why it cannot start; `Held` where another process writes it.

        `attempt` numbers the starts of a run. Only the latest is listened to: a node that was given up may come back.
        """
        if attempt < self._attempts.get(spec, 0):
            return "a later start of this run has taken its place"
        directory = run_directory(self._results, spec)
        if not self._shared and spec not in self._locks:
            lock = RunLock(directory)
            try:
                directory.mkdir(parents=True, exist_ok=True)
                lock.__enter__()
            except (ResultsError, OSError) as error:
                reason = " ".join(str(error).split())
                # What the system refuses (a read-only folder, a full disk) is no other process, and waiting is no use.
                refused = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
                return reason if refused else Held(reason)
            self._locks[spec] = lock
        self._attempts[spec] = attempt
        self._orders[spec] = GO_ON
        self._news.opened[spec] = attempt, node
        return Luggage({}) if self._shared else _luggage(directory)

    def tell(self, spec: RunSpec, attempt: int, status: Any) -> int:
        """Takes a sign of life, a `RunStatus` or None. Returns the order to that run."""
        if self._is_stale(spec, attempt):
            return KILL
        if status is not None:
            self._news.statuses[spec] = status
        return self._order(spec)

    def keep(self, spec: RunSpec, attempt: int, parcel: Parcel) -> Answer:
        """Writes a parcel. Where that fails, what was kept before is still whole and is gone on from.

        A run whose folder was removed, or taken over by another process, is ended: nothing more of it is written.
        """
        if self._is_stale(spec, attempt):
            return Answer(KILL)
        directory = run_directory(self._results, spec)
        is_lost = False
        try:
            if spec in self._locks:
                self._locks[spec].check()
            _write(directory, parcel)
            problems = _problems_of_finished(directory) if MANIFEST_FILE in parcel.files else []
        except LockLost as error:
            is_lost, problems = True, [str(error)]
        except OSError as error:
            problems = [f"{error.filename or directory}: {error.strerror or error}"]
        trouble = problems[0] if problems else ""
        if trouble and self._troubles.get(spec) != trouble:
            self._news.troubles.append(f"{spec}: cannot be kept: {trouble}")
        self._troubles[spec] = trouble
        if not trouble:
            self._news.parcels += 1
            self._news.bytes_kept += parcel.sizes
        return Answer(KILL if is_lost else self._order(spec), trouble, is_last=is_lost)

    def close(self, spec: RunSpec) -> None:
        """The run is over for now: lets its lock go, and listens no more to whoever still sends for it."""
        self._attempts.pop(spec, None)
        self._orders.pop(spec, None)
        self._troubles.pop(spec, None)
        lock = self._locks.pop(spec, None)
        if lock is not None:
            lock.__exit__(None, None, None)

    def order(self, order: int, spec: RunSpec | None = None) -> None:
        """Gives an order to one run, or to all that there are and will be."""
        if spec is None:
            self._order_to_all = order
        elif spec in self._orders:
            self._orders[spec] = order

    def news(self) -> News:
        """What happened since the last call."""
        news, self._news = self._news, News()
        return news

    def _order(self, spec: RunSpec) -> int:
        return max(self._order_to_all, self._orders[spec])

    def _is_stale(self, spec: RunSpec, attempt: int) -> bool:
        return self._attempts.get(spec) != attempt


def _luggage(directory: Path) -> Luggage:
    names = [p.name for p in directory.iterdir() if CHECKPOINT_NAME.fullmatch(p.name) or _is_table_or_manifest(p.name)]
    names += [f"{CODE_FOLDER}/{path.name}" for path in sorted((directory / CODE_FOLDER).glob("*"))]
    log = directory / ACTION_LOG_FILE
    return Luggage({name: (directory / name).read_bytes() for name in names}, log.read_bytes() if log.exists() else b"")


def _is_table_or_manifest(name: str) -> bool:
    return name == MANIFEST_FILE or (name.endswith(".parquet") and not name.startswith("."))


def _write(directory: Path, parcel: Parcel) -> None:
    """Raises OSError; what lies in `directory` can be gone on from then too."""
    if MANIFEST_FILE in parcel.files:
        _write_save(directory, parcel)
    elif parcel.files:
        raise OSError(0, "is no file of a save without its manifest", next(iter(parcel.files)))
    if parcel.printed:
        with (directory / RUN_LOG_FILE).open("ab") as file:
            file.write(parcel.printed)


def _write_save(directory: Path, parcel: Parcel) -> None:
    """The action log first, then the checkpoint, the tables and the manifest; what the run removed goes last."""
    order = sorted(parcel.files, key=lambda name: (name == MANIFEST_FILE, not name.startswith("checkpoint")))
    for name in order:
        _refuse_unfit(name, parcel.files[name])
    if ACTION_LOG_FILE in parcel.present:
        _append(directory / ACTION_LOG_FILE, parcel.actions_offset, parcel.actions)
    for name in order:
        if name.startswith(f"{CODE_FOLDER}/"):
            (directory / CODE_FOLDER).mkdir(exist_ok=True)
        write_bytes(directory / name, parcel.files[name])
    for path in directory.iterdir():
        if (CHECKPOINT_NAME.fullmatch(path.name) or path.name == ACTION_LOG_FILE) and path.name not in parcel.present:
            path.unlink()


def _append(log: Path, offset: int, data: bytes) -> None:
    """Puts `data` at `offset`; what a run wrote beyond that, and did again elsewhere, is cut off."""
    with log.open("ab") as file:
        if file.tell() < offset:
            raise OSError(0, f"has {file.tell()} bytes, {offset} were kept: it was changed from outside", str(log))
        file.truncate(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _refuse_unfit(name: str, data: bytes) -> None:
    """Raises OSError for a name that is no file of a run, or a checkpoint whose bytes are not those of its name."""
    checkpoint = CHECKPOINT_NAME.fullmatch(name)
    is_code = _CODE_NAME.fullmatch(name) is not None
    if not is_code and ((checkpoint is None and not _is_table_or_manifest(name)) or "/" in name):
        raise OSError(0, "is no file of a run", name)
    if checkpoint is not None and sha256_hex(data) != checkpoint["sha256"]:
        raise OSError(0, "its bytes changed on the way", name)


def _problems_of_finished(directory: Path) -> list[str]:
    """What `verify` says of a run that is done; nothing of one that goes on."""
    run = open_run(directory)
    if isinstance(run, Run) and not run.is_done:
        return []
    from results.verify import problems_of  # pandas, which a node that only sends has no use for

    return problems_of(run)
