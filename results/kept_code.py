"""Code of a user's own that a run keeps, in its folder `code/`: read and checked here, executed nowhere.

`baseline.toml` has every value with its source; each file of `manifest["code"]` is the source that the run executed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.hashing import sha256_hex
from results.schema import CODE_BASELINE_FILE, CODE_FOLDER, CODE_KEY
from results.store import Run

_MAX_BYTES = 4 << 20  # of one file: source that a person wrote


@dataclass(frozen=True)
class KeptBaseline:
    """A user's baseline as one of its runs keeps it."""

    name: str
    title: str
    paper: str
    values: Mapping[str, Any]
    sources: Mapping[str, str]  # of each value
    references: Mapping[str, str]  # what each source's short name stands for
    files: Mapping[str, str]  # name -> text of the code, as far as it is UTF-8


def has_kept_code(run: Run) -> bool:
    """Whether `run` is of a user's own baseline."""
    return (run.directory / CODE_FOLDER / CODE_BASELINE_FILE).is_file()


def kept_files(run: Run) -> tuple[str, ...]:
    """Paths of the files below the run's folder that belong to its code, the ones that its manifest names."""
    names = sorted({entry["file"] for entry in run.manifest.get(CODE_KEY, {}).values()})
    present = [CODE_BASELINE_FILE] if has_kept_code(run) else []
    return tuple(f"{CODE_FOLDER}/{name}" for name in [*present, *names])


def read_kept(run: Run) -> KeptBaseline:
    """The baseline of a run that keeps one. Raises ValueError, in one line, for files that cannot be used."""
    folder = run.directory / CODE_FOLDER
    document = _document(folder / CODE_BASELINE_FILE)
    values = document["values"]
    return KeptBaseline(
        name=run.spec.baseline,
        title=document["title"],
        paper=document["paper"],
        values={key: entry["value"] for key, entry in values.items()},
        sources={key: str(entry["source"]) for key, entry in values.items()},
        references={key: str(text) for key, text in document["sources"].items()},
        files={
            entry["file"]: _bytes(folder / entry["file"]).decode("utf-8", "replace")
            for entry in run.manifest.get(CODE_KEY, {}).values()
        },
    )


def check_kept_code(run: Run) -> Iterator[str]:
    """What is wrong with the code that `run` keeps, a line each."""
    folder, listed = run.directory / CODE_FOLDER, run.manifest.get(CODE_KEY, {})
    hashed = run.manifest["config"].get(CODE_KEY, {})
    if {reference: entry["sha256"] for reference, entry in listed.items()} != dict(hashed):
        yield "code: the manifest's list and its configuration name different code"
    if not has_kept_code(run) and CODE_KEY not in run.manifest:
        yield from (f"{CODE_FOLDER}/{name}: the manifest does not list it" for name in _names(folder))
        return
    for reference, entry in listed.items():
        path = f"{CODE_FOLDER}/{entry['file']}"
        try:
            found = sha256_hex(_bytes(folder / entry["file"]))
        except ValueError as error:
            yield str(error)
            continue
        if found != entry["sha256"]:
            yield f"{path}: SHA-256 is {found}, the manifest says {entry['sha256']} of {reference}"
    known = {CODE_BASELINE_FILE, *(entry["file"] for entry in listed.values())}
    yield from (f"{CODE_FOLDER}/{name}: the manifest does not list it" for name in _names(folder) if name not in known)
    try:
        kept = _document(folder / CODE_BASELINE_FILE)
    except ValueError as error:
        yield str(error)
        return
    values = {"algorithm": kept["algorithm"], **{key: entry["value"] for key, entry in kept["values"].items()}}
    if kept["name"] != run.spec.baseline or values != run.manifest["config"]["baseline"]:
        yield f"{CODE_FOLDER}/{CODE_BASELINE_FILE}: is not the configuration that the manifest has"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _document(path: Path) -> dict[str, Any]:
    where = f"{CODE_FOLDER}/{path.name}"
    try:
        document = tomllib.loads(_bytes(path).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: no TOML ({error})") from None
    texts = all(isinstance(document.get(key), str) for key in ("name", "title", "algorithm", "paper"))
    tables = all(isinstance(document.get(key), dict) for key in ("sources", "values"))
    if not texts or not tables:
        raise ValueError(f"{where}: lacks name, title, algorithm, paper, [sources] or [values]")
    if not all(
        isinstance(entry, dict) and {"value", "source"} <= entry.keys() for entry in document["values"].values()
    ):
        raise ValueError(f"{where}: a value lacks its source")
    return document


def _bytes(path: Path) -> bytes:
    where = f"{CODE_FOLDER}/{path.name}"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{where}: cannot be read ({error.strerror or error})") from None
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{where}: is larger than any source file")
    return data
