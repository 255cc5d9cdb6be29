"""A game's page: the curves and scores of every seed, published values beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports import numerals
from reports.judging.evidence import CURVE_POINTS, NOT_COMPARABLE, Entry
from reports.judging.published import dopamine_game_curves
from reports.pages.charts import Level, LineChart, Series
from reports.pages.palette import colour
from reports.pages.site import Site
from reports.summary import Report
from results.games import GAMES
from results.reference import DOPAMINE
from results.schema import format_frames
from results.scores import human_normalised


def game_page(game: str, report: Report, site: Site) -> dict[str, Any]:
    """Everything that a game's page shows."""
    entry = GAMES[game]
    entries = [e for e in report.evidence.entries if e.game == game]
    budgets = sorted({e.frames for e in entries if _is_drawn(e)}, reverse=True)
    figures = [_figure(game, budget, [e for e in entries if e.frames == budget], report, site) for budget in budgets]
    published = dopamine_game_curves(game)
    if not budgets and published:
        figures = [_published_figure(game, report, site)]
    return {
        "title": game,
        "game": {"name": game, "random": entry.random, "human": entry.human, "envpool_id": entry.envpool_id},
        "figures": figures,
        "rows": [_row(e, report) for e in entries],
        "published": [
            {
                "name": curve.name,
                "score": numerals.score(float(curve.values[-5:].mean())),
                "hns": numerals.number(human_normalised(float(curve.values[-5:].mean()), game)),
                "frames": "195M to 199M" if curve.frames[-1] >= 199e6 else numerals.frames(curve.frames[-1]),
            }
            for curve in published
        ],
        "published_source": f"{DOPAMINE.title} ({DOPAMINE.source}); {DOPAMINE.protocol}",
        "command": f"{report.catalogue.command} run --games {game} --frames 40M",
    }


def _is_drawn(entry: Entry) -> bool:
    return entry.run is not None and entry.standing != NOT_COMPARABLE and not np.isnan(entry.run.curve).all()


def _levels(game: str) -> tuple[Level, ...]:
    return Level("human", GAMES[game].human), Level("random", GAMES[game].random)


def _figure(game: str, budget: int, entries: list[Entry], report: Report, site: Site) -> dict[str, Any]:
    frames = np.arange(1, CURVE_POINTS + 1) * budget / CURVE_POINTS
    series: list[Series] = []
    drawn = [e for e in entries if _is_drawn(e)]
    names = sorted({e.baseline for e in drawn}, key=lambda name: colour(report, name))
    for name in names:
        runs = [e for e in drawn if e.baseline == name and e.run is not None]
        curves = np.stack([e.run.curve for e in runs if e.run is not None])
        known = ~np.isnan(curves)
        count = known.sum(axis=0)
        mean = np.where(count == count.max(), np.where(known, curves, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
        series.append(
            Series(
                report.catalogue.title(name),
                colour(report, name),
                frames,
                mean,
                note=numerals.counted(len(runs), "seed"),
            )
        )
        series += [
            Series(f"{name} seed {e.seed}", colour(report, name), frames, e.run.curve, style="thin", is_labelled=False)
            for e in runs
            if e.run is not None
        ]
    for curve in dopamine_game_curves(game):
        shown = curve.frames <= budget
        if shown.sum() > 3:
            label = curve.name.removesuffix(" (Dopamine)")
            series.append(
                Series(label, "pub", curve.frames[shown], curve.values[shown], note="other protocol", style="published")
            )
    rows = [
        [e.baseline, e.seed, e.standing, int(frames[point]), e.run.curve[point], e.run.greedy_curve[point]]
        for e in drawn
        for point in range(CURVE_POINTS)
        if e.run is not None
    ]
    name = f"{game}-{format_frames(budget)}"
    csv = site.csv(f"games/{name}", ("baseline", "seed", "standing", "frames", "score", "greedy_score"), rows)
    levels = _levels(game)
    chart = LineChart(f"{game}: score over frames of every seed", "frames", "score", tuple(series), levels)
    return site.line_figure(
        f"curve-{name}",
        f"{game} at {numerals.frames(budget)} frames",
        f"Thick: mean over seeds; thin: each seed; dashed: published under another protocol. {_scale(levels)}",
        chart,
        csv=csv,
    )


def _scale(levels: tuple[Level, ...]) -> str:
    where = numerals.listed([f"{level.label} {numerals.score(level.value)}" for level in levels])
    return f"For scale: {where}."


def _published_figure(game: str, report: Report, site: Site) -> dict[str, Any]:
    series = tuple(
        Series(c.name.removesuffix(" (Dopamine)"), "pub", c.frames, c.values, note="other protocol", style="published")
        for c in dopamine_game_curves(game)
    )
    rows = [[s.label, int(s.x[i]), s.y[i]] for s in series for i in range(len(s.x))]
    csv = site.csv(f"games/{game}-published", ("agent", "frames", "mean_return"), rows)
    levels = _levels(game)
    chart = LineChart(f"{game}: published score over frames", "frames", "score", series, levels)
    return site.line_figure(
        f"curve-{game}-published",
        f"{game}, as published elsewhere",
        f"Published under another protocol. {_scale(levels)}",
        chart,
        csv=csv,
    )


def _row(entry: Entry, report: Report) -> dict[str, Any]:
    run = entry.run
    return {
        "title": report.catalogue.title(entry.baseline),
        "name": entry.baseline,
        "has_page": report.catalogue.find(entry.baseline) is not None,
        "css": colour(report, entry.baseline),
        "source": entry.source,
        "standing": entry.standing,
        "reason": entry.reason or entry.origin,
        "frames": entry.frames,
        "seed": entry.seed,
        "score": numerals.score(entry.score),
        "hns": numerals.number(entry.hns),
        "greedy": numerals.score(run.greedy_score if run else None),
        "games": numerals.counted(run.games, "game") if run else numerals.number(None),
        "speed": numerals.score(run.frames_per_second if run else None),
        "proof": run.proof if run else "",
        "credit": run.credit if run else None,
        "manifest": f"runs/{run.directory}.json" if run else "",
    }
