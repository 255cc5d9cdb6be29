"""Which runs a claim rests on: one side per baseline, at one budget, on the same games.

Measured runs come first; imported scores stand in only for a side without any measured run at that budget.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from reports.judging.claims import MINIMUM_SEEDS, Claim
from reports.judging.evidence import (
    COUNTS,
    EXTERNAL,
    MEASURED,
    NOT_COMPARABLE,
    OFF_PROTOCOL,
    UNFINISHED,
    Entry,
    Evidence,
)
from reports.judging.timing import paths_text
from reports.measures import LAYER_MEASURES, RANK_MEASURE, TIME_MEASURE
from reports.statistics.bootstrap import Scores
from results.schema import format_frames
from results.scores import human_normalised

NO_SOURCE = "none"


@dataclass(frozen=True)
class Side:
    """The entries of one baseline that a comparison uses."""

    baseline: str
    frames: int
    source: str  # MEASURED, EXTERNAL or NO_SOURCE
    entries: Mapping[str, tuple[Entry, ...]]  # by game, in order of seeds
    set_aside: tuple[Entry, ...]  # at this budget in the claim's games, but not used
    displaced: int = 0  # imported scores among them that would stand in, were there no measured run

    @property
    def games(self) -> set[str]:
        return set(self.entries)

    def seeds(self, games: tuple[str, ...]) -> tuple[int, int]:
        """Smallest and largest number of seeds over `games`."""
        counts = [len(self.entries.get(game, ())) for game in games]
        return (min(counts), max(counts)) if counts else (0, 0)

    def matrix(self, games: tuple[str, ...], claim: Claim) -> Scores:
        """[runs, games] or [runs, games, layers] of the claim's measure, nan below the last run of a game."""
        columns = [np.array([value_of(entry, claim) for entry in self.entries[game]], np.float64) for game in games]
        matrix = np.full((max(map(len, columns)), len(games), *columns[0].shape[1:]), np.nan)
        for index, column in enumerate(columns):
            matrix[: len(column), index] = column
        return matrix


@dataclass(frozen=True)
class Basis:
    """What an estimate rests on."""

    frames: int
    games: tuple[str, ...]
    sides: tuple[Side, ...]  # as `Claim.sides`
    is_preliminary: bool
    has_off_protocol: bool = False
    hardware: str = ""  # of a ratio of times: where both sides ran

    def matrices(self, claim: Claim) -> tuple[Scores, ...]:
        return tuple(side.matrix(self.games, claim) for side in self.sides)

    @property
    def seeds(self) -> tuple[int, int]:
        """Smallest and largest number of seeds of a game, over all sides."""
        counts = [side.seeds(self.games) for side in self.sides]
        return min(low for low, _ in counts), max(high for _, high in counts)

    @property
    def runs(self) -> int:
        return sum(len(side.entries[game]) for side in self.sides for game in self.games)


def value_of(entry: Entry, claim: Claim) -> float | tuple[float, ...] | None:
    """What the claim measures of an entry: a number, a tuple of one for each layer, or None where it has none."""
    if claim.measure == TIME_MEASURE:
        return entry.run.timing.seconds_per_frame if entry.run and entry.run.timing else None
    if claim.measure in LAYER_MEASURES:
        final = entry.run.final_diagnostics if entry.run else {}
        names = [f"{claim.measure}/{layer}" for layer in claim.layers]
        return tuple(final[name] for name in names) if all(name in final for name in names) else None
    if claim.at_frames is not None and entry.baseline == claim.baseline and entry.run is not None:
        score = entry.run.at_fraction.get(claim.at_frames / claim.frames, np.nan)
        return None if np.isnan(score) else human_normalised(score, entry.game)
    return entry.hns


def why_unanswered(evidence: Evidence, claim: Claim, baseline: str) -> str:
    """Why finished runs of `baseline` at the claim's budget answer nothing, so that another seed is of no use: it is
    off the protocol, or those on one of its games hold nothing of what it measures. "" where some do, or where there
    are none yet.
    """
    there = evidence.of(baseline, claim.frames)
    scaled = (entry.reason for entry in there if entry.source == MEASURED and entry.standing == OFF_PROTOCOL)
    if reason := next(scaled, ""):
        return f"with {format_frames(claim.frames)} frames {baseline} is off the protocol ({reason})"
    if claim.kind.is_timed:  # a run whose time cannot be compared has others beside it
        return ""
    by_game: dict[str, list[Entry]] = defaultdict(list)
    for entry in there:
        # A run is done without having finished a game, and then does not count.
        is_done = entry.standing in (COUNTS, UNFINISHED) and entry.run is not None and entry.run.status == "done"
        if is_done and entry.game in claim.games:
            by_game[entry.game].append(entry)
    allowed = {COUNTS, UNFINISHED} if claim.at_frames is not None and baseline == claim.baseline else {COUNTS}
    for entries in by_game.values():
        if not any(entry.standing in allowed and value_of(entry, claim) is not None for entry in entries):
            has_layers = value_of(entries[0], claim) is not None
            return _no_layers(entries[0], claim) if claim.layers and not has_layers else _no_score(entries[0], claim)
    return ""


def _no_layers(entry: Entry, claim: Claim) -> str:
    final = entry.run.final_diagnostics if entry.run else {}
    there = [name.split("/", 1)[1] for name in final if name.split("/", 1)[0] == claim.measure]
    if not there:
        return f"the runs of {entry.baseline} have no {claim.measure} of any layer"
    lacking = [layer for layer in claim.layers if layer not in there]
    return f"the runs of {entry.baseline} have no layer {', '.join(lacking)}; they have {', '.join(sorted(there))}"


def _no_score(entry: Entry, claim: Claim) -> str:
    early = claim.at_frames is not None and entry.baseline == claim.baseline
    frames = format_frames((claim.at_frames if early else None) or claim.frames)
    return f"in the runs of {entry.baseline} on {entry.game} no game was finished by frame {frames}"


def is_too_coarse(entry: Entry, claim: Claim) -> bool:
    """Whether a run's ranks were taken over fewer observations than the claim needs."""
    return claim.observations is not None and entry.run is not None and entry.run.observations < claim.observations


def _usable(entry: Entry, claim: Claim, allow_off_protocol: bool, observations: int | None = None) -> bool:
    allowed = {COUNTS, OFF_PROTOCOL} if allow_off_protocol else {COUNTS}
    if not allow_off_protocol and is_too_coarse(entry, claim):
        return False
    if observations is not None and (entry.run is None or entry.run.observations != observations):
        return False
    timing = entry.run.timing if entry.run else None
    if claim.kind.is_timed and timing is not None and claim.on not in ("", "gpu" if timing.is_gpu else "cpu"):
        return False
    # Of a run that is asked for its score half-way, the second half need not be done.
    if claim.at_frames is not None and entry.baseline == claim.baseline:
        allowed.add(UNFINISHED)
    return entry.standing in allowed and value_of(entry, claim) is not None


def side_at(
    evidence: Evidence,
    claim: Claim,
    baseline: str,
    frames: int,
    *,
    allow_off_protocol: bool = False,
    observations: int | None = None,
) -> Side:
    """The entries of `baseline` at a budget in the claim's games.

    `observations`: only runs whose ranks were taken over so many; None takes any that the claim does.
    """
    there = [entry for entry in evidence.of(baseline, frames) if entry.game in claim.games]
    usable = [entry for entry in there if _usable(entry, claim, allow_off_protocol, observations)]
    measured = [entry for entry in usable if entry.source == MEASURED]
    external = [entry for entry in usable if entry.source == EXTERNAL]
    if claim.at_frames is not None and baseline == claim.baseline:
        # An imported score has no curve: it must be of the very frame that is asked for.
        at = frames * claim.at_frames // claim.frames
        external = [
            entry
            for entry in evidence.of(baseline, at)
            if entry.game in claim.games and entry.source == EXTERNAL and _usable(entry, claim, allow_off_protocol)
        ]
    used = measured or external
    displaced = tuple(external) if measured else ()
    by_game: dict[str, list[Entry]] = defaultdict(list)
    for entry in used:
        by_game[entry.game].append(entry)
    return Side(
        baseline=baseline,
        frames=frames,
        source=used[0].source if used else NO_SOURCE,
        entries={game: tuple(entries) for game, entries in by_game.items()},
        set_aside=(
            *(entry for entry in there if entry not in used and entry not in displaced),
            *(replace(entry, reason=_gives_way(len(measured))) for entry in displaced),
        ),
        displaced=len(displaced),
    )


def _gives_way(measured: int) -> str:
    runs = f"{measured} measured run" + ("" if measured == 1 else "s")
    return f"gives way to {runs} of this side: imported scores stand in only where none was measured"


def sides_at(
    evidence: Evidence,
    claim: Claim,
    frames: int,
    *,
    allow_off_protocol: bool = False,
    observations: int | None = None,
) -> tuple[Side, ...]:
    """All sides of the claim at a budget."""
    return tuple(
        side_at(evidence, claim, name, frames, allow_off_protocol=allow_off_protocol, observations=observations)
        for name in claim.sides
    )


def find_basis(evidence: Evidence, claim: Claim) -> Basis | None:
    """The runs that settle the claim; else the largest common budget and games, marked preliminary; else None."""
    if claim.kind.is_timed:
        basis = _timed_basis(evidence, claim, allow_off_protocol=False)
        return basis or _timed_basis(evidence, claim, allow_off_protocol=True)
    for observations in _sample_sizes(evidence, claim):
        full = sides_at(evidence, claim, claim.frames, observations=observations)
        if all(side.seeds(claim.games)[0] >= MINIMUM_SEEDS for side in full):
            return Basis(claim.frames, claim.games, full, is_preliminary=False)
    for allow_off_protocol in (False, True):
        for frames, observations in product(_budgets(evidence, claim), _sample_sizes(evidence, claim)):
            sides = sides_at(evidence, claim, frames, allow_off_protocol=allow_off_protocol, observations=observations)
            shared = set.intersection(*(side.games for side in sides))
            if shared:
                games = tuple(game for game in claim.games if game in shared)
                used = (entry for side in sides for game in games for entry in side.entries[game])
                has_off_protocol = any(entry.standing == OFF_PROTOCOL for entry in used)
                return Basis(frames, games, sides, is_preliminary=True, has_off_protocol=has_off_protocol)
    return None


def _budgets(evidence: Evidence, claim: Claim) -> list[int]:
    budgets = {frames for name in claim.sides for frames in evidence.budgets(name)}
    if claim.at_frames is not None:  # imported scores of the earlier frame belong to the later budget
        budgets |= {frames * claim.frames // claim.at_frames for frames in evidence.budgets(claim.baseline)}
    return sorted(budgets, reverse=True)


def _sample_sizes(evidence: Evidence, claim: Claim) -> Sequence[int | None]:
    """Over how many observations ranks were taken, the finest first. Ranks over different numbers have different
    ceilings, so no estimate mixes them. [None] where the claim is not about ranks."""
    if claim.measure != RANK_MEASURE:
        return [None]
    return sorted({e.run.observations for e in evidence.runs if e.run and e.baseline in claim.sides}, reverse=True)


Paths = tuple[frozenset[str], frozenset[str]]  # fast paths taken, and missed


def _timed_basis(evidence: Evidence, claim: Claim, *, allow_off_protocol: bool) -> Basis | None:
    """Runs of all sides in one place and with like paths, of any games and budgets: where there are most of them."""
    places: dict[str, dict[str, dict[Paths, list[Entry]]]] = defaultdict(
        lambda: {name: defaultdict(list) for name in claim.sides}
    )
    for entry in evidence.entries:
        timing = entry.run.timing if entry.run else None
        if entry.baseline in claim.sides and timing is not None and _usable(entry, claim, allow_off_protocol):
            places[timing.place][entry.baseline][timing.taken, timing.missed].append(entry)
    best: Basis | None = None
    for _, sides in sorted(places.items()):
        for members in product(*(_in_order(by_paths) for by_paths in sides.values())):
            basis = _compared(claim, members, has_off_protocol=allow_off_protocol)
            if basis is not None and (best is None or _weight(basis) > _weight(best)):
                best = basis
    return best


def _in_order(by_paths: Mapping[Paths, list[Entry]]) -> list[list[Entry]]:
    return [by_paths[key] for key in sorted(by_paths, key=lambda key: (len(key[1]), *map(sorted, key)))]


def _weight(basis: Basis) -> tuple[bool, int]:
    return not basis.is_preliminary, basis.runs


def _compared(claim: Claim, members: Sequence[list[Entry]], *, has_off_protocol: bool) -> Basis | None:
    """The basis of runs of each side that were timed in one place; None where their paths or games are unlike."""
    timings = [entries[0].run.timing for entries in members if entries[0].run and entries[0].run.timing]
    if not all(a.is_like(b) for a, b in combinations(timings, 2)):
        return None
    by_game: list[dict[str, list[Entry]]] = [defaultdict(list) for _ in members]
    for side, entries in zip(by_game, members, strict=True):
        for entry in entries:
            side[entry.game].append(entry)
    for least in (MINIMUM_SEEDS, 1):
        shared = sorted(set.intersection(*({g for g, e in side.items() if len(e) >= least} for side in by_game)))
        if shared:
            return Basis(
                frames=max(entry.frames for side in by_game for game in shared for entry in side[game]),
                games=tuple(shared),
                sides=tuple(
                    Side(name, 0, MEASURED, {game: tuple(side[game]) for game in shared}, ())
                    for name, side in zip(claim.sides, by_game, strict=True)
                ),
                is_preliminary=has_off_protocol or least < MINIMUM_SEEDS,
                has_off_protocol=has_off_protocol,
                hardware=f"{timings[0].place}, {paths_text(timings)}",
            )
    return None


def untimed_sides(evidence: Evidence, claim: Claim) -> tuple[Side, ...]:
    """The runs of a claim about time that have none which could be compared, with the reason."""
    return tuple(
        Side(
            name,
            0,
            NO_SOURCE,
            {},
            tuple(
                replace(entry, reason=entry.run.untimed)
                for entry in evidence.runs
                if entry.baseline == name and entry.run is not None and entry.standing == COUNTS and entry.run.untimed
                if claim.on in ("", "gpu" if entry.run.is_on_gpu else "cpu")
            ),
        )
        for name in claim.sides
    )


def not_comparable_sides(evidence: Evidence, claim: Claim) -> list[str]:
    """Baselines whose runs of another configuration or protocol are all that keeps the claim from being judged.

    Empty where the claim would lack runs even if those counted.
    """
    if claim.kind.is_timed:
        return []
    found = []
    for name in claim.sides:
        side = side_at(evidence, claim, name, claim.frames)
        if side.seeds(claim.games)[0] >= MINIMUM_SEEDS:
            continue
        there = evidence.of(name, claim.frames)
        if claim.at_frames is not None and name == claim.baseline:  # imported scores are of that very frame
            there = there + [entry for entry in evidence.of(name, claim.at_frames) if entry.source == EXTERNAL]
        foreign = Counter(entry.game for entry in there if entry.standing == NOT_COMPARABLE)
        if any(len(side.entries.get(game, ())) + foreign[game] < MINIMUM_SEEDS for game in claim.games):
            return []
        found.append(name)
    return found
