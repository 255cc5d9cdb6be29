"""From evidence to a judged claim: basis, estimate, verdict, what is missing, power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reports.catalogue import Catalogue
from reports.judging.claims import Claim
from reports.judging.evidence import EXTERNAL, Entry, Evidence
from reports.judging.missing import Missing, find_missing
from reports.judging.sides import Basis, Side, find_basis, not_comparable_sides, sides_at
from reports.judging.verdicts import (
    INSUFFICIENT,
    NOT_COMPARABLE,
    below_verdict,
    gain_verdict,
    higher_verdict,
    ratio_verdict,
    reaches_verdict,
)
from reports.measures import SCORE_MEASURES
from reports.statistics.aggregate import STATISTICS, game_means, improvement_chance
from reports.statistics.bootstrap import (
    CLAIM_REPETITIONS,
    SINGLE_RUN,
    UNBOUNDED,
    Interval,
    Scores,
    Statistic,
    degrees_of_freedom,
    ends,
    finite,
    replicates,
)
from reports.statistics.power import Power, power

NO_REFERENCE = "the reference's score is not positive, so that a gain over it is undefined"
NO_RUNS = "no game has been played by every side at one budget"


@dataclass(frozen=True)
class Estimate:
    """What the claim's statistic gives: its parts, and the one the claim is judged by."""

    parts: Mapping[str, Interval]
    main: str  # key of `parts`
    draws: Scores | None  # [repetitions] of the main part

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
    full_sides: tuple[Side, ...]  # what there is at the claimed budget; empty for a ratio of times
    missing: Missing
    power: Power
    not_comparable: tuple[str, ...]  # baselines of which only runs that do not count exist at the claimed budget

    @property
    def is_preliminary(self) -> bool:
        return self.verdict in (INSUFFICIENT, NOT_COMPARABLE)

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
        verdict = _verdict(claim, estimate)
    else:
        verdict = NOT_COMPARABLE if foreign else INSUFFICIENT
    return Judgement(
        claim=claim,
        verdict=verdict,
        interval=estimate.interval if estimate else Interval(None, reason=NO_RUNS),
        estimate=estimate,
        basis=basis,
        full_sides=() if claim.kind == "ratio" else sides_at(evidence, claim, claim.frames),
        missing=find_missing(evidence, claim, catalogue),
        power=_power(claim, basis, estimate),
        not_comparable=tuple(foreign),
    )


def estimate_claim(claim: Claim, basis: Basis, repetitions: int = CLAIM_REPETITIONS) -> Estimate:
    """The claim's statistic on the runs of `basis`, with intervals."""
    names, statistic = _statistic(claim)
    scores = basis.matrices(claim)
    point = statistic(*scores)
    label = f"claim {claim.id} {basis.frames} {','.join(basis.games)}"
    drawn = replicates(label, scores, statistic, repetitions)
    if drawn is None:
        parts = {name: Interval(finite(value), reason=SINGLE_RUN) for name, value in zip(names, point, strict=True)}
    else:
        low, high = ends(drawn, degrees_of_freedom(scores))
        parts = {
            name: Interval(
                finite(point[i]),
                finite(low[i]),
                finite(high[i]),
                "" if np.isfinite([low[i], high[i]]).all() else UNBOUNDED,
            )
            for i, name in enumerate(names)
        }
    for name, interval in parts.items():
        if interval.estimate is None:
            parts[name] = Interval(None, reason=NO_REFERENCE)
    main = _main(claim, parts)
    return Estimate(parts, main, None if drawn is None else drawn[:, names.index(main)])


def _statistic(claim: Claim) -> tuple[list[str], Statistic]:
    """Names of the parts and the function that computes them from the sides' scores."""
    if claim.kind in ("gain", "reaches"):
        return [*SCORE_MEASURES, "probability_of_improvement"], _gains
    if claim.kind == "higher":
        return list(claim.layers), _layer_differences
    if claim.kind == "below":
        return ["all layers", *claim.layers], _layer_means
    if claim.kind == "ratio":
        return ["ratio"], _time_ratio
    drops = [f"drop of {name}" for name in claim.without]
    steps = [f"{first} before {second}" for first, second in pairwise(claim.without)]
    return [*steps, *drops], _ordered_drops(claim.measure)


def _gains(a: Scores, b: Scores) -> Scores:
    """metric(A) / metric(B) - 1 for each score measure, nan where metric(B) is not positive; then the probability of
    improvement."""
    values = np.empty(len(SCORE_MEASURES) + 1)
    for index, measure in enumerate(SCORE_MEASURES):
        reference = STATISTICS[measure](b)
        values[index] = STATISTICS[measure](a) / reference - 1 if reference > 0 else np.nan
    values[-1] = improvement_chance(a, b)[0]
    return values


def _layer_differences(a: Scores, b: Scores) -> Scores:
    """Mean over games of A - B for each layer: [layers] from [runs, games, layers]."""
    return (game_means(a) - game_means(b)).mean(axis=0)


def _layer_means(a: Scores) -> Scores:
    """The mean over games and layers, then the mean over games of each layer."""
    layers = game_means(a).mean(axis=0)
    return np.concatenate([[layers.mean()], layers])


def _time_ratio(a: Scores, b: Scores) -> Scores:
    """Geometric mean over games of A's mean time over B's."""
    return np.exp([np.log(game_means(a) / game_means(b)).mean()])


def _ordered_drops(measure: str) -> Statistic:
    def statistic(full: Scores, *without: Scores) -> Scores:
        drops = [STATISTICS[measure](full) - STATISTICS[measure](scores) for scores in without]
        return np.array([*(first - second for first, second in pairwise(drops)), *drops])

    return statistic


def _main(claim: Claim, parts: Mapping[str, Interval]) -> str:
    """The part that stands for the claim: of several that must all hold, the weakest."""
    if claim.kind in ("gain", "reaches"):
        return claim.measure
    if claim.kind in ("below", "ratio"):
        return next(iter(parts))
    candidates = claim.layers if claim.kind == "higher" else [name for name in parts if " before " in name]

    def weakness(name: str) -> float:
        interval = parts[name]
        value = interval.estimate if interval.low is None else interval.low
        return float("inf") if value is None else value

    return min(candidates, key=weakness)


def _verdict(claim: Claim, estimate: Estimate) -> str:
    interval = estimate.interval
    if claim.kind == "gain":
        return gain_verdict(interval, claim.claimed or 0.0)
    if claim.kind == "reaches":
        return reaches_verdict(interval)
    if claim.kind == "below":
        return below_verdict(interval, claim.claimed or 0.0)
    if claim.kind == "ratio":
        return ratio_verdict(interval, claim.claimed or 0.0, claim.tolerance or 0.0)
    if claim.kind == "higher":
        return higher_verdict([estimate.parts[layer] for layer in claim.layers])
    return higher_verdict([part for name, part in estimate.parts.items() if " before " in name])


def _power(claim: Claim, basis: Basis | None, estimate: Estimate | None) -> Power:
    if basis is None or estimate is None:
        return Power(None, None, claim.claimed, NO_RUNS)
    value = estimate.interval.estimate
    draws, is_ratio, effect = estimate.draws, claim.kind in ("gain", "reaches", "ratio"), value
    if claim.kind == "gain":
        effect = claim.claimed
    elif claim.kind == "ratio" and claim.claimed is not None:  # ratios as gains: 2.25 times is +125 %
        draws, effect = None if draws is None else draws - 1, claim.claimed - 1
    elif claim.kind == "below" and claim.claimed is not None and value is not None:
        draws, effect = None if draws is None else draws - claim.claimed, claim.claimed - value
    return power(
        draws,
        effect=effect,
        is_ratio=is_ratio,
        seeds=basis.seeds[0],
        games=len(basis.games),
        claimed_games=len(basis.games) if claim.kind == "ratio" else len(claim.games),
    )
