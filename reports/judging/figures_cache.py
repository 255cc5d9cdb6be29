"""Figures of runs that an earlier report read, so that the next one reads only runs that changed.

A file for each run, in a folder of the user's cache. It names what it follows from: the manifest, size, times and inode
of the tables, the fractions that claims ask for, and the code that reads them. What does not fit, or is not the bytes
that were written, counts as not there. So the folder may be deleted, and two reports may use it at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reports.judging.run_figures import CURVE_POINTS, DIAGNOSTIC_POINTS, RunFigures, figures_of
from results.schema import EPISODES_FILE, METRICS_FILE
from results.shipped import ROOT, digest_of, shipped_files
from results.store import Run

# A table that is rewritten in place within the resolution of its times looks unchanged. So one that is younger than
# this is read and not kept.
SETTLED_SECONDS = 2.0
_PACKAGES = ("results", "reports")


class FiguresCache:
    """Reads figures of runs, each once as long as its files stay as they are."""

    def __init__(self, folder: Path | None = None):
        """`folder`: made when needed; None reads every run."""
        self._folder = folder
        self.read = 0  # runs whose tables were read

    def of(self, run: Run, fractions: tuple[float, ...]) -> RunFigures:
        """Figures of `run`. Raises ResultsError if a table cannot be used."""
        if self._folder is None:
            return self._read(run, fractions)
        place = self._place(run)
        before = _identity(run, fractions)
        kept = _load(place, before, fractions)
        if kept is not None:
            return kept
        figures = self._read(run, fractions)
        if _is_settled(run) and _identity(run, fractions) == before:
            with suppress(OSError):  # a cache that cannot be written costs time, no more
                _store(place, before, figures)
        return figures

    def _read(self, run: Run, fractions: tuple[float, ...]) -> RunFigures:
        self.read += 1
        return figures_of(run, fractions)

    def _place(self, run: Run) -> Path:
        assert self._folder is not None
        name = hashlib.sha256(os.fsencode(run.directory.resolve())).hexdigest()
        return self._folder / name[:2] / name[2:34]


def _tables(run: Run) -> list[os.stat_result | None]:
    found: list[os.stat_result | None] = []
    for name in (EPISODES_FILE, METRICS_FILE):
        try:
            found.append((run.directory / name).stat())
        except OSError:
            found.append(None)
    return found


def _identity(run: Run, fractions: tuple[float, ...]) -> bytes:
    """Everything that figures follow from, as one line. The time of a change (ctime) can't be set back by hand."""
    tables = [s and [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev] for s in _tables(run)]
    manifest = hashlib.sha256(json.dumps(run.manifest, sort_keys=True).encode()).hexdigest()
    return json.dumps([code_digest(), manifest, tables, list(fractions)]).encode()


def _is_settled(run: Run) -> bool:
    now = time.time()
    return all(s is None or max(s.st_mtime, s.st_ctime) < now - SETTLED_SECONDS for s in _tables(run))


@cache
def code_digest(root: Path = ROOT) -> str:
    """Of the code that figures come from, of what computes in it, and of the machine's name."""
    code = digest_of(shipped_files(_PACKAGES, (".py",), root), root)
    versions = (platform.python_version(), np.__version__, pa.__version__, platform.machine(), platform.node())
    return hashlib.sha256(repr((code, versions)).encode()).hexdigest()


def _store(place: Path, identity: bytes, figures: RunFigures) -> None:
    """Whole or not at all; not brought to the disk at once, since a damaged file is noticed."""
    facts = {
        "games": figures.games,
        "observations": figures.observations,
        "diagnostics": list(figures.diagnostics),
        "final": list(figures.final_diagnostics),
        "greedy": figures.greedy_score is not None,
        "median": figures.median_score is not None,
    }
    numbers = [
        figures.curve,
        figures.greedy_curve,
        np.array([*figures.at_fraction.values()], np.float64),
        np.array([figures.greedy_score or 0.0, figures.median_score or 0.0]),
        np.array([*figures.final_diagnostics.values()], np.float64),
        *figures.diagnostics.values(),
    ]
    content = b"\n".join([identity, json.dumps(facts).encode(), np.concatenate(numbers).astype("<f8").tobytes()])
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def _load(place: Path, identity: bytes, fractions: tuple[float, ...]) -> RunFigures | None:
    """What was kept under that identity; None where there is nothing sound."""
    try:
        digest, _, content = place.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    found, head, body = content.split(b"\n", 2)
    if found != identity:
        return None
    facts: dict[str, Any] = json.loads(head)
    numbers = np.frombuffer(body, "<f8").astype(np.float64)
    lengths = [CURVE_POINTS, CURVE_POINTS, len(fractions), 2, len(facts["final"])]
    lengths += [DIAGNOSTIC_POINTS] * len(facts["diagnostics"])
    curve, greedy_curve, at, scores, final, *diagnostics = np.split(numbers, np.cumsum(lengths)[:-1])
    return RunFigures(
        games=facts["games"],
        observations=facts["observations"],
        greedy_score=float(scores[0]) if facts["greedy"] else None,
        median_score=float(scores[1]) if facts["median"] else None,
        curve=curve,
        greedy_curve=greedy_curve,
        at_fraction=dict(zip(fractions, at.tolist(), strict=True)),
        diagnostics=dict(zip(facts["diagnostics"], diagnostics, strict=True)),
        final_diagnostics=dict(zip(facts["final"], final.tolist(), strict=True)),
    )
