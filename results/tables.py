"""From a folder of runs to tables that reports compute with: one row a run, learning curves, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from results.errors import ResultsError
from results.hashing import sha256_hex
from results.schema import EPISODE_KINDS, EPISODES_FILE, METRICS_FILE
from results.scores import SCORE_WINDOW_GAMES, curve_of, human_normalised
from results.store import TABLE_SCHEMAS, BrokenRun, Run, parse_table, read_table, scan

_IDENTITY = ("baseline", "game", "frames", "seed", "config_hash")
SCORE_COLUMNS = (
    *_IDENTITY,
    "protocol",
    "off_protocol",  # bool: a short budget scaled something (the manifest says what); such a run does not count
    "status",
    "frames_done",
    "score_train",  # raw; nan without games
    "score_greedy",
    "hns_train",
    "hns_greedy",
    "games",  # finished training games of the whole run; the score is the mean of the last 100 of them
    "directory",  # below the results folder, with /
    "frames_per_second",  # nan if unknown
    "wall_seconds",
    "device",  # "cpu" or "cuda"
    "hardware",  # the GPU's name, or the CPU's where no GPU was used
    "path",  # "plain" or "fast"
)


@dataclass(frozen=True)
class RunSet:
    """What a results folder holds."""

    root: Path
    runs: tuple[Run, ...]  # sound ones, of any status, sorted
    broken: tuple[BrokenRun, ...]  # to be named and left out

    @property
    def done(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.is_done)


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
            _check_tables(found)
        except ResultsError as error:
            broken.append(BrokenRun(found.directory, str(error)))
        else:
            runs.append(found)
    return RunSet(Path(root), tuple(runs), tuple(broken))


def final_scores(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run, in their order, columns `SCORE_COLUMNS`: the score at the end, or as far as the run got.

    Raises:
        ResultsError: a table cannot be read; `load_runs` has left such runs out.
    """
    rows = []
    for run in runs:
        games = _games(run)
        scores = {kind: _mean_of_last(games[kind][1]) for kind in EPISODE_KINDS}
        manifest = run.manifest
        rows.append(
            {
                **_identity(run),
                "protocol": manifest["protocol"],
                "off_protocol": bool(manifest["off_protocol"]),
                "status": run.status,
                "frames_done": run.frames_done,
                **{f"score_{kind}": score for kind, score in scores.items()},
                **{f"hns_{kind}": human_normalised(score, run.spec.game) for kind, score in scores.items()},
                "games": len(games["train"][1]),
                "directory": str(run.spec.directory),
                "frames_per_second": _number(manifest["frames_per_second"]),
                "wall_seconds": float(manifest["wall_seconds"]),
                "device": manifest["hardware"].get("device"),
                "hardware": manifest["hardware"].get("gpu") or manifest["hardware"].get("cpu"),
                "path": manifest["path"],
            }
        )
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def curves(runs: Iterable[Run], points: np.ndarray | Sequence[int]) -> pd.DataFrame:
    """Learning curves of `runs` at `points` [P] emulator frames.

    Returns: a row per run, kind and point: baseline, game, frames (the budget), seed, config_hash, kind, at_frames,
        score, hns; nan before the first game and beyond what the run has played. A finished run has played its whole
        budget, though whole updates may end a little before it.

    Raises:
        ResultsError: a table cannot be read, or its games are out of order.
    """
    at = np.asarray(points, dtype=np.int64)
    parts = []
    for run in runs:
        played = run.spec.frames if run.is_done else run.frames_done
        for kind, (frames, returns) in _games(run).items():
            try:
                scores = curve_of(frames, returns, at)
            except ValueError as error:
                raise ResultsError(f"{run.directory / EPISODES_FILE}: {error}") from None
            scores[at > played] = np.nan
            part = {"kind": kind, "at_frames": at, "score": scores, "hns": human_normalised(scores, run.spec.game)}
            parts.append((run, part))
    return _stack(parts, ("kind", "at_frames", "score", "hns"))


def metrics(runs: Iterable[Run], names: Sequence[str]) -> pd.DataFrame:
    """Metrics and diagnostics of `runs` by name; a name that ends in / stands for all that begin with it.

    Returns: a row per run and value: baseline, game, frames (the budget), seed, config_hash, at_frames, name, value.

    Raises:
        ResultsError: a table cannot be read.
    """
    prefixes = tuple(name for name in names if name.endswith("/"))
    parts = []
    for run in runs:
        table = _read_if_any(run, METRICS_FILE, ("frames", "name", "value"))
        known, codes = _decode(table["name"])
        wanted = np.array([name in names or name.startswith(prefixes) for name in known], dtype=bool)
        chosen = wanted[codes]
        part = {
            "at_frames": table["frames"].to_numpy()[chosen],
            "name": np.array(known, dtype=object)[codes[chosen]],
            "value": table["value"].to_numpy()[chosen],
        }
        parts.append((run, part))
    return _stack(parts, ("at_frames", "name", "value"))


def _check_tables(run: Run) -> None:
    for name in TABLE_SCHEMAS:
        path = run.directory / name
        entry = run.manifest["files"].get(name)
        if not run.is_done and not path.exists() and entry is None:
            continue  # stopped before its first tables
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
        if run.is_done:
            if entry is None:
                raise ResultsError(f"{path}: the manifest of this finished run does not list it")
            if sha256_hex(data) != entry["sha256"]:
                raise ResultsError(f"{path}: its bytes are not those that the run wrote (SHA-256 differs)")
        # Where the checksum fits, the columns' names are all that is left to doubt.
        parse_table(data, name, where=str(path), columns=() if run.is_done else None)


def _games(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{kind: (frames [G], episode returns [G])}, in order, up to the budget."""
    table = _read_if_any(run, EPISODES_FILE, ("frames", "episode_return", "kind"))
    frames, returns = table["frames"].to_numpy(), table["episode_return"].to_numpy()
    names, codes = _decode(table["kind"])
    games = {}
    for kind in EPISODE_KINDS:
        chosen = codes == (names.index(kind) if kind in names else -1)
        games[kind] = (frames[chosen], returns[chosen])
    return games


def _decode(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """(texts, index into them of each row) of a column of `pa.dictionary` type."""
    values = column.combine_chunks()
    return values.dictionary.to_pylist(), values.indices.to_numpy(zero_copy_only=False)


def _read_if_any(run: Run, name: str, columns: Sequence[str]) -> pa.Table:
    if not run.is_done and not (run.directory / name).exists():
        return TABLE_SCHEMAS[name].empty_table().select(list(columns))
    return read_table(run.directory, name, columns)


def _mean_of_last(returns: np.ndarray) -> float:
    return float(np.mean(returns[-SCORE_WINDOW_GAMES:])) if len(returns) else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _identity(run: Run) -> dict[str, Any]:
    return {name: getattr(run.spec, name) for name in _IDENTITY}


def _stack(parts: Sequence[tuple[Run, dict[str, Any]]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows of every part under the identity of its run."""
    frames = [pd.DataFrame({**_identity(run), **part}) for run, part in parts if len(part["at_frames"])]
    if not frames:
        return pd.DataFrame(columns=[*_IDENTITY, *columns])
    return pd.concat(frames, ignore_index=True)
