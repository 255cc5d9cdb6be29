"""The kinds of claim about scores: by how much one side's are above another's, or whether both are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.judging.claims import Claim, Contrast, Kind, Seen
from reports.judging.verdicts import (
    AHEAD,
    ALIKE,
    BEHIND,
    DIFFERENT,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    SHOWN,
    SMALLER,
    ahead_verdict,
    alike_verdict,
    gain_verdict,
    half_of,
    reaches_verdict,
    reproduced_band,
)
from reports.measures import MEASURE_TITLES, SCORE_MEASURES
from reports.numerals import NBSP, frames, percent
from reports.statistics.aggregate import improvement_chance, statistics_of
from reports.statistics.bootstrap import OF_GAINS, Scores, Statistic

LEAST_REFERENCE = 0.02  # human-normalised: over a smaller score a gain says nothing
CHANCE = "probability_of_improvement"
SCORE_TITLES = {
    "median": "Median",
    "iqm": "IQM",
    "mean": "Mean",
    CHANCE: "Chance that a run of A beats one of B",
}


def claimed_of(claim: Claim) -> float:
    """The claimed value of a claim whose kind has one."""
    assert claim.claimed is not None, "the kind needs it, and the reader of claims asks for it"
    return claim.claimed


def measure_title(claim: Claim) -> str:
    """What the claim measures, in words."""
    return MEASURE_TITLES[claim.measure]


def as_drawn(claim: Claim, draws: Scores | None, value: float | None) -> Contrast:
    """Power is about the effect seen, as it was drawn."""
    return Contrast(draws, value)


def percent_size(value: float) -> str:
    """The size of a ratio's difference from one."""
    return percent(value, digits=0 if value >= 0.1 else 1)


# gain and reaches: a ratio of scores ---------------------------------------------------------------------------------


def _gains(claim: Claim, sides: Sequence[Scores]) -> tuple[list[str], Statistic]:
    """metric(A) / metric(B) - 1 for each score measure, nan where metric(B) is too near zero; then the probability of
    improvement."""
    of_a, of_b = (statistics_of(scores) for scores in sides)

    def statistic(a: Scores, b: Scores) -> Scores:
        values = np.empty(len(SCORE_MEASURES) + 1)
        for index, measure in enumerate(SCORE_MEASURES):
            reference = of_b[measure](b)
            values[index] = of_a[measure](a) / reference - 1 if reference > LEAST_REFERENCE else np.nan
        values[-1] = improvement_chance(a, b)[0]
        return values

    return [*SCORE_MEASURES, CHANCE], statistic


def _gain_seen(seen: Seen) -> str:
    claim = seen.claim
    versus = f"is {percent(abs(seen.value))} {'above' if seen.value >= 0 else 'below'} {seen.other}'s"
    if claim.at_frames is None:
        return f"{seen.title}'s {measure_title(claim)} {versus} ({seen.ends})."
    moment = f"{frames(seen.frames * claim.at_frames / claim.frames)} of {frames(seen.frames)} frames"
    return f"{seen.title}'s {measure_title(claim)} at {moment} {versus} at the end ({seen.ends})."


GAIN = Kind(
    name="gain",
    needs=("reference", "frames", "claimed"),
    measures=SCORE_MEASURES,
    rule=(
        "The gain is metric(A) / metric(B) less 1. Reproduced: the interval's lower end is above half the claimed "
        "gain, and its upper end is not below the claimed one. Gain shown: the lower end is above zero only. Smaller "
        "than claimed: the lower end is above zero, and the upper end below the claimed gain. Not reproduced: the "
        "interval does not exclude zero, but excludes the claimed gain. Inconclusive: it excludes neither."
    ),
    statistic=_gains,
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: gain_verdict(parts[claim.measure], claimed_of(claim)),
    meanings={
        REPRODUCED: (
            "The whole interval lies above half the claimed {claimed}, and its upper end is not below {claimed}."
        ),
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
    contrast=lambda claim, draws, value: Contrast(draws, claim.claimed, half_of(claimed_of(claim))),
    told=lambda claim, size: f"a gain of {percent_size(size)} from none",
    goal=lambda claim: f"telling the claimed {claim.claimed_text} from none",
    marks=lambda claim: [("no gain", 0.0), (f"claimed {claim.claimed_text}", claimed_of(claim))],
    scale=OF_GAINS,
    chances=(CHANCE,),
    part_titles=SCORE_TITLES,
)

REACHES = Kind(
    name="reaches",
    needs=("reference", "frames", "at_frames"),
    measures=SCORE_MEASURES,
    rule=(
        "The lead is metric(A) / metric(B) less 1, where A is taken at the earlier frame of its own run. It is "
        "reproduced if the whole interval is above zero, not reproduced if it is below, inconclusive if it holds zero."
    ),
    statistic=_gains,
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: reaches_verdict(parts[claim.measure]),
    meanings={
        REPRODUCED: "The whole interval lies above zero.",
        INCONCLUSIVE: "The interval holds zero: more seeds would tell.",
        NOT_REPRODUCED: "The whole interval lies below zero.",
    },
    written=lambda claim, value: percent(value, signed=True),
    claimed=lambda claim: "level or above",
    seen=_gain_seen,
    contrast=as_drawn,
    told=lambda claim, size: f"a lead of {percent_size(size)} from none",
    marks=lambda claim: [("level", 0.0)],
    scale=OF_GAINS,
    chances=(CHANCE,),
    part_titles=SCORE_TITLES,
)


AHEAD_OF = replace(  # the same figures and drawing, without a claim
    REACHES,
    name="ahead",
    needs=("reference", "frames"),
    rule=(
        "A question, of which nothing is claimed. The lead is metric(A) / metric(B) less 1. The answer is ahead if its "
        "whole interval is above zero, behind if it is below, inconclusive if it holds zero."
    ),
    verdict=lambda claim, parts: ahead_verdict(parts[claim.measure]),
    meanings={
        AHEAD: "The whole interval lies above zero.",
        INCONCLUSIVE: "The interval holds zero: more seeds would tell.",
        BEHIND: "The whole interval lies below zero.",
    },
    claimed=lambda claim: "ahead or behind",
)


def _alike_band(claim: Claim) -> tuple[float, float]:
    """The gains that count as none: by a factor of 1 + tolerance either way."""
    assert claim.tolerance is not None, "the kind needs it, and the reader of claims asks for it"
    low, high = reproduced_band(1.0, claim.tolerance)
    return low - 1, high - 1


def _alike_text(claim: Claim) -> str:
    low, high = _alike_band(claim)
    return f"within {percent(low, signed=True)} and {percent(high, signed=True)}"


ALIKE_TO = Kind(
    name="alike",
    needs=("reference", "frames", "tolerance"),
    measures=SCORE_MEASURES,
    rule=(
        "A test of equivalence: that no difference was found is not enough. The difference is metric(A) / metric(B) "
        "less 1. Both are alike if its whole interval lies within the stated margin (shaded), and different if "
        "the whole interval lies outside; otherwise the answer is inconclusive. Two one-sided tests at 5 % would ask "
        "for the 90 % interval; the 95 % one asks for more."
    ),
    statistic=_gains,
    decides=lambda claim, parts: claim.measure,
    verdict=lambda claim, parts: alike_verdict(parts[claim.measure], _alike_band(claim)),
    meanings={
        ALIKE: "The whole interval lies within the margin ({claimed}).",
        INCONCLUSIVE: "The interval reaches beyond the margin ({claimed}): more seeds would tell.",
        DIFFERENT: "The whole interval lies outside the margin ({claimed}).",
    },
    written=lambda claim, value: percent(value, signed=True),
    claimed=_alike_text,
    seen=_gain_seen,
    contrast=lambda claim, draws, value: Contrast(draws, value, margin=claim.tolerance),
    told=lambda claim, size: f"a difference of {percent_size(size)} from none",
    goal=lambda claim: f"an interval within the margin, in 80{NBSP}% of experiments without any difference,",
    marks=lambda claim: [("equal", 0.0)],
    band=_alike_band,
    scale=OF_GAINS,
    chances=(CHANCE,),
    part_titles=SCORE_TITLES,
)
