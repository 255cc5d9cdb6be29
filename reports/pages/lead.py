"""What the first page leads with: the suite's own question, its answer or how far it is, and what is known so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from reports import numerals, wording
from reports.judging.claims import MINIMUM_SEEDS, SUITE
from reports.judging.evidence import MEASURED
from reports.judging.judge import Judgement
from reports.judging.sample import WIDEST, GainCurve, gain_curve
from reports.judging.score_kinds import LEAST_REFERENCE
from reports.judging.sides import Side
from reports.measures import SCORE_MEASURES
from reports.pages.card import card
from reports.pages.charts import Level, LineChart, Series, sparkline
from reports.pages.group_figures import BAND
from reports.pages.palette import colour
from reports.pages.site import Site
from reports.summary import Report

LEVEL = Level("level", 0.0, is_always_shown=True)
PAPERS_BUDGET = 200_000_000  # frames of the runs in the paper's figure
TILES = 10  # a question of more games is not shown game by game


def lead(report: Report, site: Site) -> dict[str, Any] | None:
    """The first of the suite's own questions; None where a claims file leaves none."""
    asked = [judgement for judgement in report.judgements if judgement.claim.family == SUITE]
    if not asked:
        return None
    judgement = asked[0]
    claim = judgement.claim
    return {
        **card(judgement, report),
        "is_answered": not judgement.is_preliminary,
        "more": wording.more_seeds(judgement, report.catalogue),
        "more_command": judgement.further.command if judgement.further else "",
        "what_is_asked": claim.statement,
        "progress": progress(judgement),
        "ahead": _ahead(judgement, report),
        "figure": gain_figure(judgement, report, site, f"lead-{claim.id}"),
        "games": _games(judgement, report) if len(claim.games) <= TILES and judgement.is_preliminary else [],
        "sides": [{"title": report.catalogue.title(name), "css": colour(report, name)} for name in claim.sides],
    }


def _ahead(judgement: Judgement, report: Report) -> dict[str, str] | None:
    """In how many games the first side is ahead, and both medians: a ratio of two small numbers alone says little."""
    basis = judgement.basis
    if basis is None or len(basis.sides) != 2 or judgement.claim.measure not in SCORE_MEASURES:
        return None
    first, second = ([_mean_hns(side, game) for game in basis.games] for side in basis.sides)
    count = sum(a > b for a, b in zip(first, second, strict=True))
    ours, theirs = (report.catalogue.title(side.baseline) for side in basis.sides)
    medians = [numerals.number(float(np.median(scores))) for scores in (first, second)]
    return {
        "games": f"{count} of {numerals.counted(len(basis.games), 'game')}",
        "what": f"{ours} scores more than {theirs}",
        "medians": f"Median human-normalised score {medians[0]} against {medians[1]}",
    }


def _mean_hns(side: Side, game: str) -> float:
    return float(np.mean([entry.hns for entry in side.entries[game] if entry.hns is not None]))


def progress(judgement: Judgement) -> dict[str, Any]:
    """Of the runs that a verdict needs, how many are there."""
    missing = judgement.missing
    share = missing.there / missing.needed if missing.needed else 0.0
    return {
        "there": missing.there,
        "needed": missing.needed,
        "percent": round(100 * share, 1),
        "text": f"{missing.there} of {numerals.counted(missing.needed, 'run')}",
    }


def _games(judgement: Judgement, report: Report) -> list[dict[str, Any]]:
    """Each game of the question: what both sides have played of it at its budget, on one scale."""
    return [_game(game, judgement.full_sides, report) for game in judgement.claim.games]


def _game(game: str, sides: tuple[Side, ...], report: Report) -> dict[str, Any]:
    curves, said = [], []
    for side in sides:
        entries = side.entries.get(game, ())
        runs = [entry.run for entry in entries if entry.source == MEASURED and entry.run is not None]
        css = colour(report, side.baseline)
        if runs:
            stack = np.stack([run.curve[4::5] for run in runs])
            curves.append((css, stack.mean(axis=0), 1.0))
        known = [entry.hns for entry in entries if entry.hns is not None]
        said.append(
            {
                "css": css,
                "title": report.catalogue.title(side.baseline),
                "score": numerals.number(float(np.mean(known))) if known else "",
                "seeds": f"{min(len(entries), MINIMUM_SEEDS)} of {MINIMUM_SEEDS}",
            }
        )
    return {"name": game, "spark": Markup(sparkline(curves)) if curves else "", "sides": said}


def gain_figure(judgement: Judgement, report: Report, site: Site, name: str) -> dict[str, Any] | None:
    """The gain at every frame count, as a figure; None where there is nothing to draw, or nothing of that kind."""
    claim, basis = judgement.claim, judgement.basis
    if basis is None:
        return None
    with_published = report.catalogue.protocol.judges_the_paper
    found = gain_curve(claim, basis, judgement.interval, with_published=with_published)
    if found is None:
        return None
    gain = found.gain
    seeds = numerals.seeds_text(basis.seeds)
    series = [
        Series("gain", colour(report, claim.baseline), found.frames, gain.estimate, gain.low, gain.high, note=seeds)
    ]
    if found.published is not None:
        frames, values = found.published
        series.append(Series("the paper's", "pub", frames, values, note="Atari-57", style="published"))
    chart = LineChart(
        f"{claim.title}: the gain at every frame count",
        "frames",
        "gain",
        tuple(series),
        (LEVEL,),
        y_text=lambda value: numerals.percent(value, signed=True),
        is_percent=True,
    )
    rows = [[s.label, int(x), *values] for s in series for x, *values in s.points()]
    csv = site.csv(f"gain-{claim.id}", ("series", "frames", "gain", "ci_low", "ci_high"), rows)
    whose = f"{report.catalogue.title(claim.baseline)} over {report.catalogue.title(claim.reference or '')}"
    label = "Preliminary. " if judgement.is_preliminary else ""
    caption = f"{label}{whose}, {wording.rests_on(judgement)}. {_gaps(found)} {_paper_text(found, basis.frames)}"
    return site.line_figure(name, "The gain at every frame count", caption, chart, csv=csv)


def _gaps(found: GainCurve) -> str:
    """What the band is, where there is one, and where the curve has gaps."""
    no_score = "The curve has gaps where a run has no score yet"
    near_zero = f"where the reference's score is not above {LEAST_REFERENCE}"
    if np.isnan(found.gain.low).all():
        return f"{no_score}, and {near_zero}."
    widest = f"{100 * WIDEST:.0f} percentage points"
    return f"{BAND} {no_score}, {near_zero}, and before its end where its interval is wider than {widest} or not known."


def _paper_text(found: GainCurve, budget: int) -> str:
    if found.published is not None:
        longer = ", which explore for longer" if budget < PAPERS_BUDGET else ""
        return f"Dashed: the paper's own, read off its figure: the median over 57 games, runs of 200M frames{longer}."
    if found.published_from is None:
        return "The paper has no curve of these two."
    begins = numerals.frames(found.published_from)
    return f"The paper's two curves begin at {begins} frames, of runs of 200M: none of it lies within this budget."
