"""What a claim lacks: the runs, the commands that make them, and what they cost at measured speeds."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path, PurePosixPath

import numpy as np

from reports.catalogue import Catalogue
from reports.errors import ReportsError
from reports.judging.claims import MINIMUM_SEEDS, Claim
from reports.judging.claims_file import find_claim, load_claims
from reports.judging.evidence import COUNTS, MEASURED, UNFINISHED, Entry, Evidence, load
from reports.judging.run_figures import OBSERVATIONS
from reports.judging.sides import Basis, find_basis, side_at, value_of, why_unanswered
from reports.measures import RANK_MEASURE
from results.games import GAME_SETS
from results.schema import RANK_OBSERVATIONS, RunSpec, format_frames, format_seeds, parse_frames_directory, rank_rows

DEFAULT_RESULTS = Path("results/runs")


@dataclass(frozen=True)
class Cost:
    """What runs take, one after the other, at the measured speed of each baseline."""

    seconds: float
    hardware: str  # machine, clock and paths
    unknown: tuple[str, ...] = ()  # baselines that nobody measured there; their runs are not in `seconds`


@dataclass(frozen=True)
class Missing:
    """The runs a claim still needs."""

    runs: tuple[RunSpec, ...]
    unpinned: tuple[str, ...]  # baselines of the claim that the suite does not have
    command: str  # runs just these; "" when nothing is missing
    commands: tuple[str, ...]  # the same, spelled out
    cost: Cost | None  # None where no speed was measured, or nothing is missing
    next_command: str = ""  # makes one run: the one that brings an estimate the soonest
    needed: int = 0  # runs that there are to be in all
    unpinned_runs: int = 0  # of them, those of baselines that the suite does not have
    has_coarse: bool = False  # no run settles it: the suite's ranks are taken over too few observations
    unanswered: str = ""  # no run settles it: why the finished ones hold nothing of what it measures
    unanswered_runs: int = 0  # that it lacks, and that nobody is asked for

    @property
    def there(self) -> int:
        """How many of the needed runs there are."""
        return 0 if self.has_coarse else self.needed - len(self.runs) - self.unpinned_runs - self.unanswered_runs


def missing_runs(
    claim_id: str,
    *,
    results: Path,
    catalogue: Catalogue,
    claims_file: Path | None = None,
    seeds: int = MINIMUM_SEEDS,
) -> list[RunSpec]:
    """Exactly the runs that a claim lacks, sorted: those begun come with their own seed, so that they are resumed.

    Args: `seeds`: that every game of every side is to have.
    Raises:
        ReportsError: the claim is unknown, one of its baselines is not in the catalogue, `seeds` are too few, or no
            run settles the claim.
    """
    claims = load_claims(claims_file, with_built_in=catalogue.protocol.judges_the_paper)
    claim = find_claim(claims, claim_id)
    unpinned = [name for name in claim.sides if catalogue.find(name) is None]
    if unpinned:
        needs = ", ".join(unpinned)
        raise ReportsError(
            f"claim {claim_id!r} needs {needs}, which the suite does not have (see: {catalogue.command} list); "
            "give one of your own with --baselines FILE.toml"
        )
    if seeds < MINIMUM_SEEDS:
        raise ReportsError(f"a verdict needs {MINIMUM_SEEDS} seeds of every game and side; {seeds} are too few")
    if claim.kind.is_timed and seeds > MINIMUM_SEEDS:
        raise ReportsError(f"claim {claim_id!r} is about time, which {MINIMUM_SEEDS} seeds settle; leave out --seeds")
    if _is_too_coarse(claim):
        raise ReportsError(
            f"claim {claim_id!r} needs ranks over {claim.observations:,} observations, and runs of "
            f"{format_frames(claim.frames)} frames take them over {observations_of(claim.frames):,}: no run settles it"
        )
    fractions = [claim.at_frames / claim.frames] if claim.at_frames else []
    evidence = load(results, catalogue, fractions=fractions)
    lacking = _lacking(evidence, claim, catalogue, seeds)
    if reason := _why_unanswered(evidence, claim, lacking):
        raise ReportsError(f"claim {claim_id!r} cannot be answered at its budget: {reason}; change the claim")
    return list(lacking)


def place_flags(evidence: Evidence, catalogue: Catalogue) -> str:
    """What a command needs so that its runs are of this report's folder and protocol; "" where they are the usual."""
    usual = Path(evidence.results) == DEFAULT_RESULTS
    return ("" if usual else f" --results {shlex.quote(evidence.results)}") + catalogue.protocol.flag


def find_missing(evidence: Evidence, claim: Claim, catalogue: Catalogue, seeds: int = MINIMUM_SEEDS) -> Missing:
    """What `claim` lacks, given the evidence, for `seeds` of every game and side."""
    runs = lacking = _lacking(evidence, claim, catalogue, seeds)
    unanswered = _why_unanswered(evidence, claim, lacking)
    if unanswered:
        runs = ()
    place = place_flags(evidence, catalogue)
    place += " --device cuda" if claim.on == "gpu" else " --device cpu" if claim.on == "cpu" else ""
    unpinned = tuple(name for name in claim.sides if catalogue.find(name) is None)
    games = 1 if claim.kind.is_timed else len(claim.games)
    files = {info.name: info.file for info in catalogue.baselines if info.file}
    following = run_arguments(runs and (_next_run(evidence, claim, runs),), files)
    commands = tuple(f"{catalogue.command} run {arguments}{place}" for arguments in run_arguments(runs, files))
    count = f" --seeds {seeds}" if seeds > MINIMUM_SEEDS else ""
    whole = f"{catalogue.command} run --claim {claim.id}{count}{place}"
    if not claim.is_built_in:
        whole = " && ".join(commands)  # `run` finds it in no file of its own
    return Missing(
        runs=runs,
        unpinned=unpinned,
        command=whole if runs else "",
        commands=commands,
        cost=estimate_cost(evidence, runs, on=claim.on),
        next_command=f"{catalogue.command} run {following[0]}{place}" if following else "",
        needed=len(claim.sides) * games * seeds,
        has_coarse=_is_too_coarse(claim),
        unanswered=unanswered,
        unanswered_runs=len(lacking) - len(runs),
        unpinned_runs=len(unpinned) * games * seeds,
    )


def observations_of(frames: int) -> int:
    """Over how many observations the finest ranks of a run of this budget are taken."""
    return RANK_OBSERVATIONS if rank_rows(frames) else OBSERVATIONS


def _is_too_coarse(claim: Claim) -> bool:
    """Whether runs of the claim's budget take ranks over fewer observations than it needs."""
    return claim.observations is not None and observations_of(claim.frames) < claim.observations


def _why_unanswered(evidence: Evidence, claim: Claim, lacking: tuple[RunSpec, ...]) -> str:
    """Why the lacking runs would hold nothing that the claim measures, as the finished ones hold nothing, or ""."""
    wanted = {run.baseline for run in lacking}
    reasons = (why_unanswered(evidence, claim, name) for name in claim.sides if name in wanted)
    return next(filter(None, reasons), "")


def _next_run(evidence: Evidence, claim: Claim, runs: tuple[RunSpec, ...]) -> RunSpec:
    """Of the missing runs the one to make first: in a game that another side has played already, lowest seed first."""
    played = {(e.baseline, e.game) for e in evidence.entries if e.frames == claim.frames and e.standing == COUNTS}

    def rank(run: RunSpec) -> tuple[object, ...]:
        others = [name for name in claim.sides if name != run.baseline]
        waits = not any((name, run.game) in played for name in others)
        return (run.seed, waits, claim.games.index(run.game), claim.sides.index(run.baseline))

    return min(runs, key=rank)


def _lacking(evidence: Evidence, claim: Claim, catalogue: Catalogue, seeds: int) -> tuple[RunSpec, ...]:
    if _is_too_coarse(claim):
        return ()
    if claim.kind.is_timed:
        basis = find_basis(evidence, claim)
        if basis is not None and not basis.is_preliminary:
            return ()
        timed = timed_together(evidence, claim, basis)
    sample, lacking = _sample(evidence, claim), []
    for name in claim.sides:
        pinned = catalogue.find(name)
        if pinned is None:
            continue
        side = side_at(evidence, claim, name, claim.frames, observations=sample)
        if not claim.kind.is_timed and side.seeds(claim.games)[0] >= seeds:
            continue
        taken, begun = _occupied(evidence, name, claim)
        for game in claim.games:
            # Imported scores give way to the first measured run, so they save none.
            have = len(side.entries.get(game, ())) if side.source == MEASURED else 0
            if claim.kind.is_timed:
                have = timed[name, game]
            free = chain(begun[game], (seed for seed in count() if seed not in taken[game]))
            lacking += [
                RunSpec(name, game, claim.frames, seed, pinned.config_hash, catalogue.protocol.name)
                for seed in islice(free, max(0, seeds - have))
            ]
    return tuple(sorted(lacking))


def _sample(evidence: Evidence, claim: Claim) -> int | None:
    """Over how many observations the ranks of the runs that count were taken: those that settle the claim, or else
    those that are made now. None where the claim is not about ranks."""
    if claim.measure != RANK_MEASURE:
        return None
    basis = find_basis(evidence, claim)
    if basis is None or basis.is_preliminary:
        return observations_of(claim.frames)
    return next(e.run.observations for entries in basis.sides[0].entries.values() for e in entries if e.run)


def timed_together(evidence: Evidence, claim: Claim, basis: Basis | None) -> Counter[tuple[str, str]]:
    """How many runs of each side and game may be compared with the other side's: those in the basis's place, with its
    paths.

    Where no place has both sides, runs of one side count if the other has none at all, those of the place that has the
    most. If both were timed, but apart, none count: nobody knows which of the places the next runs will be on.
    """
    found: dict[str, dict[tuple[object, ...], list[str]]] = {name: defaultdict(list) for name in claim.sides}
    for entry in evidence.runs:
        timing = entry.run.timing if entry.run else None
        if entry.baseline not in found or timing is None or entry.standing != COUNTS:
            continue
        if claim.on in ("", "gpu" if timing.is_gpu else "cpu"):
            found[entry.baseline][timing.place, timing.taken, timing.missed].append(entry.game)
    there: dict[str, list[str]] = {name: [] for name in claim.sides}
    if basis is not None and not basis.has_off_protocol:
        for side in basis.sides:
            timing = next(e.run.timing for entries in side.entries.values() for e in entries if e.run)
            if timing is not None:
                there[side.baseline] = found[side.baseline][timing.place, timing.taken, timing.missed]
    elif sum(bool(places) for places in found.values()) == 1:
        there |= {name: max(places.values(), key=len) for name, places in found.items() if places}
    return Counter((name, game) for name, games in there.items() for game in games)


def _occupied(evidence: Evidence, baseline: str, claim: Claim) -> tuple[dict[str, set[int]], dict[str, list[int]]]:
    """By game: seeds whose folder is taken at the claim's budget, and those of them begun but not done."""
    taken: dict[str, set[int]] = defaultdict(set)
    begun: dict[str, list[int]] = defaultdict(list)
    for entry in evidence.of(baseline, claim.frames):
        if entry.source == MEASURED and entry.run is not None:
            taken[entry.game].add(entry.seed)
            if entry.standing == UNFINISHED and entry.run.status != "done" and not _counts_already(entry, claim):
                begun[entry.game].append(entry.seed)
    for directory, _ in evidence.broken_runs:  # a new run can't be put there before someone has looked
        parts = PurePosixPath(directory).parts[-4:]  # of a protocol's folder, what is in it
        if len(parts) == 4 and parts[0] == baseline and parts[3].startswith("seed-") and parts[3][5:].isdigit():
            try:
                frames = parse_frames_directory(parts[2])
            except ValueError:
                continue
            if frames == claim.frames:
                taken[parts[1]].add(int(parts[3][5:]))
    return taken, begun


def _counts_already(entry: Entry, claim: Claim) -> bool:
    """Whether a run that is not done has reached the frames that the claim asks for."""
    return claim.at_frames is not None and entry.baseline == claim.baseline and value_of(entry, claim) is not None


def run_arguments(runs: tuple[RunSpec, ...], files: Mapping[str, str] | None = None) -> list[str]:
    """The fewest `run` argument lists that ask for `runs` and nothing else, in a stable order.

    Args: `files`: the TOML of a baseline that commands do not know by its name.
    """
    files = files or {}
    seeds: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for run in runs:
        seeds[run.baseline, run.frames, run.game].append(run.seed)
    games: dict[tuple[str, int, tuple[int, ...]], list[str]] = defaultdict(list)
    for (baseline, frames, game), listed in seeds.items():
        games[baseline, frames, tuple(sorted(listed))].append(game)
    baselines: dict[tuple[int, tuple[str, ...], tuple[int, ...]], list[str]] = defaultdict(list)
    for (baseline, frames, numbers), names in games.items():
        baselines[frames, tuple(sorted(names)), numbers].append(baseline)

    def spelled(names: list[str]) -> str:
        return ",".join(shlex.quote(files.get(name, name)) for name in names)

    return [
        f"--baselines {spelled(names)} --games {_games_argument(played)} --frames {format_frames(frames)} "
        f"--seeds {format_seeds(numbers)}"
        for (frames, played, numbers), names in baselines.items()
    ]


def _games_argument(games: tuple[str, ...]) -> str:
    whole = next((name for name, members in GAME_SETS.items() if set(members) == set(games)), None)
    return whole or ",".join(games)


def speeds(evidence: Evidence, on: str = "") -> Mapping[str, Mapping[str, list[float]]]:
    """Seconds per frame of every finished run that was timed: where -> baseline -> values.

    Args:
        on: "cpu" or "gpu" for runs on one alone.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for entry in evidence.runs:
        run = entry.run
        if run is None or run.status != "done" or run.rough_timing is None or entry.standing != COUNTS:
            continue
        if on in ("", "gpu" if run.rough_timing.is_gpu else "cpu"):
            found[run.rough_timing.where][entry.baseline].append(run.rough_timing.seconds_per_frame)
    return found


def estimate_cost(evidence: Evidence, runs: tuple[RunSpec, ...], *, on: str = "") -> Cost | None:
    """Time for `runs`, on the hardware with speeds for the most of their baselines, then the most runs."""
    measured = speeds(evidence, on)
    wanted = {run.baseline for run in runs}
    useful = [hardware for hardware in sorted(measured) if wanted & measured[hardware].keys()]
    if not useful:
        return None
    best = max(useful, key=lambda h: (len(wanted & measured[h].keys()), sum(len(v) for v in measured[h].values())))
    per_frame = {name: float(np.median(values)) for name, values in measured[best].items()}
    done = {(e.baseline, e.game, e.frames, e.seed): e.run.frames_done for e in evidence.runs if e.run is not None}
    seconds = sum(
        (run.frames - done.get((run.baseline, run.game, run.frames, run.seed), 0)) * per_frame[run.baseline]
        for run in runs
        if run.baseline in per_frame
    )
    return Cost(seconds, best, tuple(sorted(wanted - per_frame.keys())))
