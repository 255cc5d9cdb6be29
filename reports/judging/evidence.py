"""Everything a report may rest on: each run or imported score, whether it counts, and why not.

Runs are read once, here (`figures_cache`, `run_figures`); what comes back holds curves on a fixed grid and no tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reports.catalogue import Catalogue
from reports.judging.figures_cache import FiguresCache
from reports.judging.run_figures import RunFigures
from reports.judging.timing import Timing, timing_of
from reports.told import Tell, nobody
from results.credits import Credit, Credits, read_credits
from results.errors import ResultsError
from results.processors import processor
from results.proofs import PROOF_FILE, Proof, proof_state, read_proofs
from results.schema import FIRST_PROTOCOL, RunSpec
from results.scores import human_normalised
from results.store import BrokenRun, Run, scan

MEASURED, EXTERNAL = "measured", "external"

# How an entry stands towards claims and leaderboard.
COUNTS = "counts"
OFF_PROTOCOL = "off-protocol"  # a short budget scaled settings: shown and labelled, never in a verdict
UNFINISHED = "unfinished"
NOT_COMPARABLE = "not comparable"  # another configuration or protocol


@dataclass(frozen=True)
class RunRecord(RunFigures):
    """What a report keeps of a measured run: the figures of its tables, and what its manifest says."""

    directory: str  # below its results folder
    root: Path  # the results folder
    status: str
    frames_done: int
    hardware: str  # device, runs at once and path in words
    device: str  # name of the GPU, or of the CPU where there was none
    is_on_gpu: bool
    frames_per_second: float | None  # emulator frames, by the clock on the wall
    timing: Timing | None  # None where none can be compared
    untimed: str  # why
    rough_timing: Timing | None  # for estimates: the same, or one that can't be compared
    finished_at: str | None
    proof: str  # how far the run was played again: "re-played", "sampled (...)" or "on its word"
    credit: Credit | None  # whose it is, of a run that was sent in


@dataclass(frozen=True, eq=False)  # each is itself alone: their arrays have no one truth value
class Entry:
    """One score of one baseline on one game: a measured run, or an imported row."""

    baseline: str
    game: str
    frames: int  # budget, emulator frames
    seed: int
    source: str  # MEASURED or EXTERNAL
    standing: str
    reason: str  # why it does not count, or what was scaled; ""
    score: float | None  # raw, training environments, at the end
    run: RunRecord | None = None
    origin: str = ""  # of an imported row: where it came from

    @property
    def hns(self) -> float | None:
        """Human-normalised score."""
        return None if self.score is None else human_normalised(self.score, self.game)

    def __str__(self) -> str:
        return str(RunSpec(self.baseline, self.game, self.frames, self.seed, ""))


@dataclass(frozen=True)
class Evidence:
    """All entries, sorted, and what could not be read."""

    entries: tuple[Entry, ...]
    broken_runs: tuple[tuple[str, str], ...] = ()  # folder below the results, reason
    broken_files: tuple[tuple[str, str], ...] = ()  # the same of proofs, submissions and imported sets of scores
    results: str = "results/runs"  # the folder, as given; of several, the one that new runs go to
    submissions: tuple[Credit, ...] = ()  # what was sent in, whether its runs are still here or not
    _index: dict[tuple[str, int], list[Entry]] = field(
        init=False, default_factory=lambda: defaultdict(list), repr=False
    )

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._index[entry.baseline, entry.frames].append(entry)

    def of(self, baseline: str, frames: int) -> list[Entry]:
        """Entries of a baseline at a budget, of any standing."""
        return self._index.get((baseline, frames), [])

    def budgets(self, baseline: str) -> list[int]:
        """Budgets a baseline has entries at, largest first."""
        return sorted({frames for name, frames in self._index if name == baseline}, reverse=True)

    @property
    def broken(self) -> tuple[tuple[str, str], ...]:
        return (*self.broken_runs, *self.broken_files)

    @property
    def runs(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.source == MEASURED]

    @property
    def baselines(self) -> list[str]:
        return sorted({entry.baseline for entry in self.entries})


@dataclass(frozen=True)
class Reading:
    """How a report reads its results."""

    scan: Callable[[Path], Sequence[Run | BrokenRun]] = scan  # one that remembers, where more than a report asks
    figures: FiguresCache = field(default_factory=FiguresCache)
    forget: Callable[[], None] = lambda: None  # called once `scan` is asked no more, by any protocol's report


def load(
    results: Path,
    catalogue: Catalogue,
    *,
    fractions: Iterable[float] = (),
    external: Iterable[Entry] = (),
    more: Iterable[Path] = (),
    reading: Reading | None = None,
    tell: Tell = nobody,
) -> Evidence:
    """Reads every run below `results`, then below each of `more`. One that lies below several of them counts once.

    Args:
        fractions: of a budget, at which scores are wanted besides the grid.
        external: imported entries, taken as they are.
        more: further folders. Of a run that an earlier folder has too, the copy is named in `broken` and not read.
        reading: how folders and runs are read, if not anew.
        tell: asked before each run.
    Raises:
        ResultsError: a folder is none. A single run that cannot be read is named in `broken` instead.
    """
    reading = reading or Reading()
    roots = (results, *more)
    found = [(root, run) for root, run in _each_once(roots, reading.scan) if _is_of(run, root, catalogue)]
    hashes = _accepted_hashes([run for _, run in found if isinstance(run, Run)], catalogue)
    entries = list(external)
    broken_runs: list[tuple[str, str]] = []
    beside = {root: _beside(root) for root in roots}
    wanted = tuple(sorted(set(fractions)))
    seen: dict[str, Path] = {}
    for number, (root, run) in enumerate(found):
        tell("reading runs", number, len(found))
        place = _below(run.directory, root)
        try:
            if isinstance(run, BrokenRun):
                raise ResultsError(run.reason)
            if place in seen:
                raise ResultsError(f"{root} has it a second time; the one in {seen[place]} is used")
            record = _record(run, root, reading.figures.of(run, wanted), beside[root])
            entries.append(_entry(run, record, catalogue, hashes))
            seen[place] = root
        except ResultsError as error:
            broken_runs.append((place, _without_root(str(error), root)))
    entries.sort(key=lambda entry: (entry.baseline, entry.game, entry.frames, entry.seed, entry.source, entry.origin))
    return Evidence(
        tuple(entries),
        tuple(broken_runs),
        tuple(entry for root in roots for entry in beside[root].broken),
        results=str(results),
        submissions=tuple(record for root in roots for record in beside[root].credits.records),
    )


@dataclass(frozen=True)
class _Beside:
    """What lies beside the runs of a folder."""

    proofs: Mapping[str, Proof]
    credits: Credits
    broken: tuple[tuple[str, str], ...]  # file, reason


def _beside(root: Path) -> _Beside:
    proofs: Mapping[str, Proof] = {}
    broken = []
    try:
        proofs = read_proofs(root)
    except ResultsError as error:  # every run there is then on its word
        broken.append((PROOF_FILE, str(error)))
    credits = read_credits(root)
    broken += credits.broken
    return _Beside(proofs, credits, tuple((file, _without_root(reason, root)) for file, reason in broken))


def _each_once(
    roots: Iterable[Path], scan: Callable[[Path], Sequence[Run | BrokenRun]]
) -> list[tuple[Path, Run | BrokenRun]]:
    """Each folder once, though it may lie below several roots: as a run, if it is in its place below one of them."""
    once: dict[Path, tuple[Path, Run | BrokenRun]] = {}
    for root in roots:
        real = root.resolve()
        for run in scan(root):
            folder = real / run.directory.relative_to(root)
            if folder not in once or (isinstance(run, Run) and isinstance(once[folder][1], BrokenRun)):
                once[folder] = (root, run)
    return list(once.values())


def _is_of(run: Run | BrokenRun, root: Path, catalogue: Catalogue) -> bool:
    """Whether a run is this report's; those of the suite's other protocols are in reports of their own."""
    if isinstance(run, Run):
        return run.spec.protocol not in catalogue.other_protocols
    first = run.directory.relative_to(root).parts[:1]
    others = [name for name in catalogue.other_protocols if name != FIRST_PROTOCOL]
    is_of_first = catalogue.protocol.name == FIRST_PROTOCOL
    return not set(first) & set(others) and (is_of_first or first == (catalogue.protocol.name,))


def _below(directory: Path, root: Path) -> str:
    return directory.relative_to(root).as_posix()


def _without_root(reason: str, root: Path) -> str:
    """Reasons name whole paths; the page says the same wherever the results lie."""
    return reason.replace(f"{root}/", "")


def _accepted_hashes(runs: list[Run], catalogue: Catalogue) -> dict[str, str | None]:
    """The config hash that counts for each baseline: the pinned one.

    Of a baseline that is not in the catalogue it is the one that all its runs share; None where they share none.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        seen[run.spec.baseline].add(run.spec.config_hash)
    shared = {name: next(iter(hashes)) if len(hashes) == 1 else None for name, hashes in seen.items()}
    return shared | {baseline.name: baseline.config_hash for baseline in catalogue.baselines}


def _entry(run: Run, record: RunRecord, catalogue: Catalogue, hashes: Mapping[str, str | None]) -> Entry:
    spec, manifest = run.spec, run.manifest
    final = record.curve[-1] if run.is_done else np.nan
    standing, reason = COUNTS, ""
    foreign = _foreign(manifest, spec, catalogue, hashes)
    if foreign:
        standing, reason = NOT_COMPARABLE, foreign
    elif not run.is_done:
        standing, reason = UNFINISHED, _unfinished(run)
    elif np.isnan(final):
        standing, reason = UNFINISHED, "no game was finished in training"
    elif manifest["off_protocol"]:
        standing, reason = OFF_PROTOCOL, "; ".join(manifest["off_protocol"])
    score = None if np.isnan(final) else float(final)
    return Entry(spec.baseline, spec.game, spec.frames, spec.seed, MEASURED, standing, reason, score, record)


def _unfinished(run: Run) -> str:
    share = f"{100 * run.frames_done / run.spec.frames:.0f} % of its frames"
    if run.status == "failed" and run.manifest["error"]:
        error = run.manifest["error"]
        return f"failed after {share}: {error.get('type')}: {' '.join(str(error.get('message')).split())}"
    return f"{run.status}, {share} done"


def _foreign(manifest: Mapping[str, Any], spec: RunSpec, catalogue: Catalogue, hashes: Mapping[str, str | None]) -> str:
    """Why a run is not comparable, or ''."""
    if manifest["protocol"] != catalogue.protocol.name:
        return f"protocol {manifest['protocol']!r}, not {catalogue.protocol.name!r}"
    accepted = hashes[spec.baseline]
    if accepted is None:
        return "not pinned, and its runs have several configurations"
    if spec.config_hash == accepted:
        return ""
    pinned = catalogue.find(spec.baseline)
    assert pinned is not None, "a baseline that is not pinned has its own hash or none"
    config = manifest["config"]
    changes = _changes(config["baseline"], pinned.values) + _changes(config["protocol"], catalogue.protocol.values)
    named = f": {', '.join(changes)}" if changes else ""
    return f"configuration {spec.config_hash} is not the pinned {accepted}{named}"


def _changes(found: Mapping[str, Any], pinned: Mapping[str, Any]) -> list[str]:
    changed = [name for name in pinned if found.get(name) != pinned[name]]
    return [f"{name} is {found.get(name)!r}, pinned {pinned[name]!r}" for name in sorted(changed)]


def _record(run: Run, root: Path, figures: RunFigures, beside: _Beside) -> RunRecord:
    manifest = run.manifest
    rough_timing, untimed = timing_of(manifest)
    return RunRecord(
        **vars(figures),
        directory=_below(run.directory, root),
        root=root,
        status=run.status,
        frames_done=run.frames_done,
        hardware=_hardware(manifest),
        device=str(manifest["hardware"].get("gpu") or processor(manifest["hardware"])),
        is_on_gpu=bool(manifest["hardware"].get("gpu")),
        frames_per_second=manifest["frames_per_second"],
        timing=None if untimed else rough_timing,
        untimed=untimed,
        rough_timing=rough_timing,
        finished_at=manifest["finished_at"],
        proof=proof_state(run, beside.proofs),
        credit=beside.credits.of(run),
    )


def _hardware(manifest: Mapping[str, Any]) -> str:
    hardware = manifest["hardware"]
    jobs = hardware.get("jobs", 1)
    how = f"{manifest['path']} path" + (f", {jobs} runs at once" if jobs > 1 else "")
    if hardware.get("gpu"):
        return f"{hardware['gpu']}, {how}"
    return f"{processor(hardware)}, {hardware.get('cores')} cores, {how}"
