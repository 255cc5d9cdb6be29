"""The kinds of claim, one entry each: what is computed, how it is judged and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from reports.judging.claims import Claim, Contrast, Kind, Parts, Seen
from reports.judging.verdicts import (
    AHEAD,
    BEHIND,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    SHOWN,
    SMALLER,
    ahead_verdict,
    below_verdict,
    gain_verdict,
    half_of,
    higher_verdict,
    ratio_verdict,
    reaches_verdict,
    reproduced_band,
)
from reports.measures import LAYER_MEASURES, MEASURE_TITLES, SCORE_MEASURES, TIME_MEASURE
from reports.numerals import counted, frames, number, percent, signed
from reports.statistics.aggregate import STATISTICS, game_means, improvement_chance
from reports.statistics.bootstrap import Interval, Scores, Statistic

CHANCE = "probability_of_improvement"
_SCORE_TITLES = {
    "median": "Median",
    "iqm": "IQM",
    "mean": "Mean",
    CHANCE: "Chance that a run of A beats one of B",
}


def _claimed(claim: Claim) -> float:
    assert claim.claimed is not None, "the kind needs it, and the reader of claims asks for it"
    return claim.claimed


def _measure(claim: Claim) -> str:
    return MEASURE_TITLES[claim.measure]


def _weakest(parts: Parts, names: list[str]) -> str:
    """Of several parts that must all hold, the one with the lowest lower end."""

    def weakness(name: str) -> float:
        interval = parts[name]
        value = interval.estimate if interval.low is None else interval.low
        return float("inf") if value is None else value

    return min(names, key=weakness)


def _as_drawn(claim: Claim, draws: Scores | None, value: float | None) -> Contrast:
    return Contrast(draws, value)


def _in_measure(claim: Claim, value: float | None, *, is_difference: bool) -> str:
    """A value of a layer's measure or a score, or a difference of two."""
    if claim.measure == "dead_fraction":
        digits = 1 if value is None or abs(value) >= 0.01 else 2
        return percent(value, digits=digits, signed=is_difference)
    if is_difference:
        return signed(value, 1 if claim.measure in LAYER_MEASURES else 2)
    return number(value)


# gain and reaches: a ratio of scores ---------------------------------------------------------------------------------


def _gains(a: Scores, b: Scores) -> Scores:
    """metric(A) / metric(B) - 1 for each score measure, nan where metric(B) is not positive; then the probability of
    improvement."""
    values = np.empty(len(SCORE_MEASURES) + 1)
    for index, measure in enumerate(SCORE_MEASURES):
        reference = STATISTICS[measure](b)
        values[index] = STATISTICS[measure](a) / reference - 1 if reference > 0 else np.nan
    values[-1] = improvement_chance(a, b)[0]
    return values


def _gain_seen(seen: Seen) -> str:
    claim = seen.claim
    versus = f"is {percent(abs(seen.value))} {'above' if seen.value >= 0 else 'below'} {seen.other}'s"
    if claim.at_frames is None:
        return f"{seen.title}'s {_measure(claim)} {versus} ({seen.ends})."
    moment = f"{frames(seen.frames * claim.at_frames / claim.frames)} of {frames(seen.frames)} frames"
    return f"{seen.title}'s {_measure(claim)} at {moment} {versus} at the end ({seen.ends})."


def _percent_size(value: float) -> str:
    return percent(value, digits=0 if value >= 0.1 else 1)


GAIN = Kind(
    name="gain",
    needs=("reference", "frames", "claimed"),
    measures=SCORE_MEASURES,
    rule=(
        "The gain is metric(A) / metric(B) less 1. It is reproduced if the interval's lower end is above half the "
        "claimed gain and its upper end not below the claimed one. A gain is shown if only zero is below; "
        "it is smaller than claimed if the upper end is below the claimed gain. If the lower end is not above "
        "zero, the claim is not reproduced where the upper end is below the claimed gain, else inconclusive."
    ),
    statistic=lambda claim: ([*SCORE_MEASURES, CHANCE], _gains),
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: gain_verdict(parts[claim.measure], _claimed(claim)),
    meanings={
        REPRODUCED: "The whole interval lies above half the claimed {claimed}, which it does not exclude.",
        SHOWN: (
            "A gain is certain, and the claimed {claimed} is not excluded, but neither is half of it: more seeds would "
            "tell."
        ),
        SMALLER: "A gain is certain, but even the interval's upper end stays below the claimed {claimed}.",
        INCONCLUSIVE: "The interval holds both no gain and the claimed {claimed}: more seeds would tell.",
        NOT_REPRODUCED: "No gain can be told, and the claimed {claimed} lies above the interval.",
    },
    written=lambda claim, value: percent(value, signed=True),
    claimed=lambda claim: percent(claim.claimed, signed=True),
    seen=_gain_seen,
    contrast=lambda claim, draws, value: Contrast(draws, claim.claimed, half_of(_claimed(claim))),
    told=lambda claim, size: f"a gain of {_percent_size(size)}",
    goal=lambda claim: f"the claimed {claim.claimed_text}",
    marks=lambda claim: [("no gain", 0.0), (f"claimed {claim.claimed_text}", _claimed(claim))],
    is_ratio=True,
    chances=(CHANCE,),
    part_titles=_SCORE_TITLES,
)

REACHES = Kind(
    name="reaches",
    needs=("reference", "frames", "at_frames"),
    measures=SCORE_MEASURES,
    rule=(
        "The lead is metric(A) / metric(B) less 1, where A is taken at the earlier frame of its own run. It is "
        "reproduced if the whole interval is above zero, not reproduced if it is below, inconclusive if it holds zero."
    ),
    statistic=lambda claim: ([*SCORE_MEASURES, CHANCE], _gains),
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: reaches_verdict(parts[claim.measure]),
    meanings={
        REPRODUCED: "The whole interval lies above level.",
        INCONCLUSIVE: "The interval holds level: more seeds would tell.",
        NOT_REPRODUCED: "The whole interval lies below level.",
    },
    written=lambda claim, value: percent(value, signed=True),
    claimed=lambda claim: "level or above",
    seen=_gain_seen,
    contrast=_as_drawn,
    told=lambda claim, size: f"a lead of {_percent_size(size)}",
    marks=lambda claim: [("level", 0.0)],
    is_ratio=True,
    chances=(CHANCE,),
    part_titles=_SCORE_TITLES,
)


AHEAD_OF = Kind(
    name="ahead",
    needs=("reference", "frames"),
    measures=SCORE_MEASURES,
    rule=(
        "A question, of which nothing is claimed. The lead is metric(A) / metric(B) less 1. The answer is ahead if its "
        "whole interval is above zero, behind if it is below, inconclusive if it holds zero."
    ),
    statistic=lambda claim: ([*SCORE_MEASURES, CHANCE], _gains),
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: ahead_verdict(parts[claim.measure]),
    meanings={
        AHEAD: "The whole interval lies above level.",
        INCONCLUSIVE: "The interval holds level: more seeds would tell.",
        BEHIND: "The whole interval lies below level.",
    },
    written=lambda claim, value: percent(value, signed=True),
    claimed=lambda claim: "ahead or behind",
    seen=_gain_seen,
    contrast=_as_drawn,
    told=lambda claim, size: f"a lead of {_percent_size(size)}",
    marks=lambda claim: [("level", 0.0)],
    is_ratio=True,
    chances=(CHANCE,),
    part_titles=_SCORE_TITLES,
)


# higher and below: what the layers of a network do --------------------------------------------------------------------


def _layer_differences(a: Scores, b: Scores) -> Scores:
    """Mean over games of A - B for each layer: [layers] from [runs, games, layers]."""
    return (game_means(a) - game_means(b)).mean(axis=0)


def _layer_means(a: Scores) -> Scores:
    """The mean over games and layers, then the mean over games of each layer."""
    layers = game_means(a).mean(axis=0)
    return np.concatenate([[layers.mean()], layers])


def _higher_seen(seen: Seen) -> str:
    where = f" in {seen.part}, the layer that decides," if len(seen.claim.layers) > 1 else ""
    value = seen.claim.written(seen.value)
    return f"{seen.title}'s {_measure(seen.claim)}{where} differs from {seen.other}'s by {value} ({seen.ends})."


def _below_seen(seen: Seen) -> str:
    layers = len(seen.claim.layers)
    over = "" if layers == 1 else f", averaged over {counted(layers, 'layer')},"
    return f"{seen.title}'s {_measure(seen.claim)}{over} is {seen.claim.written(seen.value)} ({seen.ends})."


def _bound(claim: Claim) -> str:
    bound = _claimed(claim)
    is_whole = abs(100 * bound - round(100 * bound)) < 1e-9
    return f"under {percent(bound) if claim.measure == 'dead_fraction' and is_whole else claim.written(bound)}"


def _below_contrast(claim: Claim, draws: Scores | None, value: float | None) -> Contrast:
    if value is None:
        return Contrast(draws, None)
    return Contrast(None if draws is None else draws - _claimed(claim), _claimed(claim) - value)


HIGHER = Kind(
    name="higher",
    needs=("reference", "frames", "layers"),
    measures=LAYER_MEASURES,
    rule=(
        "The difference of the final values, A less B (mean over the last 10 % of the budget), averaged over games, "
        "for each layer. Reproduced if every layer's interval is above zero; not reproduced if some layer's is below; "
        "otherwise inconclusive. The layer with the lowest lower end stands for the claim."
    ),
    statistic=lambda claim: (list(claim.layers), _layer_differences),
    decides=lambda claim, parts: _weakest(parts, list(claim.layers)),
    verdict=lambda claim, parts: higher_verdict([parts[layer] for layer in claim.layers]),
    meanings={
        REPRODUCED: "It is higher in every layer the claim names.",
        INCONCLUSIVE: "In one of the layers the interval holds no difference.",
        NOT_REPRODUCED: "In one of the layers it is certainly lower.",
    },
    written=lambda claim, value: _in_measure(claim, value, is_difference=True),
    claimed=lambda claim: "above",
    seen=_higher_seen,
    contrast=_as_drawn,
    told=lambda claim, size: f"a difference of {claim.written(size).lstrip('+')}",
    marks=lambda claim: [("equal", 0.0)],
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
    statistic=lambda claim: (["all layers", *claim.layers], _layer_means),
    decides=lambda claim, parts: "all layers",
    verdict=lambda claim, parts: below_verdict(parts["all layers"], _claimed(claim)),
    meanings={
        REPRODUCED: "The whole interval lies under the bound.",
        INCONCLUSIVE: "The interval holds the bound.",
        NOT_REPRODUCED: "The whole interval lies above the bound.",
    },
    written=lambda claim, value: _in_measure(claim, value, is_difference=False),
    claimed=_bound,
    seen=_below_seen,
    contrast=_below_contrast,
    told=lambda claim, size: f"a distance of {claim.written(size)} from the bound",
    marks=lambda claim: [(f"claimed {claim.claimed_text}", _claimed(claim))],
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
    return reproduced_band(_claimed(claim), claim.tolerance)


RATIO = Kind(
    name="ratio",
    needs=("reference", "claimed", "tolerance", "try_games", "try_frames"),
    measures=(TIME_MEASURE,),
    rule=(
        "The mean time a frame of A over that of B in the same game on the same hardware, as a geometric mean over "
        "games. Reproduced if the whole interval lies within the shaded range around the claimed ratio; smaller if it "
        "lies below; not reproduced if above; otherwise inconclusive."
    ),
    statistic=lambda claim: (["ratio"], _time_ratio),
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
        f"{seen.title} takes {_times(seen.claim, seen.value)} {seen.other}'s {_measure(seen.claim)} ({seen.ends})."
    ),
    # Ratios as gains: 2.25 times is +125 %.
    contrast=lambda claim, draws, value: Contrast(None if draws is None else draws - 1, _claimed(claim) - 1),
    told=lambda claim, size: f"a difference of {_percent_size(size)}",
    goal=lambda claim: "the claimed ratio",
    marks=lambda claim: [("equal", 1.0), (f"claimed {_times(claim, claim.claimed)}", _claimed(claim))],
    band=_ratio_band,
    is_ratio=True,
    is_timed=True,
    part_titles={"ratio": "Time a frame"},
)


# order: what each piece is worth --------------------------------------------------------------------------------------


def _ordered_drops(claim: Claim) -> tuple[list[str], Statistic]:
    """Differences of neighbours in the claimed order, then how far each removal lowers the measure."""
    measure: Callable[[Scores], float] = STATISTICS[claim.measure]

    def statistic(full: Scores, *without: Scores) -> Scores:
        drops = [measure(full) - measure(scores) for scores in without]
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
        "Reproduced if every difference's interval is above zero, not reproduced if some is below, else inconclusive."
    ),
    statistic=_ordered_drops,
    decides=lambda claim, parts: _weakest(parts, _steps(claim)),
    verdict=lambda claim, parts: higher_verdict(_steps_of(claim, parts)),
    meanings={
        REPRODUCED: "Every neighbouring pair stands in the claimed order.",
        INCONCLUSIVE: "Of some neighbouring pair the order cannot be told.",
        NOT_REPRODUCED: "Some neighbouring pair stands the other way round.",
    },
    written=lambda claim, value: number(value),
    claimed=lambda claim: "in this order",
    seen=lambda seen: (
        f"The closest neighbours in the order, {seen.part}, differ by {seen.claim.written(seen.value)} ({seen.ends})."
    ),
    contrast=_as_drawn,
    told=lambda claim, size: f"a difference of {claim.written(size)}",
    marks=lambda claim: [("equal", 0.0)],
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (GAIN, REACHES, AHEAD_OF, HIGHER, BELOW, RATIO, ORDER)}
