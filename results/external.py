"""Scores measured elsewhere: read from CSV or from Dopamine's curves, kept beside the runs, never mixed with them.

They live in `external/`, a sibling of the results folder: `<name>.csv` (baseline, game, seed, frames, raw score)
and `<name>.json`, which says where they came from. Archives of whole runs are in `results.archive`.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from results.atomic import write_bytes, write_json
from results.errors import ResultsError, shown
from results.games import find_game
from results.hashing import sha256_hex
from results.manifest import load_json
from results.reference import DOPAMINE, DOPAMINE_AGENTS, DOPAMINE_FRAMES, dopamine_curves
from results.schema import parse_frames_directory
from results.store import BrokenRun, external_directory

FORMAT_VERSION = 1
DOPAMINE_WINDOW_POINTS = 5  # iterations of 1M frames that make one score
_PROVENANCE_KEYS = ("format_version", "name", "source", "protocol", "sha256", "rows", "imported_at")
MAX_CSV_BYTES = 32 << 20
MAX_CSV_ROWS = 200_000  # a hundred seeds of 35 baselines on 57 games
MAX_FRAMES = 10**12
MAX_SCORE = 1e15  # what a manifest may hold
_MAX_TEXT = 1000  # characters of a source or a protocol
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")


@dataclass(frozen=True, order=True)
class ExternalScore:
    """One score that somebody else measured."""

    baseline: str
    game: str  # as in the game table
    seed: int
    frames: int  # emulator frames of training
    score: float  # raw, not normalised


@dataclass(frozen=True)
class ExternalScores:
    """Everything that was imported beside one results folder."""

    scores: pd.DataFrame  # set, baseline, game, seed, frames, score; sorted
    provenance: dict[str, dict[str, Any]]  # by set: source, protocol, imported_at, ...
    broken: tuple[BrokenRun, ...]  # sets that cannot be used, to be named and left out


COLUMNS = tuple(field.name for field in fields(ExternalScore))


def read_scores_csv(path: Path, baselines: Collection[str] | None = None) -> list[ExternalScore]:
    """Raw scores from a CSV with the columns baseline, game, seed, frames, score, in any order.

    Args:
        baselines: names that are allowed; any well-formed name if None.
    Returns: sorted rows, games as the game table writes them.
    Raises:
        ResultsError: absent, empty, binary, other columns, or a line that is no score: names line, column and reason.
    """
    return _parse(_read(Path(path)), str(path), baselines)


def dopamine_scores(agent: str) -> list[ExternalScore]:
    """Dopamine's published runs of `agent` as scores: each the mean of its last five iterations.

    The baseline's name is `dopamine-` and the agent's: `dopamine-rainbow`. Raises ResultsError for an unknown agent.
    """
    by_lower = {name.lower(): name for name in DOPAMINE_AGENTS}
    if agent.lower() not in by_lower:
        raise ResultsError(f"unknown Dopamine agent {agent!r} (allowed: {', '.join(by_lower)})")
    curves = dopamine_curves(agents=[by_lower[agent.lower()]]).sort_values(["game", "run", "frames"])
    last = curves.groupby(["game", "run"]).tail(DOPAMINE_WINDOW_POINTS)
    means = last.groupby(["game", "run"])["mean_return"].agg(["mean", "size"])
    means = means[means["size"] == DOPAMINE_WINDOW_POINTS]
    baseline = f"dopamine-{agent.lower()}"
    return sorted(
        ExternalScore(baseline, str(game), int(run), DOPAMINE_FRAMES, float(mean))
        for (game, run), mean in means["mean"].items()  # type: ignore[misc]
    )


def store_scores(
    results: Path, name: str, scores: Sequence[ExternalScore], *, source: str, protocol: str = "unknown"
) -> Path:
    """Keeps `scores` as the set `name` beside `results`: all of them or none.

    Args:
        source: where they came from, in words.
        protocol: what is known of the protocol they were measured under.
    Returns: the CSV. Storing the same set again changes nothing.
    Raises:
        ResultsError: the name is unfit, holds other scores or the same from elsewhere already, or another set has a
            score of the same run.
    """
    if not _NAME.fullmatch(name):
        raise ResultsError(
            f"{shown(name)} is no name for a set of scores; give one with --name (up to 100 of a-z, 0-9, dots, dashes)"
        )
    for what, text in (("source", source), ("protocol", protocol)):
        _refuse_odd_text(what, text)
    if not scores:
        raise ResultsError("no scores to import")
    data = scores_csv(sorted(scores))
    rows = _parse(data, name, None)  # refuses duplicates, whatever made the rows
    folder = external_directory(results)
    path, provenance_path = folder / f"{name}.csv", folder / f"{name}.json"
    there = load_external(results)
    if provenance_path.exists() and path.exists():
        stated = there.provenance.get(name, {})
        is_other = path.read_bytes() != data
        if not is_other and (stated.get("source"), stated.get("protocol")) == (source, protocol):
            return path
        words = f"with source {shown(stated.get('source'))} and protocol {shown(stated.get('protocol'))}"
        raise ResultsError(
            f"{path} holds {'other scores already' if is_other else f'these scores already, {words}'}; delete it and "
            f"{provenance_path.name}{', or give another --name' if is_other else ', and import them again'}"
        )
    was_there = path.exists()
    if was_there and not _holds(path, rows):  # put there by hand, or by an import that was killed
        raise ResultsError(
            f"{path} is there, with other scores, and no {provenance_path.name} says where it comes from; "
            "move it away, or give another --name"
        )
    _refuse_known(rows, there.scores, name)
    provenance = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "source": source,
        "protocol": protocol,
        "sha256": sha256_hex(data),
        "rows": len(rows),
        "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_bytes(path, data)  # without its provenance a set does not count: a kill in between imports nothing
        write_json(provenance_path, provenance)
    except BaseException:
        if not was_there:
            path.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # somebody else put a set there meanwhile
                folder.rmdir()
        raise
    return path


def _refuse_known(rows: Sequence[ExternalScore], kept: pd.DataFrame, name: str) -> None:
    """Raises ResultsError for scores of runs that another set than `name` has scores of."""
    identity = list(COLUMNS[:4])
    ours = pd.DataFrame([astuple(row)[:4] for row in rows], columns=identity)
    clash = kept[kept["set"] != name].merge(ours, on=identity)
    if len(clash):
        first = clash.iloc[0]
        raise ResultsError(
            f"the set {first['set']!r} has a score of {first['baseline']} {first['game']} seed {first['seed']} "
            f"at {first['frames']} frames already ({len(clash)} in all); import each score once"
        )


def _holds(path: Path, rows: Sequence[ExternalScore]) -> bool:
    """Whether the CSV at `path` has these scores, however it is written."""
    try:
        return _parse(_read(path), str(path), None) == list(rows)
    except ResultsError:
        return False


def _refuse_odd_text(what: str, text: str) -> None:
    """Raises ResultsError for what JSON cannot hold, or a page cannot show."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ResultsError(f"the {what} {shown(text)} is no text in UTF-8; write it in another way") from None
    if not 0 < len(text) <= _MAX_TEXT or text.isspace() or not text.isprintable():
        raise ResultsError(f"the {what} {shown(text)} must be one line of 1 to {_MAX_TEXT} characters")


def store_dopamine(results: Path, agent: str) -> Path:
    """Keeps `dopamine_scores` as a set, with Dopamine's provenance. Raises as `dopamine_scores` and `store_scores`."""
    return store_scores(
        results,
        f"dopamine-{agent.lower()}",
        dopamine_scores(agent),
        source=f"{DOPAMINE.source} ({DOPAMINE.licence})",
        protocol=DOPAMINE.protocol,
    )


def load_external(results: Path) -> ExternalScores:
    """Every set of scores beside `results`, by name; a set that cannot be used is named in `broken`."""
    folder = external_directory(results)
    rows: list[tuple[Any, ...]] = []
    provenance: dict[str, dict[str, Any]] = {}
    broken: list[BrokenRun] = []
    for path in sorted(folder.glob("*.csv")):
        try:
            found, scores = _read_set(path)
        except ResultsError as error:
            broken.append(BrokenRun(path, str(error)))
            continue
        provenance[path.stem] = found
        rows += [(path.stem, *astuple(score)) for score in scores]
    return ExternalScores(pd.DataFrame(rows, columns=["set", *COLUMNS]), provenance, tuple(broken))


def _read_set(path: Path) -> tuple[dict[str, Any], list[ExternalScore]]:
    provenance_path = path.with_suffix(".json")
    if not provenance_path.exists():
        raise ResultsError(f"{path}: has no {provenance_path.name} that says where it comes from; import it again")
    provenance = load_json(provenance_path)
    if not isinstance(provenance, dict) or set(provenance) != set(_PROVENANCE_KEYS):
        raise ResultsError(f"{provenance_path}: must have the keys {', '.join(_PROVENANCE_KEYS)}")
    if provenance["format_version"] != FORMAT_VERSION:
        raise ResultsError(f"{provenance_path}: format {provenance['format_version']!r} is unknown: upgrade the suite")
    data = _read(path)
    if sha256_hex(data) != provenance["sha256"]:
        raise ResultsError(f"{path}: its bytes are not those that were imported (SHA-256 differs)")
    return provenance, _parse(data, str(path), None)


def scores_csv(scores: Iterable[ExternalScore]) -> bytes:
    """A table that `read_scores_csv` reads back, its rows in the order given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*astuple(score)[:-1], repr(float(score.score))] for score in scores)
    return text.getvalue().encode("utf-8")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CSV_BYTES + 1)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > MAX_CSV_BYTES:
        raise ResultsError(f"{path}: has more than {MAX_CSV_BYTES} bytes; no table of scores is that large")
    return data


def _parse(data: bytes, where: str, baselines: Collection[str] | None) -> list[ExternalScore]:
    if b"\0" in data or not _is_utf8(data):
        raise ResultsError(
            f"{where}: is no text in UTF-8; save it as CSV in UTF-8, with the columns {', '.join(COLUMNS)}"
        )
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        raise ResultsError(f"{where}: is empty; a CSV with the columns {', '.join(COLUMNS)} is expected")
    seen: dict[tuple[str, str, int, int], int] = {}
    scores: list[ExternalScore] = []
    for line, cells in _cells(data, where):
        if len(scores) == MAX_CSV_ROWS:
            raise ResultsError(f"{where}, line {line}: more than {MAX_CSV_ROWS} scores; split the file")
        score = _score(cells, f"{where}, line {line}", baselines)
        key = (score.baseline, score.game, score.seed, score.frames)
        if key in seen:
            raise ResultsError(
                f"{where}, line {line}: the same baseline, game, seed and frames as line {seen[key]}; keep one of them"
            )
        seen[key] = line
        scores.append(score)
    if not scores:
        raise ResultsError(f"{where}: has a header and no scores")
    return sorted(scores)


def _is_utf8(data: bytes) -> bool:
    """Decoded in pieces: as one text it would take four times its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), 1 << 20):
            decoder.decode(data[start : start + (1 << 20)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _cells(data: bytes, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of every line below the header."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            cells = [cell.strip() for cell in row]
            if header is None:
                if sorted(cells) != sorted(COLUMNS):
                    raise ResultsError(
                        f"{where}, line {reader.line_num}: the columns must be {', '.join(COLUMNS)}; "
                        f"found {', '.join(cells)[:200]}{_other_separator(cells)}"
                    )
                header = cells
            elif len(cells) != len(header):
                raise ResultsError(f"{where}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ResultsError(f"{where}, line {reader.line_num}: no CSV ({error})") from None


def _other_separator(header: list[str]) -> str:
    """A hint for a table that is not separated by commas, as spreadsheets write it in many countries."""
    found = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in header[0]), None)
    if len(header) > 1 or found is None:
        return ""
    return f"; separate the cells by commas, not by {found}, and write numbers with a point"


def refuse_unfit_name(baseline: str, where: str) -> None:
    """Raises ResultsError for what cannot be the name of a baseline."""
    if not _NAME.fullmatch(baseline):
        raise ResultsError(f"{where}: {shown(baseline)} is no name (up to 100 of lower case, digits, dots, dashes)")


def _score(cells: dict[str, str], where: str, baselines: Collection[str] | None) -> ExternalScore:
    baseline = cells["baseline"]
    refuse_unfit_name(baseline, f"{where}, column baseline")
    if baselines is not None and baseline not in baselines:
        nearest = difflib.get_close_matches(baseline, baselines)
        hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
        raise ResultsError(
            f"{where}, column baseline: unknown baseline {shown(baseline)}{hint}; if it is new, "
            f"add --new-baselines {baseline}"
        )
    try:
        game = find_game(cells["game"]).name
    except ResultsError as error:
        raise ResultsError(f"{where}, column game: {error}") from None
    return ExternalScore(
        baseline=baseline,
        game=game,
        seed=_seed(cells["seed"], where),
        frames=_frames(cells["frames"], where),
        score=_raw_score(cells["score"], where),
    )


def _seed(cell: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", cell):
        raise ResultsError(f"{where}, column seed: {shown(cell)} is no whole number from 0")
    return int(cell)


def _frames(cell: str, where: str) -> int:
    """Emulator frames: 40000000, or 40M."""
    try:
        frames = int(cell) if re.fullmatch(r"[0-9]{1,18}", cell) else parse_frames_directory(cell)
    except ValueError:
        frames = 0
    if not 0 < frames <= MAX_FRAMES:
        raise ResultsError(
            f"{where}, column frames: {shown(cell)} is no number of emulator frames (as 40000000 or 40M)"
        )
    return frames


def _raw_score(cell: str, where: str) -> float:
    if _NUMBER.fullmatch(cell) is None:  # `float` takes 2_0, other scripts' digits, and nan too
        unlike = "is not finite" if cell.lower().lstrip("+-") in ("nan", "inf", "infinity") else "is no number"
        raise ResultsError(f"{where}, column score: {shown(cell)} {unlike}")
    score = float(cell)
    if not abs(score) <= MAX_SCORE:
        raise ResultsError(f"{where}, column score: {shown(cell)} is more than any game gives ({MAX_SCORE:g})")
    return score
