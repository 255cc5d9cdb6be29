"""The action log of a finished run, packed: what proves its score, for whoever steps an emulator through it.

    actions.parquet        committed: every environment's digest, and the actions of those that are kept
    actions-full.parquet   where that is not all of them: the whole log, beside it; it travels in archives

A row an environment (`ACTION_SCHEMA`), the training ones first. Each environment's actions stand together: an agent
repeats itself more in time than across environments, and a million actions take about a bit each.

A log of up to `WHOLE_BYTES` is kept whole. Of a longer one a few environments are *witnesses*. Which ones follows from
the digest of the whole log, so that a run cannot choose what it is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results.atomic import write_bytes
from results.errors import ResultsError
from results.hashing import sha256_hex
from results.schema import ACTION_SCHEMA, ACTIONS_FILE, FULL_ACTIONS_FILE
from results.store import Run, parse_table

WHOLE_BYTES = 512 << 10  # a run of 4M frames has 120 to 260 kB; a repository bears a thousand of these
WITNESS_SHARE = 0.03  # of each kind of environment; never fewer than one
ALL, WITNESSES = "all", "witnesses"
_LARGEST_LOG = 1 << 30  # bytes unpacked: fifteen times that of a run of 200M frames
_SLACK_BYTES = 1 << 20  # for what is not actions


@dataclass(frozen=True)
class PackedLog:
    """A log in memory: a row an environment, whose actions are empty where they are not kept."""

    table: pa.Table

    @property
    def sha256(self) -> str:
        """Identity of the whole log: of the digests of all environments, in order."""
        return sha256_hex("".join(self.table["sha256"].to_pylist()).encode("ascii"))

    @property
    def names(self) -> list[tuple[str, int]]:
        """(kind, environment) of every row."""
        return list(zip(self.table["kind"].to_pylist(), self.table["environment"].to_pylist(), strict=True))

    @property
    def kept(self) -> list[tuple[str, int]]:
        """Those whose actions are there."""
        return [name for name, actions in zip(self.names, self.table["actions"], strict=True) if actions.as_py()]

    def actions(self, names: Sequence[tuple[str, int]]) -> np.ndarray:
        """[vector steps, len(names)] uint8: the actions of kept environments. Raises KeyError for one that is not."""
        there = {
            name: actions.as_py()
            for name, actions in zip(self.names, self.table["actions"], strict=True)
            if actions.as_py()
        }
        return np.stack([np.frombuffer(there[name], dtype=np.uint8) for name in names], axis=1)

    def witnesses(self) -> PackedLog:
        """The same log with the actions of a few environments alone."""
        chosen = set(witnesses(self.sha256, self.names))
        actions = [
            value.as_py() if name in chosen else b""
            for name, value in zip(self.names, self.table["actions"], strict=True)
        ]
        column = ACTION_SCHEMA.get_field_index("actions")
        return PackedLog(self.table.set_column(column, ACTION_SCHEMA.field(column), pa.array(actions, pa.binary())))

    def to_bytes(self) -> bytes:
        """As Parquet: the same log gives the same bytes, for one version of pyarrow."""
        sink = pa.BufferOutputStream()
        pq.write_table(
            self.table, sink, compression="zstd", compression_level=19, use_dictionary=["kind"], write_statistics=False
        )
        return sink.getvalue().to_pybytes()


def witnesses(sha256: str, names: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The environments whose actions are kept of a long log: of each kind those whose hash with the log's is least."""

    def rank(name: tuple[str, int]) -> str:
        return sha256_hex(f"{sha256} {name[0]} {name[1]}".encode("ascii"))

    chosen: list[tuple[str, int]] = []
    for kind in dict.fromkeys(kind for kind, _ in names):
        of_kind = sorted((name for name in names if name[0] == kind), key=rank)
        chosen += of_kind[: max(1, round(WITNESS_SHARE * len(of_kind)))]
    return sorted(chosen, key=names.index)


def pack(actions: np.ndarray, *, train: int) -> PackedLog:
    """Packs actions [vector steps, environments] uint8, of which the first `train` environments are training ones."""
    columns = [np.ascontiguousarray(actions[:, i]).tobytes() for i in range(actions.shape[1])]
    kinds = ["train"] * train + ["greedy"] * (len(columns) - train)
    numbers = [*range(train), *range(len(columns) - train)]
    arrays = [
        pa.array(kinds).dictionary_encode().cast(ACTION_SCHEMA.field("kind").type),
        pa.array(numbers, pa.int16()),
        pa.array(list(map(sha256_hex, columns))),
        pa.array(columns, pa.binary()),
    ]
    return PackedLog(pa.Table.from_arrays(arrays, schema=ACTION_SCHEMA))


def write_log(directory: Path, log: PackedLog) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the packed log of a run, each file whole or not at all.

    Returns: the manifest's `actions`, and its entry among `files`.
    """
    data, kept = log.to_bytes(), ALL
    if len(data) > WHOLE_BYTES:
        write_bytes(directory / FULL_ACTIONS_FILE, data)
        data, kept = log.witnesses().to_bytes(), WITNESSES
    write_bytes(directory / ACTIONS_FILE, data)
    entry = {
        "sha256": log.sha256,
        "environments": log.table.num_rows,
        "vector_steps": len(log.actions(log.names[:1])),
        "kept": kept,
    }
    return entry, {ACTIONS_FILE: {"sha256": sha256_hex(data), "rows": log.table.num_rows}}


def read_log(run: Run, *, committed: bool = False) -> PackedLog | None:
    """The log of a run, the whole one where it is there; None for a run without.

    Args:
        committed: take what is committed of it even where the whole log is there.
    Raises:
        ResultsError: what is there cannot be read, or is not the log that the manifest names.
    """
    entry = run.manifest["actions"]
    if entry is None:
        return None
    full = run.directory / FULL_ACTIONS_FILE
    path = full if full.exists() and not committed else run.directory / ACTIONS_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    _refuse_bomb(data, entry, path)
    log = PackedLog(parse_table(data, path.name, where=str(path)))
    problems = log_problems(log, entry, is_whole=path == full)
    if problems:
        raise ResultsError(f"{path}: {problems[0]}")
    return log


def _refuse_bomb(data: bytes, entry: Mapping[str, Any], path: Path) -> None:
    """A few kilobytes of zeros can stand for gigabytes."""
    try:
        unpacked = pq.ParquetFile(pa.BufferReader(data)).metadata
    except (pa.ArrowException, OSError):
        return  # `parse_table` says what is wrong with it
    size = sum(unpacked.row_group(i).total_byte_size for i in range(unpacked.num_row_groups))
    if size > min(entry["environments"] * entry["vector_steps"], _LARGEST_LOG) + _SLACK_BYTES:
        raise ResultsError(f"{path}: is larger, unpacked, than the manifest's number of actions")


def log_problems(log: PackedLog, entry: Mapping[str, Any], *, is_whole: bool = False) -> list[str]:
    """What keeps `log` from being the one that a manifest's `actions` names, a line each.

    Args: `is_whole`: whether it must have the actions of every environment. A digest without actions can be made up,
        so a log that is taken for the whole one and is not would let a forger choose what is played again.
    """
    # The log's own digest is of these texts, one after another: texts of other lengths could be cut elsewhere.
    if any(re.fullmatch(r"[0-9a-f]{64}", digest) is None for digest in log.table["sha256"].to_pylist()):
        return ["has a digest that is no SHA-256, 64 hex digits"]
    problems = []
    if log.table.num_rows != entry["environments"]:
        problems.append(f"has {log.table.num_rows} environments, the manifest says {entry['environments']}")
    if log.sha256 != entry["sha256"]:
        problems.append("is the log of another run: its digest is not the manifest's")
    wanted = log.names if is_whole or entry["kept"] == ALL else witnesses(log.sha256, log.names)
    missing = set(wanted) - set(log.kept)
    if missing:
        problems.append(f"lacks the actions of {len(missing)} environments that must be kept")
    for kind, environment, digest, actions in zip(*log.table.columns, strict=True):
        data = actions.as_py()
        if data and (len(data) != entry["vector_steps"] or sha256_hex(data) != digest.as_py()):
            problems.append(f"actions of the {kind.as_py()} environment {environment.as_py()} do not fit their digest")
    return problems
