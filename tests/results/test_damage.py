"""Every byte of a small run's files changed, and every file cut at every length: named, or of no consequence.

The short form takes some of the places, `-m slow` all of them. Counts are printed (`-rP` shows them).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_builder import build_run, verify

from results.store import BrokenRun, Run, open_run
from results.tables import load_runs, read_tables

SHORT = 25  # places of a file


def damaged(data: bytes, at: int, how: str) -> bytes:
    if how == "cut":
        return data[:at]
    return data[:at] + bytes([data[at] ^ (1 << at % 8 if how == "flip" else 0xFF)]) + data[at + 1 :]


def read(runs: tuple[Run, ...]) -> list[Any]:
    """All that is read of them, to be compared."""
    tables = [(run.manifest, read_tables(run)) for run in runs]
    return [
        (manifest, {name: [part.tolist() for part in rows] for name, rows in (found.games | found.metrics).items()})
        for manifest, found in tables
    ]


def look(root: Path, expected: list[Any]) -> str:
    """What becomes of the run below `root`: a report leaves it out, `verify` names it, or nothing of it has changed."""
    found = load_runs(root)
    problems = [problem for _, lines in verify(root) for problem in lines]
    assert all("\n" not in problem for problem in problems)
    if found.broken:
        assert problems, "what a report leaves out, verify must name"
        assert all("\n" not in run.reason for run in found.broken)
        return "left out"
    assert read(found.runs) == expected
    return "named" if problems else "no change"


def damage_everywhere(root: Path, places: int) -> Counter[tuple[str, str]]:
    directory = build_run(root)
    expected = read(load_runs(root).runs)
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted(directory.iterdir()):
        sound = path.read_bytes()
        for at in sorted({int(at) for at in np.linspace(0, len(sound) - 1, places)}):
            for how in ("flip", "invert", "cut"):
                path.write_bytes(damaged(sound, at, how))
                counts[path.name, look(root, expected)] += 1
        path.write_bytes(sound)
        path.rename(path.with_suffix(".away"))
        counts[path.name, look(root, expected) if list(root.rglob("manifest.json")) else "left out"] += 1
        path.with_suffix(".away").rename(path)
    for (name, what), number in sorted(counts.items()):
        print(f"{name}: {what}: {number}")
    return counts


def unnoticed_in_the_manifest_alone(counts: Counter[tuple[str, str]]) -> int:
    """JSON may end with its newline or without it, and have other blanks: not one value is changed by that."""
    unnoticed = {name: number for (name, what), number in counts.items() if what == "no change"}
    assert unnoticed.keys() <= {"manifest.json"}
    return sum(unnoticed.values())


def test_a_damaged_byte_or_a_cut_is_named(tmp_path: Path):
    """Without the checksums a flipped digit would be another score."""
    assert unnoticed_in_the_manifest_alone(damage_everywhere(tmp_path, SHORT)) <= 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_damaged_byte_and_every_cut_is_named(tmp_path: Path):
    assert unnoticed_in_the_manifest_alone(damage_everywhere(tmp_path, 10**6)) <= 20


@pytest.mark.parametrize("what", ["folder", "loop", "unreadable"])
def test_a_file_that_is_no_file_is_named(tmp_path: Path, what: str):
    manifest = build_run(tmp_path) / "manifest.json"
    manifest.unlink()
    if what == "folder":
        manifest.mkdir()
    elif what == "loop":
        manifest.symlink_to(manifest)
    else:
        manifest.symlink_to("/proc/self/mem")
    found = open_run(manifest.parent)
    assert isinstance(found, BrokenRun)
    assert "\n" not in found.reason
