"""The effective ranks behind a claim about them, with the ceiling that the number of observations sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports import numerals
from reports.judging.evidence import NOT_COMPARABLE, RunRecord
from reports.judging.judge import Judgement
from reports.judging.run_figures import diagnostic_frames
from reports.pages.charts import Level, LineChart, Series
from reports.pages.palette import colour
from reports.pages.site import Site
from reports.summary import Report

RANK = "effective_rank"


def ceiling(runs: list[RunRecord]) -> Level:
    """No rank is above the number of observations that it was taken over."""
    observations = min(run.observations for run in runs)
    return Level(f"ceiling: {numerals.counted(observations, 'observation')}", float(observations), is_always_shown=True)


def _ranked(baseline: str, layers: tuple[str, ...], report: Report) -> dict[tuple[str, int], RunRecord]:
    """A run of each game and budget that has the ranks of all of `layers`."""
    return {
        (entry.game, entry.frames): entry.run
        for entry in report.evidence.runs
        if entry.baseline == baseline and entry.standing != NOT_COMPARABLE and entry.run is not None
        if all(f"{RANK}/{layer}" in entry.run.diagnostics for layer in layers)
    }


def rank_figure(judgement: Judgement, report: Report, site: Site) -> dict[str, Any] | None:
    """Each side's ranks over training, of any game and budget; None for another claim, or without a run."""
    claim = judgement.claim
    if claim.measure != RANK:
        return None
    series, used, rows = [], [], []
    by_side = {side: _ranked(side, claim.layers, report) for side in claim.sides}
    shared = set.intersection(*({game for game, _ in runs} for runs in by_side.values()))
    for side, runs in by_side.items():
        if not runs:
            continue
        (game, budget), run = max(
            runs.items(), key=lambda item: (item[1].observations, item[0][0] in shared, item[0][1], item[0][0])
        )
        frames = diagnostic_frames(budget)
        used.append(run)
        for index, layer in enumerate(claim.layers):
            values = run.diagnostics[f"{RANK}/{layer}"]
            title, css = report.catalogue.title(side), colour(report, side)
            style = "main" if index == len(claim.layers) - 1 else "other"
            series.append(Series(f"{title}, {layer}", css, frames, values, note=game, style=style).where_known())
            rows += [[side, layer, game, int(frames[i]), values[i]] for i in np.flatnonzero(~np.isnan(values))]
    if not series:
        return None
    observations = min(run.observations for run in used)
    enough = claim.observations is None or observations >= claim.observations
    label = "Effective rank over training of both sides"
    chart = LineChart(label, "frames", "effective rank", tuple(series), (ceiling(used),), y_low=0.0)
    caption = "One run a side, of those with the largest sample the longest."
    if len(claim.layers) > 1:
        caption += f" Thick: {claim.layers[-1]}; thin: {numerals.listed(claim.layers[:-1])}."
    if len({run.observations for run in used}) > 1:
        caption += " The sides' samples differ, and their ranks can't be compared."
    elif not enough:
        needed = numerals.counted(claim.observations or 0, "observation")
        caption += (
            f" Taken over {numerals.counted(observations, 'observation')}, which no rank exceeds: near that ceiling a "
            f"difference shrinks, so the claim, which asks for {needed}, can't be judged from it."
        )
    csv = site.csv(f"rank-{claim.id}", ("baseline", "layer", "game", "frames", RANK), rows)
    return site.line_figure(f"rank-{claim.id}", "Effective ranks, and their ceiling", caption, chart, csv=csv)
