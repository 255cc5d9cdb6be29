"""The store: where runs live on disk, how their tables are written and read back, what a folder of results holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results.atomic import table_bytes, write_bytes
from results.errors import ResultsError
from results.hashing import sha256_hex
from results.manifest import read_manifest, read_spec
from results.schema import (
    ACTION_SCHEMA,
    ACTIONS_FILE,
    EPISODE_ENDS,
    EPISODE_KINDS,
    EPISODE_SCHEMA,
    EPISODES_FILE,
    FIRST_PROTOCOL,
    FULL_ACTIONS_FILE,
    MANIFEST_FILE,
    METRIC_SCHEMA,
    METRICS_FILE,
    TIMING_FILE,
    TIMING_SCHEMA,
    RunSpec,
)

if TYPE_CHECKING:  # half a second to import, and a scan needs no table
    import pandas as pd

TABLE_SCHEMAS: Mapping[str, pa.Schema] = {  # of the tables that every run has
    EPISODES_FILE: EPISODE_SCHEMA,
    METRICS_FILE: METRIC_SCHEMA,
    TIMING_FILE: TIMING_SCHEMA,
}
_SCHEMAS = {**TABLE_SCHEMAS, ACTIONS_FILE: ACTION_SCHEMA, FULL_ACTIONS_FILE: ACTION_SCHEMA}
_MAX_ROWS = 4_000_000  # four times the shortest games of 200M frames
_MAX_TABLE_BYTES = 512 << 20  # unpacked
_MAX_DEPTH = 7  # two more than the deepest run's folder has, so that a misplaced one is found and named


class Game(Protocol):
    """A finished game, as agents report it; units as in `EPISODE_SCHEMA`."""

    @property
    def frames(self) -> int: ...
    @property
    def environment(self) -> int: ...
    @property
    def episode_return(self) -> float: ...
    @property
    def length(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def end(self) -> str: ...


@dataclass(frozen=True)
class Run:
    """A run found on disk whose manifest is sound; its tables are not read yet."""

    spec: RunSpec
    directory: Path
    manifest: dict[str, Any]

    @property
    def status(self) -> str:
        return self.manifest["status"]

    @property
    def frames_done(self) -> int:
        """Training emulator frames so far."""
        return self.manifest["frames_done"]

    @property
    def is_done(self) -> bool:
        return self.status == "done"


@dataclass(frozen=True)
class BrokenRun:
    """A folder that should hold a run but cannot be used."""

    directory: Path
    reason: str  # one line


def run_directory(root: Path, spec: RunSpec) -> Path:
    """Where `spec` lives below the results folder `root`."""
    return Path(root) / spec.directory


def external_directory(results: Path) -> Path:
    """Where scores imported beside the results folder `results` are kept."""
    return Path(results).absolute().parent / "external"


def external_directories(folders: Iterable[Path]) -> dict[Path, Path]:
    """The same of several results folders, with the first that each lies beside: two folders may share one."""
    beside: dict[Path, Path] = {}
    for folder in folders:
        beside.setdefault(external_directory(folder).resolve(), folder)
    return beside


def episode_table(games: Sequence[Game]) -> pa.Table:
    """`games` as a table of `EPISODE_SCHEMA`, in their order. Raises ValueError for an unknown kind or end."""
    return pa.Table.from_arrays(
        [
            pa.array([game.frames for game in games], pa.int64()),
            pa.array([game.environment for game in games], pa.int16()),
            pa.array([game.episode_return for game in games], pa.float64()),
            pa.array([game.length for game in games], pa.int32()),
            _encode([game.kind for game in games], EPISODE_KINDS, EPISODE_SCHEMA.field("kind").type),
            _encode([game.end for game in games], EPISODE_ENDS, EPISODE_SCHEMA.field("end").type),
        ],
        schema=EPISODE_SCHEMA,
    )


def metric_table(rows: Sequence[tuple[int, str, float]]) -> pa.Table:
    """Rows of (frames, name, value) as a table of `METRIC_SCHEMA`, in their order."""
    names = [name for _, name, _ in rows]
    return pa.Table.from_arrays(
        [
            pa.array([frames for frames, _, _ in rows], pa.int64()),
            _encode(names, sorted(set(names)), METRIC_SCHEMA.field("name").type),
            pa.array([value for _, _, value in rows], pa.float64()),
        ],
        schema=METRIC_SCHEMA,
    )


def timing_table(rows: Sequence[tuple[int, float, float]]) -> pa.Table:
    """Rows of (frames, elapsed_seconds, frames_per_second) as a table of `TIMING_SCHEMA`, in their order."""
    columns = [[row[i] for row in rows] for i in range(3)]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, TIMING_SCHEMA, strict=True)],
        schema=TIMING_SCHEMA,
    )


def write_tables(directory: Path, *, episodes: pa.Table, metrics: pa.Table, timing: pa.Table) -> dict[str, Any]:
    """Writes the three tables of a run, each whole or not at all.

    Returns: {file name: {sha256, rows}}, the manifest's `files`. Raises ValueError if a table has another schema.
    """
    files = {}
    for name, table in ((EPISODES_FILE, episodes), (METRICS_FILE, metrics), (TIMING_FILE, timing)):
        if not table.schema.equals(TABLE_SCHEMAS[name]):
            raise ValueError(f"{name} must have the columns {_describe(TABLE_SCHEMAS[name])}")
        data = table_bytes(table)
        write_bytes(directory / name, data)
        files[name] = {"sha256": sha256_hex(data), "rows": table.num_rows}
    return files


def read_episodes(directory: Path) -> pd.DataFrame:
    """Every finished game of a run; columns of `EPISODE_SCHEMA`, kind and end categorical. Raises as `read_table`."""
    return read_table(directory, EPISODES_FILE).to_pandas(use_threads=False)


def read_metrics(directory: Path) -> pd.DataFrame:
    """Training metrics and diagnostics of a run, long form; columns of `METRIC_SCHEMA`. Raises as `read_table`."""
    return read_table(directory, METRICS_FILE).to_pandas(use_threads=False)


def read_timing(directory: Path) -> pd.DataFrame:
    """How fast a run went; columns of `TIMING_SCHEMA`. Raises as `read_table`."""
    return read_table(directory, TIMING_FILE).to_pandas(use_threads=False)


def read_table(directory: Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table of a run, all columns or the named ones.

    Raises:
        ResultsError: it is absent, no Parquet, or has other columns than `TABLE_SCHEMAS[name]`; names the file.
    """
    path = directory / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    return parse_table(data, name, where=str(path), columns=columns)


def parse_table(data: bytes, name: str, *, where: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in the bytes of a file of that name. Raises ResultsError, beginning with `where`."""
    wanted = _SCHEMAS[name]
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.schema_arrow
        if not found.equals(wanted):
            raise ResultsError(f"{where}: has the columns {_describe(found)}; expected {_describe(wanted)}")
        _refuse_oversized(file.metadata, where)
        # One small file at a time: starting threads would take longer than reading.
        table = file.read(columns=None if columns is None else list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ResultsError(f"{where}: no readable Parquet ({' '.join(str(error).split())})") from None
    if any(column.null_count for column in table.columns):
        raise ResultsError(f"{where}: has empty cells")
    return table


def _refuse_oversized(facts: pq.FileMetaData, where: str) -> None:
    """What a small file announces can fill the memory: it is looked at before anything is unpacked."""
    unpacked = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    if facts.num_rows > _MAX_ROWS or unpacked > _MAX_TABLE_BYTES:
        raise ResultsError(
            f"{where}: announces {facts.num_rows} rows, {unpacked} bytes, more than any run's "
            f"({_MAX_ROWS} rows, {_MAX_TABLE_BYTES} bytes)"
        )


def scan(root: Path) -> list[Run | BrokenRun]:
    """Every run below `root`, sorted by protocol (the first before all others), baseline, game, budget and seed.

    Reads manifests only.

    A folder whose manifest cannot be used, that has tables and no manifest, or that is not the run's own place below
    `root` (a copy would count as one more seed), comes back as a `BrokenRun`. A `root` that does not exist holds no
    runs.

    Raises:
        ResultsError: `root` is no folder, or cannot be listed.
    """
    root = Path(root)
    if not root.exists():
        return []
    if not root.is_dir():
        raise ResultsError(f"{root} is a file, not a folder of results; choose another --results")
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise ResultsError(f"{root}: cannot be listed ({error.strerror or error})") from None
    found = [_in_place(run, root) for run in _walk(root, depth=0)]
    return sorted(found, key=lambda run: _order(run, root))


def open_run(directory: Path) -> Run | BrokenRun:
    """The run in `directory`, as `scan` gives it."""
    try:
        manifest = read_manifest(directory)
    except ResultsError as error:
        return BrokenRun(directory, str(error))
    return Run(read_spec(manifest), directory, manifest)


def _walk(directory: Path, depth: int) -> Iterator[Run | BrokenRun]:
    try:
        with os.scandir(directory) as entries:
            names = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        yield BrokenRun(directory, f"{directory}: cannot be listed ({error.strerror or error})")
        return
    files = {name for name, is_folder in names if not is_folder}
    if MANIFEST_FILE in files:
        yield open_run(directory)
    elif files & TABLE_SCHEMAS.keys():
        yield BrokenRun(directory, f"{directory}: has tables but no {MANIFEST_FILE}")
    elif depth < _MAX_DEPTH:
        for name, is_folder in names:
            if is_folder and not name.startswith("."):
                yield from _walk(directory / name, depth + 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Also of a link; one that leads round in a circle is none, and hides nothing beside it."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _in_place(run: Run | BrokenRun, root: Path) -> Run | BrokenRun:
    if isinstance(run, BrokenRun):
        return run
    wanted = run.spec.directory.parts
    if run.directory.parts[len(root.parts) :] == wanted:
        return run
    above = run.directory.absolute().parents[len(wanted) - 1]  # `read_manifest` has compared the end of the path
    return BrokenRun(
        run.directory,
        f"{run.directory}: belongs to the run {run.spec}, whose place below --results is {run.spec.directory}; delete "
        f"it if it is a copy, or give the folder {above.name!r} that it lies in as --results",
    )


def _order(run: Run | BrokenRun, root: Path) -> tuple[str, str, str, int, int, str]:
    if isinstance(run, Run):
        spec = run.spec
        of_first = "" if spec.protocol == FIRST_PROTOCOL else spec.protocol
        return (of_first, spec.baseline, spec.game, spec.frames, spec.seed, str(run.directory))
    parts = [*run.directory.relative_to(root).parts, "", ""]
    return ("", parts[0], parts[1], 0, 0, str(run.directory))


def _encode(values: Sequence[str], names: Sequence[str], kind: pa.DictionaryType) -> pa.DictionaryArray:
    """`values` as indices into `names`: a fixed dictionary, so that equal rows give equal bytes."""
    index = {name: i for i, name in enumerate(names)}
    unknown = sorted(set(values) - index.keys())
    if unknown:
        raise ValueError(f"unknown {', '.join(map(repr, unknown))} (allowed: {', '.join(names)})")
    indices = np.fromiter((index[value] for value in values), dtype=np.int64, count=len(values))
    return pa.DictionaryArray.from_arrays(pa.array(indices).cast(kind.index_type), pa.array(names, kind.value_type))


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
