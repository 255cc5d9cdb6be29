"""The kinds of claim, one entry each: what is computed, how it is judged and how it is said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from reports.judging.claims import Claim, Contrast, Kind, Parts, Seen
from reports.judging.score_kinds import (
    AHEAD_OF,
    ALIKE_TO,
    GAIN,
    REACHES,
    as_drawn,
    claimed_of,
    measure_title,
    percent_size,
)
from reports.judging.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    SMALLER,
    below_verdict,
    ends_of,
    higher_verdict,
    is_too_small,
    ratio_verdict,
    reproduced_band,
)
from reports.measures import LAYER_MEASURES, SCORE_MEASURES, TIME_MEASURE
from reports.numerals import counted, number, percent, signed
from reports.statistics.aggregate import game_means, statistics_of
from reports.statistics.bootstrap import OF_RATIOS, Interval, Scores, Statistic


def _deciding(parts: Parts, names: list[str], least: float = 0.0) -> str:
    """Of several parts that must all hold, the one that the verdict of `higher_verdict` hangs on.

    Of those that refute the claim, or else of those that are too small, the one with the lowest upper end; without
    any, the one with the lowest lower end.
    """
    ends = {name: ends_of(parts[name]) for name in names}
    refuting = [name for name in names if ends[name][1] < 0]
    small = [name for name in names if is_too_small(parts[name], least)]
    if refuting or small:
        return min(refuting or small, key=lambda name: ends[name][1])
    estimates = {name: parts[name].estimate for name in names}
    if all(parts[name].low is None for name in names):  # no intervals: the lowest estimate
        return min(names, key=lambda name: math.inf if (value := estimates[name]) is None else value)
    return min(names, key=lambda name: ends[name][0])


def _layer_text(claim: Claim, value: float | None, *, is_difference: bool) -> str:
    """A value of a layer's measure, or a difference of two."""
    if claim.measure == "dead_fraction":
        digits = 2 if value and abs(value) < 0.01 else 1
        return percent(value, digits=digits, signed=is_difference)
    return signed(value, 1) if is_difference else number(value)


# higher and below: what the layers of a network do --------------------------------------------------------------------


def _layer_differences(a: Scores, b: Scores) -> Scores:
    """Mean over games of A - B for each layer: [layers] from [runs, games, layers]."""
    return (game_means(a) - game_means(b)).mean(axis=0)


def _layer_means(a: Scores) -> Scores:
    """The mean over games and layers, then the mean over games of each layer."""
    layers = game_means(a).mean(axis=0)
    return np.concatenate([[layers.mean()], layers])


def _least_text(claim: Claim) -> str:
    return "above" if claim.least is None else f"above, by {number(claim.least, 0)} at least"


def _least(claim: Claim) -> float:
    return 0.0 if claim.least is None else claim.least


def _higher_contrast(claim: Claim, draws: Scores | None, value: float | None) -> Contrast:
    """The verdict holds the difference against the least that counts, and so does its power."""
    return Contrast(None if draws is None else draws - _least(claim), None if value is None else value - _least(claim))


def _higher_told(claim: Claim, size: float) -> str:
    if claim.least is None:
        return f"a difference of {claim.written(size).lstrip('+')} from none"
    told = claim.written(claim.least + size).lstrip("+")
    return f"a difference of {told} from the {number(claim.least, 0)} that count"


def _higher_goal(claim: Claim) -> str:
    return f"telling what is seen from {'none' if claim.least is None else 'the least difference that counts'}"


def _higher_seen(seen: Seen) -> str:
    where = f" in {seen.part}, the layer that decides," if len(seen.claim.layers) > 1 else ""
    value = seen.claim.written(seen.value)
    return f"{seen.title}'s {measure_title(seen.claim)}{where} differs from {seen.other}'s by {value} ({seen.ends})."


def _below_seen(seen: Seen) -> str:
    layers = len(seen.claim.layers)
    over = "" if layers == 1 else f", averaged over {counted(layers, 'layer')},"
    return f"{seen.title}'s {measure_title(seen.claim)}{over} is {seen.claim.written(seen.value)} ({seen.ends})."


def _bound(claim: Claim) -> str:
    bound = claimed_of(claim)
    is_whole = abs(100 * bound - round(100 * bound)) < 1e-9
    return f"under {percent(bound) if claim.measure == 'dead_fraction' and is_whole else claim.written(bound)}"


def _below_contrast(claim: Claim, draws: Scores | None, value: float | None) -> Contrast:
    if value is None:
        return Contrast(draws, None)
    return Contrast(None if draws is None else draws - claimed_of(claim), claimed_of(claim) - value)


HIGHER = Kind(
    name="higher",
    needs=("reference", "frames", "layers"),
    measures=LAYER_MEASURES,
    rule=(
        "The difference of the final values, A less B (mean over the last 10 % of the budget), averaged over games, "
        "for each layer. Reproduced if every layer's whole interval is above zero and at or above the smallest "
        "difference that counts, where one is stated; not reproduced if some layer's is below zero; smaller than "
        "claimed if some layer's is above zero and wholly below that smallest difference; otherwise inconclusive. A "
        "layer that refutes stands for the claim, or else the one with the lowest lower end."
    ),
    statistic=lambda claim, sides: (list(claim.layers), _layer_differences),
    decides=lambda claim, parts: _deciding(parts, list(claim.layers), _least(claim)),
    verdict=lambda claim, parts: higher_verdict([parts[layer] for layer in claim.layers], _least(claim)),
    meanings={
        REPRODUCED: "It is higher in every layer the claim names.",
        SMALLER: "In this layer it is certainly higher, and by less than the smallest difference that counts.",
        INCONCLUSIVE: "In one of the layers the interval holds no difference, or one too small to count.",
        NOT_REPRODUCED: "In one of the layers it is certainly lower.",
    },
    written=lambda claim, value: _layer_text(claim, value, is_difference=True),
    claimed=_least_text,
    seen=_higher_seen,
    contrast=_higher_contrast,
    told=_higher_told,
    goal=_higher_goal,
    marks=lambda claim: [("equal", 0.0), *([] if claim.least is None else [("counts from", claim.least)])],
    options=("least", "observations"),
)

BELOW = Kind(
    name="below",
    needs=("frames", "layers", "claimed"),
    measures=LAYER_MEASURES,
    rule=(
        "The final value (mean over the last 10 % of the budget), averaged over games and over layers, each layer "
        "weighing the same. Reproduced if the whole interval is under the bound, not reproduced if it is above it, "
        "else inconclusive."
    ),
    statistic=lambda claim, sides: (["all layers", *claim.layers], _layer_means),
    decides=lambda claim, parts: "all layers",
    verdict=lambda claim, parts: below_verdict(parts["all layers"], claimed_of(claim)),
    meanings={
        REPRODUCED: "The whole interval lies under the bound.",
        INCONCLUSIVE: "The interval holds the bound.",
        NOT_REPRODUCED: "The whole interval lies above the bound.",
    },
    written=lambda claim, value: _layer_text(claim, value, is_difference=False),
    claimed=_bound,
    seen=_below_seen,
    contrast=_below_contrast,
    told=lambda claim, size: f"a value {claim.written(size)} away from the bound from the bound itself",
    marks=lambda claim: [(f"claimed {claim.claimed_text}", claimed_of(claim))],
    part_titles={"all layers": "All layers"},
)


# ratio: what a run costs ----------------------------------------------------------------------------------------------


def _time_ratio(a: Scores, b: Scores) -> Scores:
    """Geometric mean over games of A's mean time over B's."""
    return np.exp([np.log(game_means(a) / game_means(b)).mean()])


def _times(claim: Claim, value: float | None) -> str:
    return number(value) + "\N{MULTIPLICATION SIGN}"


def _ratio_band(claim: Claim) -> tuple[float, float]:
    assert claim.tolerance is not None, "the kind needs it, and the reader of claims asks for it"
    return reproduced_band(claimed_of(claim), claim.tolerance)


RATIO = Kind(
    name="ratio",
    needs=("reference", "claimed", "tolerance", "try_games", "try_frames"),
    measures=(TIME_MEASURE,),
    rule=(
        "The mean time a frame of A over that of B in the same game on the same hardware, as a geometric mean over "
        "games. Reproduced if the whole interval lies within the shaded range around the claimed ratio; smaller if it "
        "lies below; not reproduced if above; otherwise inconclusive."
    ),
    statistic=lambda claim, sides: (["ratio"], _time_ratio),
    decides=lambda claim, parts: "ratio",
    verdict=lambda claim, parts: ratio_verdict(parts["ratio"], _ratio_band(claim)),
    meanings={
        REPRODUCED: "The whole interval counts as {claimed}.",
        SMALLER: "The whole interval lies below: it costs less than claimed.",
        INCONCLUSIVE: "The interval reaches beyond what counts as {claimed}.",
        NOT_REPRODUCED: "The whole interval lies above: it costs more than claimed.",
    },
    written=_times,
    claimed=lambda claim: f"about {_times(claim, claim.claimed)}",
    seen=lambda seen: (
        f"{seen.title} takes {_times(seen.claim, seen.value)} {seen.other}'s {measure_title(seen.claim)} ({seen.ends})."
    ),
    # Ratios as gains: 2.25 times is +125 %.
    contrast=lambda claim, draws, value: Contrast(None if draws is None else draws - 1, claimed_of(claim) - 1),
    told=lambda claim, size: f"a difference of {percent_size(size)} from none",
    goal=lambda claim: "telling the claimed ratio from none",
    marks=lambda claim: [("equal", 1.0), (f"claimed {_times(claim, claim.claimed)}", claimed_of(claim))],
    band=_ratio_band,
    options=("on",),
    scale=OF_RATIOS,
    is_timed=True,
    part_titles={"ratio": "Time a frame"},
)


# order: what each piece is worth --------------------------------------------------------------------------------------


def _ordered_drops(claim: Claim, sides: Sequence[Scores]) -> tuple[list[str], Statistic]:
    """Differences of neighbours in the claimed order, then how far each removal lowers the measure."""
    measures = [statistics_of(scores)[claim.measure] for scores in sides]

    def statistic(*drawn: Scores) -> Scores:
        full, *without = (measure(scores) for measure, scores in zip(measures, drawn, strict=True))
        drops = [full - lowered for lowered in without]
        return np.array([*(first - second for first, second in pairwise(drops)), *drops])

    return [*_steps(claim), *(f"drop of {name}" for name in claim.without)], statistic


def _steps(claim: Claim) -> list[str]:
    return [f"{first} before {second}" for first, second in pairwise(claim.without)]


def _steps_of(claim: Claim, parts: Parts) -> list[Interval]:
    return [parts[name] for name in _steps(claim)]


ORDER = Kind(
    name="order",
    needs=("frames", "without"),
    measures=SCORE_MEASURES,
    rule=(
        "How much each piece costs when it is taken out, and the difference between neighbours in the claimed order. "
        "Reproduced if every difference's interval is above zero, not reproduced if some is below, else inconclusive. "
        "A difference that refutes stands for the claim, or else the one with the lowest lower end."
    ),
    statistic=_ordered_drops,
    decides=lambda claim, parts: _deciding(parts, _steps(claim)),
    verdict=lambda claim, parts: higher_verdict(_steps_of(claim, parts)),
    meanings={
        REPRODUCED: "Every neighbouring pair stands in the claimed order.",
        INCONCLUSIVE: "Of some neighbouring pair the order cannot be told.",
        NOT_REPRODUCED: "Some neighbouring pair stands the other way round.",
    },
    written=lambda claim, value: number(value),
    claimed=lambda claim: "in this order",
    seen=lambda seen: (
        f"Of the claimed order this pair decides: the {seen.part} is {seen.claim.written(seen.value)} ({seen.ends})."
    ),
    contrast=as_drawn,
    told=lambda claim, size: f"a difference of {claim.written(size)} from none",
    marks=lambda claim: [("equal", 0.0)],
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (GAIN, REACHES, AHEAD_OF, ALIKE_TO, HIGHER, BELOW, RATIO, ORDER)}
