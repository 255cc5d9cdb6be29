"""The figures of a group of runs on the first page: its aggregates over training, and its performance profiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.catalogue import Catalogue
from reports.judging.leaderboard import Group, Row
from reports.judging.published import TITLES, PublishedCurve, dopamine_games, dopamine_median_curves, paper_curves
from reports.judging.run_figures import curve_frames
from reports.pages.charts import Level, LineChart, Series
from reports.pages.palette import colour
from reports.pages.site import Site
from reports.pages.svg import tick_text
from reports.statistics.bootstrap import LEAST_RUNS
from reports.summary import Report
from results.games import ATARI57
from results.reference import DOPAMINE, PAPER

HUMAN = Level("human", 1.0)
BAND = "Band: pointwise 95\N{NO-BREAK SPACE}% interval over seeds."


def row_title(row: Row, catalogue: Catalogue) -> str:
    """How a row's baseline is called."""
    return catalogue.title(row.baseline) if catalogue.find(row.baseline) else TITLES.get(row.baseline, row.baseline)


def curve_figure(
    group: Group, report: Report, site: Site, name: str, statistic: str, title: str
) -> dict[str, Any] | None:
    frames = curve_frames(group.frames)
    series = [
        Series(
            label=row_title(row, report.catalogue),
            css=colour(report, row.baseline),
            x=frames,
            y=row.curves[statistic].estimate,
            low=row.curves[statistic].low,
            high=row.curves[statistic].high,
        )
        for row in group.rows
        if row.curves and not np.isnan(row.curves[statistic].estimate).all()
    ]
    if not series:
        return None
    if statistic == "median" and group.frames == 200_000_000:
        # Of curves measured under another protocol, none: they stand in the tables, and on pages of their own.
        if group.games == ATARI57 and report.catalogue.protocol.name == PAPER.suite_protocol:
            series += [
                _published_series(curve, report) for curve in paper_curves() if report.catalogue.find(curve.name)
            ]
        if group.games == dopamine_games() and report.catalogue.protocol.name == DOPAMINE.suite_protocol:
            series += [_published_series(c, report) for c in dopamine_median_curves().values()]
    chart = LineChart(
        label=f"{title} of the human-normalised score over frames, {group.title}",
        x_title="frames",
        y_title="human-normalised score",
        series=tuple(series),
        levels=(HUMAN,),
        y_low=0.0 if all(np.nanmin(s.y) >= 0 for s in series) else None,
    )
    has_bands = any(row.seeds[0] >= LEAST_RUNS for row in group.rows)
    rows = [[s.label, s.note, int(x), *values] for s in series for x, *values in s.points()]
    csv = site.csv(f"curves-{name}-{statistic}", ("series", "note", "frames", statistic, "ci_low", "ci_high"), rows)
    return site.line_figure(
        f"curve-{name}-{statistic}",
        f"{title} over training, {group.title}",
        " ".join(
            text
            for text, applies in (
                (BAND, has_bands),
                ("Dashed: published, not measured here.", any(s.style == "published" for s in series)),
            )
            if applies
        ),
        chart,
        csv=csv,
    )


def _published_series(curve: PublishedCurve, report: Report) -> Series:
    known = report.catalogue.find(curve.name)
    return Series(
        label=known.title if known else TITLES.get(curve.name, curve.name),
        css=colour(report, curve.name) if known else "pub",
        x=curve.frames,
        y=curve.values,
        note="published",
        style="published",
    )


def profile_figure(group: Group, report: Report, site: Site, name: str) -> dict[str, Any] | None:
    if len(group.rows) < 2 or group.is_unscored:
        return None
    series = tuple(
        Series(
            label=row_title(row, report.catalogue),
            css=colour(report, row.baseline),
            x=group.thresholds,
            y=row.profile.estimate,
            low=np.clip(row.profile.low, 0, 1),
            high=np.clip(row.profile.high, 0, 1),
        )
        for row in group.rows
        if row.profile is not None
    )
    chart = LineChart(
        label=f"Performance profiles, {group.title}",
        x_title="human-normalised score",
        y_title="fraction of runs that score more",
        series=series,
        x_text=tick_text,
        y_low=0.0,
    )
    rows = [[s.label, *values] for s in series for values in s.points()]
    csv = site.csv(f"profile-{name}", ("series", "threshold", "fraction_above", "ci_low", "ci_high"), rows)
    return site.line_figure(
        f"profile-{name}",
        f"Performance profiles, {group.title}",
        "How large a part of all runs scores above each level; higher is better. Every game weighs the same."
        + (f" {BAND}" if any(row.seeds[0] >= LEAST_RUNS for row in group.rows) else ""),
        chart,
        csv=csv,
    )
