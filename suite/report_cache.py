"""What reports keep in the user's cache: a folder of figures, and whether a report still shows what its inputs say.

A report follows from files alone. If all of them have the size, times and inode that they had when it was made, and so
have the report's own, making it again would give the same bytes: it is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from results.atomic import write_bytes

_ROOT = Path(__file__).parent.parent
_CODE = ("suite", "baselines", "reports", "results", "docs")  # pages on baselines and on the protocol are shown
_DATA = ("results/runs", "reports/html")  # below these, what is read or made, not what reads and makes
_PACKAGES = (
    *("numpy", "pandas", "pyarrow", "jinja2", "markdown-it-py", "markupsafe"),
    *("torch", "envpool", "envpool-assets", "av", "pillow"),  # of clips
)
_MAX_DEPTH = 9  # deeper than any file that a report reads; a link in a circle ends there
_SETTLED_NS = 2_000_000_000  # a file younger than this may change again without its times showing it


def user_cache() -> Path:
    """The suite's folder below $XDG_CACHE_HOME or ~/.cache. It may be deleted at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "hadamax-suite"


@dataclass(frozen=True)
class Inputs:
    """What a report follows from."""

    digest: str
    are_settled: bool  # whether a later change would show


@dataclass(frozen=True)
class Made:
    """A report that was made: what the command says of it."""

    facts: dict[str, Any]  # of --json
    lines: tuple[str, ...]  # for stderr


def inputs_of(folders: Sequence[Path], files: Iterable[Path], choices: Any) -> Inputs:
    """Of a report on what is below `folders`. `files`: others that it reads; `choices`: its flags, fit for JSON."""
    digest, youngest = hashlib.sha256(), 0
    head = [choices, [str(folder) for folder in folders], platform.node(), platform.python_version(), _versions()]
    digest.update(json.dumps(head).encode())
    for line, changed_ns in chain(*(_below(folder.resolve()) for folder in folders), _code(), _each(files)):
        digest.update(line)
        youngest = max(youngest, changed_ns)
    return Inputs(digest.hexdigest(), time.time_ns() - youngest > _SETTLED_NS)


def recall(out: Path, inputs: Inputs) -> Made | None:
    """The report at `out`, if it is still what these inputs give and nobody touched it."""
    try:
        digest, _, content = _place(out).read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return None
        kept = json.loads(content)
        if kept["inputs"] != inputs.digest or kept["report"] != _report_digest(out):
            return None
        return Made(kept["facts"], tuple(kept["lines"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(out: Path, inputs: Inputs, made: Made) -> None:
    """Notes that the report at `out` is that of `inputs`. A cache that cannot be written costs time, no more."""
    content = json.dumps(
        {"inputs": inputs.digest, "report": _report_digest(out), "facts": made.facts, "lines": made.lines}
    ).encode()
    place = _place(out)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _place(out: Path) -> Path:
    return user_cache() / "reports" / hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:32]


def _report_digest(out: Path) -> str:
    digest = hashlib.sha256()
    for line, _ in _below(out.resolve()):
        digest.update(line)
    return digest.hexdigest()


def _code() -> Iterator[tuple[bytes, int]]:
    skipped = {str(_ROOT / name) for name in _DATA}
    for name in _CODE:
        yield from _below(_ROOT / name, skipped=skipped)


def _each(files: Iterable[Path]) -> Iterator[tuple[bytes, int]]:
    for file in files:
        with suppress(OSError):
            yield _facts(str(file.resolve()), file.stat())


def _below(folder: Path, depth: int = 0, skipped: Collection[str] = ()) -> Iterator[tuple[bytes, int]]:
    """A line for everything below `folder`, in the order of names, and when it changed; links are followed."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name == "__pycache__" or entry.path in skipped:
            continue
        with suppress(OSError):
            if not entry.is_dir():
                yield _facts(entry.path, entry.stat())
            elif depth < _MAX_DEPTH:
                # Of a folder its rights: its times change with every lock that comes and goes in it.
                yield os.fsencode(entry.path) + b"/" + str(entry.stat().st_mode).encode(), 0
                yield from _below(Path(entry.path), depth + 1, skipped)


def _facts(name: str, stat: os.stat_result) -> tuple[bytes, int]:
    # The time of a change (ctime) can't be set back by hand, unlike that of a modification.
    facts = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev, stat.st_mode)
    return os.fsencode(name) + b"\0" + repr(facts).encode() + b"\n", max(stat.st_mtime_ns, stat.st_ctime_ns)


def _versions() -> list[str | None]:
    found: list[str | None] = []
    for name in _PACKAGES:
        try:
            found.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            found.append(None)
    return found
