"""From evidence to a judged claim: basis, estimate, verdict, what is missing, power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import harmonic_mean

from reports.catalogue import Catalogue
from reports.judging.claims import MINIMUM_SEEDS, Claim
from reports.judging.evidence import EXTERNAL, Entry, Evidence
from reports.judging.missing import Missing, find_missing
from reports.judging.score_kinds import LEAST_REFERENCE
from reports.judging.sides import Basis, Side, find_basis, not_comparable_sides, sides_at, untimed_sides
from reports.judging.verdicts import INSUFFICIENT, NOT_COMPARABLE, OPEN
from reports.measures import LAYER_MEASURES, MEASURE_TITLES, RANK_MEASURE
from reports.statistics.bootstrap import (
    CLAIM_REPETITIONS,
    LINEAR,
    UNBOUNDED,
    Interval,
    Scores,
    clipped,
    draw,
    variance_shares,
    why_unknown,
    with_ends,
)
from reports.statistics.power import NEAR_ZERO, Design, Power, Seeds, SideSeeds, power

NO_REFERENCE = f"the reference's score is not above {LEAST_REFERENCE}, and a gain over so little says nothing"
MOST_FURTHER_SEEDS = 30  # of a game and side, that an open verdict asks for
OTHER_BUDGET = "runs of another budget than the claim's do not say how its own will spread"


@dataclass(frozen=True)
class Estimate:
    """What the claim's statistic gives: its parts, and the one the claim is judged by."""

    parts: Mapping[str, Interval]
    main: str  # key of `parts`
    draws: Scores | None  # [repetitions] of the main part
    shares: tuple[float, ...]  # of each side, of the main part's variance; () without draws
    why_unknown: str  # why there are no draws

    @property
    def interval(self) -> Interval:
        return self.parts[self.main]


@dataclass(frozen=True)
class Judgement:
    """One claim, judged."""

    claim: Claim
    verdict: str
    interval: Interval
    estimate: Estimate | None
    basis: Basis | None
    full_sides: tuple[Side, ...]  # what there is at the claimed budget; of a ratio of times, the runs without one
    missing: Missing
    power: Power
    further: Missing | None  # of an open verdict: the runs that bring it to the seeds by which it is likely to be told
    not_comparable: tuple[str, ...]  # baselines of which only runs that do not count exist at the claimed budget

    @property
    def is_preliminary(self) -> bool:
        return self.verdict in (INSUFFICIENT, NOT_COMPARABLE)

    @property
    def wanted_seeds(self) -> Seeds | None:
        """How many seeds of a game and side are likely to tell an open verdict; None where that is not known."""
        return _wanted_seeds(self.claim, self.verdict, self.power)

    @property
    def set_aside(self) -> list[Entry]:
        """Entries of the claim's baselines and games, at the budgets looked at, that were not used."""
        sides = (*self.full_sides, *(self.basis.sides if self.basis else ()))
        kept: dict[tuple[object, ...], Entry] = {}
        used = {id(e) for side in (self.basis.sides if self.basis else ()) for es in side.entries.values() for e in es}
        for side in sides:
            for entry in side.set_aside:
                if id(entry) not in used:
                    kept[entry.baseline, entry.game, entry.frames, entry.seed, entry.source, entry.origin] = entry
        return list(kept.values())

    @property
    def external_sides(self) -> list[str]:
        """Baselines for which imported scores stand in."""
        return [side.baseline for side in self.basis.sides if side.source == EXTERNAL] if self.basis else []


def judge(claim: Claim, evidence: Evidence, catalogue: Catalogue, *, repetitions: int = CLAIM_REPETITIONS) -> Judgement:
    """Judges one claim on the evidence."""
    basis = find_basis(evidence, claim)
    estimate = None if basis is None else estimate_claim(claim, basis, repetitions)
    foreign = not_comparable_sides(evidence, claim)
    if basis is not None and estimate is not None and not basis.is_preliminary:
        verdict = claim.kind.verdict(claim, estimate.parts)
    else:
        verdict = NOT_COMPARABLE if foreign else INSUFFICIENT
    found_power = _power(claim, basis, estimate)
    return Judgement(
        claim=claim,
        verdict=verdict,
        interval=estimate.interval if estimate else Interval(None, reason=_why_no_basis(claim)),
        estimate=estimate,
        basis=basis,
        full_sides=untimed_sides(evidence, claim) if claim.kind.is_timed else sides_at(evidence, claim, claim.frames),
        missing=find_missing(evidence, claim, catalogue),
        power=found_power,
        further=_further(claim, verdict, found_power, evidence, catalogue),
        not_comparable=tuple(foreign),
    )


def _why_no_basis(claim: Claim) -> str:
    """What no game has, where there is nothing to estimate from: the same game played at one budget is not enough."""
    if claim.kind.is_timed:
        place = {"": "one machine", "cpu": "one CPU", "gpu": "one GPU"}[claim.on]
        return f"no game was timed for every side on {place}, with like paths"
    if claim.measure in LAYER_MEASURES:
        sample = " and sample size" if claim.measure == RANK_MEASURE else ""
        return f"no game has a final {MEASURE_TITLES[claim.measure]} of every side at one budget{sample}"
    return "no game has been played by every side at one budget"


def _wanted_seeds(claim: Claim, verdict: str, found: Power) -> Seeds | None:
    return None if verdict not in OPEN or claim.kind.is_timed else found.confirming or found.needed


def _further(claim: Claim, verdict: str, found: Power, evidence: Evidence, catalogue: Catalogue) -> Missing | None:
    """The runs up to the likely number of seeds; None where it is too large to ask for, or is there already."""
    wanted = _wanted_seeds(claim, verdict, found)
    if wanted is None or wanted.likely > MOST_FURTHER_SEEDS:
        return None
    further = find_missing(evidence, claim, catalogue, wanted.likely)
    return further if further.runs else None


def estimate_claim(claim: Claim, basis: Basis, repetitions: int = CLAIM_REPETITIONS) -> Estimate:
    """The claim's statistic on the runs of `basis`, with intervals."""
    scores = basis.matrices(claim)
    names, statistic = claim.kind.statistic(claim, scores)
    label = f"claim {claim.id} {basis.frames} {','.join(basis.games)}"
    drawn = draw(label, scores, statistic, repetitions)
    scales = [LINEAR if name in claim.kind.chances else claim.kind.scale for name in names]
    point, parts = statistic(*scores), {}
    for column, (name, scale) in enumerate(zip(names, scales, strict=True)):
        of_part = None if drawn is None else drawn.at([column])
        [interval] = with_ends(point[[column]], of_part, scores, scale)
        if name in claim.kind.chances:
            parts[name] = clipped(interval)
        elif interval.estimate is None:
            parts[name] = Interval(None, reason=NO_REFERENCE)
        elif claim.kind.is_ratio and interval.reason == UNBOUNDED:
            parts[name] = Interval(None, reason=f"{NEAR_ZERO}: over its seeds it may lie below {LEAST_REFERENCE}")
        else:
            parts[name] = interval
    main = claim.kind.decides(claim, parts)
    if drawn is None:
        return Estimate(parts, main, None, (), why_unknown(scores))
    column = names.index(main)
    shares = variance_shares(drawn.at([column]), scales[column])[:, 0]
    return Estimate(parts, main, drawn.joint[:, column], tuple(map(float, shares)), "")


def _side_seeds(basis: Basis, shares: tuple[float, ...]) -> tuple[SideSeeds, ...]:
    if not shares:
        return ()
    counts = [[len(side.entries[game]) for game in basis.games] for side in basis.sides]
    return tuple(
        SideSeeds(share, least=min(of_games), typical=harmonic_mean(of_games))
        for share, of_games in zip(shares, counts, strict=True)
    )


def _power(claim: Claim, basis: Basis | None, estimate: Estimate | None) -> Power:
    if basis is None or estimate is None:
        return Power(reason=_why_no_basis(claim))
    contrast = claim.kind.contrast(claim, estimate.draws, estimate.interval.estimate)
    found = power(
        contrast.draws,
        effect=contrast.effect,
        half=contrast.half,
        margin=contrast.margin,
        is_ratio=claim.kind.is_ratio,
        design=Design(
            sides=_side_seeds(basis, estimate.shares),
            games=len(basis.games),
            claimed_games=len(basis.games) if claim.kind.is_timed else len(claim.games),
            least_seeds=MINIMUM_SEEDS,
        ),
        why_unknown=estimate.why_unknown,
    )
    if claim.kind.is_timed or basis.frames == claim.frames or found.needed is None:
        return found
    return replace(found, needed=None, confirming=None, reason=OTHER_BUDGET)
