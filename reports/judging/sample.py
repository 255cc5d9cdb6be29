"""A claim's gain at every frame count up to its budget: when one side is ahead, and not only whether."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.judging.claims import Claim
from reports.judging.evidence import MEASURED
from reports.judging.leaderboard import curve_matrix
from reports.judging.published import PublishedCurve, paper_curves
from reports.judging.run_figures import CURVE_POINTS
from reports.judging.score_kinds import LEAST_REFERENCE
from reports.judging.sides import Basis
from reports.measures import SCORE_MEASURES
from reports.statistics.aggregate import Band, band, curves_of
from reports.statistics.bootstrap import CURVE_REPETITIONS, OF_GAINS, Interval, Scores, why_unknown

EVERY = 5  # of the curves' points one in so many is taken: 40 of 200
WIDEST = 4.0  # an interval that is wider (400 %) is not drawn


@dataclass(frozen=True)
class GainCurve:
    """metric(A) / metric(B) - 1 at each of some frame counts; nan where B's score is too near zero to divide by."""

    frames: NDArray[np.float64]  # [points] emulator frames
    gain: Band
    published: tuple[NDArray[np.float64], NDArray[np.float64]] | None  # the paper's: frames, gain
    published_from: int | None  # frames at which the paper's curves begin; None where it has none of the two


def gain_curve(
    claim: Claim, basis: Basis, final: Interval | None = None, *, with_published: bool = True
) -> GainCurve | None:
    """The curve of a claim about one baseline's gain over another; None for another kind, or without curves.

    Args:
        final: the claim's own interval on this basis, drawn more often: the curve ends with it.
        with_published: the paper's own beside it, whose protocol must be that of the runs.
    """
    if claim.measure not in SCORE_MEASURES or claim.reference is None or claim.at_frames is not None:
        return None
    if any(side.source != MEASURED for side in basis.sides):
        return None
    sides = [curve_matrix({g: list(s.entries[g]) for g in basis.games}, basis.games) for s in basis.sides]
    ours, theirs = (scores[..., EVERY - 1 :: EVERY] for scores in sides)
    of_a, of_b = (curves_of(scores)[claim.measure] for scores in (ours, theirs))

    def gains(a: Scores, b: Scores) -> Scores:
        below = of_b(b)
        return np.where(below > LEAST_REFERENCE, of_a(a) / np.where(below > LEAST_REFERENCE, below, 1.0) - 1, np.nan)

    label = f"gain curve {claim.id} {basis.frames} {','.join(basis.games)}"
    found = band(label, (ours, theirs), gains, CURVE_REPETITIONS, OF_GAINS)
    if final is not None and final.low is not None and final.high is not None:
        found.low[-1], found.high[-1] = final.low, final.high
    if not why_unknown((ours, theirs)):  # of too few seeds the curve has no band anywhere, and stays
        found = _told(found, ends_with_it=final is not None and final.is_complete)
    if np.isnan(found.estimate).all():
        return None
    frames = np.arange(EVERY, CURVE_POINTS + 1, EVERY) * basis.frames / CURVE_POINTS
    published, begins = _published(claim, basis.frames) if with_published else (None, None)
    return GainCurve(frames, found, published, begins)


def _told(found: Band, *, ends_with_it: bool) -> Band:
    """Without the points whose interval is so wide, or so open, that the point says nothing.

    Args:
        ends_with_it: whether the last point is the claim's own, which stays however wide it is.
    """
    is_told = found.high - found.low <= WIDEST  # nan is not
    is_told[-1] |= ends_with_it
    return Band(*(np.where(is_told, values, np.nan) for values in (found.estimate, found.low, found.high)))


def _published(claim: Claim, frames: int) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, int | None]:
    """The paper's gain of the same two, precision aside, as far as the budget goes; and where its curves begin."""
    curves = {curve.name: curve for curve in paper_curves()}
    pair = [curves.get(name.removesuffix("-bf16")) for name in (claim.baseline, claim.reference or "")]
    ours, theirs = pair
    if claim.measure != "median" or ours is None or theirs is None or ours is theirs:
        return None, None
    at = np.intersect1d(ours.frames, theirs.frames)
    inside = at[(at <= frames) & (_at(theirs, at) > LEAST_REFERENCE)]
    if len(inside) < 2:
        return None, int(at[0])
    return (inside, _at(ours, inside) / _at(theirs, inside) - 1), int(at[0])


def _at(curve: PublishedCurve, frames: NDArray[np.float64]) -> NDArray[np.float64]:
    return curve.values[np.searchsorted(curve.frames, frames)]
