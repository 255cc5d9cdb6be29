"""The plan of a night, and the figures of its runs: each a number that a band can hold.

A figure is named `name@part` where it is averaged over a part of the budget (`loss@4of4` is the loss in the last
quarter), and plainly where it belongs to the whole run (`score`).
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from results.errors import ResultsError
from results.manifest import read_manifest, read_spec
from results.scores import SCORE_WINDOW_GAMES
from results.store import Run
from results.tables import read_tables

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
PLAN_FILE = FOLDER / "plan.toml"
PROBE_FILE = "probe.json"
# A rank out of few observations has a ceiling that says more of the sample than of the network. A layer's gradient is
# that of one minibatch alone, and differs by a factor of six between two seeds.
_LEFT_OUT = ("effective_rank/", "gradient_norm/")
# Known from the part of a run that was played, even of one that was stopped early.
_EARLY = ("distinct_seeds", "distinct_starts")


class NightError(Exception):
    """Something a user can mend: one line, exit code 2."""


@dataclass(frozen=True)
class Entry:
    """What a night trains of one baseline."""

    baseline: str
    game: str
    frames: int  # emulator frames; a whole number of parts
    parts: int
    seconds: float  # of one core, about
    # What only a learner reaches: {figure: {"above": value}}, or "below"; planted faults show that no other does.
    learned: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.frames % self.parts:
            raise NightError(
                f"{PLAN_FILE.name}: {self.baseline}: {self.frames} frames are not {self.parts} equal parts"
            )


@dataclass(frozen=True)
class Plan:
    """What a night trains, and from which seeds its bands are made."""

    entries: dict[str, Entry]  # by baseline
    band_seeds: tuple[int, ...]
    night_seed: int

    def chosen(self, baselines: str | None) -> list[Entry]:
        """The entries of a list such as "pqn,c51"; all for None. Raises NightError for one that is not planned."""
        names = list(self.entries) if baselines is None else baselines.split(",")
        for name in names:
            if name not in self.entries:
                raise NightError(f"no night is planned for {name!r} (allowed: {', '.join(self.entries)})")
        return [self.entries[name] for name in names]


def read_plan(path: Path = PLAN_FILE) -> Plan:
    """Raises NightError for a plan that cannot be followed."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = {name: Entry(baseline=name, **entry) for name, entry in values["baselines"].items()}
        plan = Plan(entries, tuple(values["band_seeds"]), values["night_seed"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise NightError(f"{path}: cannot be used ({type(error).__name__}: {error})") from None
    if len(set(plan.band_seeds)) < 3 or plan.night_seed in plan.band_seeds:
        raise NightError(f"{path}: give at least three different band_seeds, and a night_seed that is none of them")
    return plan


def figures_of(directory: Path, entry: Entry) -> dict[str, float]:
    """Figures of a run that is done, or was stopped after some whole parts.

    Args:
        directory: of the run, as `one_run.py` left it.
    Returns: {figure: value}; a part that the run did not finish has none.
    Raises: NightError if there is no such run, or its files cannot be used.
    """
    try:
        manifest = read_manifest(directory)
        run = Run(read_spec(manifest), directory, manifest)
        tables = read_tables(run)
        probe = json.loads((directory / PROBE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, ResultsError) as error:
        raise NightError(f"{directory}: no run to read ({error}); train it with: {command('run')}") from None
    series: dict[str, list[tuple[int, float]]] = {
        name: list(zip(frames.tolist(), values.tolist(), strict=True))
        for name, (frames, values) in tables.metrics.items()
    }
    series |= probe["series"]
    found: dict[str, float] = {}
    for name, rows in series.items():
        if not name.startswith(_LEFT_OUT):
            found |= by_part(name, rows, entry, reached=run.frames_done)
    whole = probe["whole"]
    if run.is_done:
        returns = tables.games["train"][1]
        found["games"] = float(len(returns))
        if len(returns):
            found["score"] = float(np.mean(returns[-SCORE_WINDOW_GAMES:]))
    else:
        whole = {name: value for name, value in whole.items() if name in _EARLY}
    return dict(sorted((found | whole).items()))


def by_part(name: str, rows: Iterable[tuple[int, float]], entry: Entry, *, reached: int) -> dict[str, float]:
    """The means of rows (frames, value) over each part that `reached` frames complete; nan if a value is none."""
    parts: dict[int, list[float]] = {}
    for frames, value in rows:
        parts.setdefault(math.ceil(frames * entry.parts / entry.frames), []).append(value)
    complete = reached * entry.parts // entry.frames
    return {
        f"{name}@{part}of{entry.parts}": float(np.mean(values)) for part, values in parts.items() if part <= complete
    }


def command(verb: str, *arguments: Any) -> str:
    """How to give a command of the night, from the top of a checkout."""
    return " ".join(["python tests/nightly/night.py", verb, *map(str, arguments)])
