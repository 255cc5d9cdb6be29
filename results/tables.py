"""The one reader of runs' tables: checked against their manifests, and as plain arrays.

Reports and exports both read through here, so that they agree on which runs are sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from results.errors import ResultsError
from results.hashing import sha256_hex
from results.schema import EPISODE_KINDS, EPISODES_FILE, METRICS_FILE
from results.scores import SCORE_WINDOW_GAMES, curve_of
from results.store import TABLE_SCHEMAS, BrokenRun, Run, parse_table, read_table, scan


@dataclass(frozen=True)
class RunSet:
    """What a results folder holds."""

    runs: tuple[Run, ...]  # sound ones, of any status, sorted
    broken: tuple[BrokenRun, ...]  # to be named and left out


def load_runs(root: Path) -> RunSet:
    """Finds every run below `root` and makes sure that its tables can be read.

    A finished run's tables must have the checksums of its manifest. Of an unfinished one, which may have been killed
    between its tables and its manifest, they must be readable. Tables are looked at one at a time and not kept.

    Raises:
        ResultsError: `root` is no folder, or cannot be listed.
    """
    runs: list[Run] = []
    broken: list[BrokenRun] = []
    for found in scan(root):
        if isinstance(found, BrokenRun):
            broken.append(found)
            continue
        try:
            for name in TABLE_SCHEMAS:  # where the checksum fits, the columns' names are all that is left to doubt
                _table(found, name, () if found.is_done else TABLE_SCHEMAS[name].names)
        except ResultsError as error:
            broken.append(BrokenRun(found.directory, str(error)))
        else:
            runs.append(found)
    return RunSet(tuple(runs), tuple(broken))


def final_score(run: Run) -> float | None:
    """The raw score at the end, or as far as the run got; None where no game was finished in training.

    Raises:
        ResultsError: a table cannot be read; `load_runs` has left such runs out.
    """
    _, returns = read_tables(run).games["train"]
    return float(np.mean(returns[-SCORE_WINDOW_GAMES:])) if len(returns) else None


@dataclass(frozen=True)
class RunTables:
    """What the tables of a run hold, in the order in which it happened."""

    games: Mapping[str, tuple[np.ndarray, np.ndarray]]  # kind -> (frames [G] int64, raw returns [G] float64)
    metrics: Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> (frames [M] int64, values [M] float64)

    def curve(self, kind: str, points: np.ndarray | Sequence[int]) -> np.ndarray:
        """The score at each of `points` [P] emulator frames: [P] float64, nan before the first game of `kind`."""
        return curve_of(*self.games[kind], points)


def read_tables(run: Run) -> RunTables:
    """Games and metrics of a run, checked; both empty where it stopped before its first tables.

    Raises:
        ResultsError: a table is absent, unreadable, not the bytes that the run wrote, or has games out of order.
    """
    table = _table(run, EPISODES_FILE, ("frames", "episode_return", "kind"))
    games = _by_name(table["kind"], table["frames"].to_numpy(), table["episode_return"].to_numpy())
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float64)
    games = {kind: games.get(kind, nothing) for kind in EPISODE_KINDS}
    if any(np.any(np.diff(frames) < 0) for frames, _ in games.values()):
        raise ResultsError(f"{run.directory / EPISODES_FILE}: games must be in the order in which they ended")
    table = _table(run, METRICS_FILE, ("frames", "name", "value"))
    return RunTables(games, _by_name(table["name"], table["frames"].to_numpy(), table["value"].to_numpy()))


def _table(run: Run, name: str, columns: Sequence[str]) -> pa.Table:
    """`columns` of a table. Of a run that is not done, which may have been killed between its tables and its manifest,
    it must only be readable, and has no rows where the run stopped before its first."""
    path = run.directory / name
    entry = run.manifest["files"].get(name)
    if not run.is_done:
        if path.exists():
            return read_table(run.directory, name, columns)
        return TABLE_SCHEMAS[name].empty_table().select(list(columns))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if entry is None:
        raise ResultsError(f"{path}: the manifest of this finished run does not list it")
    if sha256_hex(data) != entry["sha256"]:
        raise ResultsError(f"{path}: its bytes are not those that the run wrote (SHA-256 differs)")
    return parse_table(data, name, where=str(path), columns=columns)


def _by_name(
    column: pa.ChunkedArray, frames: np.ndarray, values: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows by the text in `column`, which is of `pa.dictionary` type; only the texts that have some."""
    joined = column.combine_chunks()
    codes = joined.indices.to_numpy(zero_copy_only=False)
    found = {}
    for code, name in enumerate(joined.dictionary.to_pylist()):
        chosen = codes == code
        if chosen.any():
            found[name] = frames[chosen], values[chosen]
    return found
