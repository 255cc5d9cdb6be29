"""A game's page: the curves and scores of every seed, published values beside them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports import numerals
from reports.judging.evidence import NOT_COMPARABLE, Entry, RunRecord
from reports.judging.missing import place_flags
from reports.judging.published import PublishedCurve, dopamine_game_curves
from reports.judging.run_figures import curve_frames
from reports.pages.charts import Level, LineChart, Series
from reports.pages.palette import colour, place
from reports.pages.site import Site
from reports.summary import Report
from results.games import GAMES
from results.reference import DOPAMINE
from results.scores import human_normalised

LEAST_PUBLISHED_POINTS = 4  # of a published curve within the longest run, for it to be drawn beside that
CLOSER_BELOW = 0.25  # a budget of at most this part of the longest gets a figure of its own length


def game_page(game: str, report: Report, site: Site) -> dict[str, Any]:
    """Everything that a game's page shows."""
    entry = GAMES[game]
    entries = [e for e in report.evidence.entries if e.game == game]
    figures = _figures(game, entries, report, site)
    published = dopamine_game_curves(game)
    longest = max((e.frames for e in entries if _is_drawn(e)), default=0)
    if published and not _beside(published, longest, report):
        figures.append(_published_figure(game, report, site))
    return {
        "title": game,
        "game": {"random": entry.random, "human": entry.human, "envpool_id": entry.envpool_id},
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
        "published_source": f"{DOPAMINE.title} ({DOPAMINE.source}); {DOPAMINE.protocol.replace('`', '')}",
        "published_title": "Published, nearly the same protocol"
        if _is_dopamines(report)
        else "Published under another protocol",
        "has_differences": _is_dopamines(report) and bool(report.catalogue.protocol.differences_markdown),
        "command": f"{report.catalogue.command} run --games {game} --frames 40M"
        f"{place_flags(report.evidence, report.catalogue)}",
    }


def _is_dopamines(report: Report) -> bool:
    """Whether the runs are of the protocol that the published curves come nearest to: only then they share a figure."""
    return report.catalogue.protocol.name == DOPAMINE.suite_protocol


def _beside(published: list[PublishedCurve], longest: int, report: Report) -> list[PublishedCurve]:
    """The published curves that stand in one figure with runs: of the nearest protocol, and long enough to be seen."""
    if not _is_dopamines(report):
        return []
    return [curve for curve in published if (curve.frames <= longest).sum() >= LEAST_PUBLISHED_POINTS]


def _is_drawn(entry: Entry) -> bool:
    return entry.run is not None and entry.standing != NOT_COMPARABLE and not np.isnan(entry.run.curve).all()


def _levels(game: str) -> tuple[Level, ...]:
    return Level("human", GAMES[game].human), Level("random", GAMES[game].random)


@dataclass(frozen=True)
class _Bundle:
    """The runs of one baseline at one budget."""

    baseline: str
    frames: int
    runs: tuple[RunRecord, ...]

    @property
    def points(self) -> NDArray[np.float64]:
        """[CURVE_POINTS] emulator frames."""
        return curve_frames(self.frames)

    @property
    def mean(self) -> NDArray[np.float64]:
        """[CURVE_POINTS] raw score over seeds; nan where some seed has none."""
        return np.mean([run.curve for run in self.runs], axis=0)


def _bundles(entries: list[Entry], report: Report) -> list[_Bundle]:
    found: dict[tuple[str, int], list[RunRecord]] = defaultdict(list)
    for entry in entries:
        if _is_drawn(entry) and entry.run is not None:
            found[entry.baseline, entry.frames].append(entry.run)
    order = sorted(found, key=lambda key: (place(report, key[0]), -key[1]))
    return [_Bundle(name, frames, tuple(found[name, frames])) for name, frames in order]


def main_budget(bundles: list[_Bundle]) -> int:
    """The budget whose curves are drawn thick: the one of most baselines, then of most runs, then the largest."""
    budgets = {bundle.frames for bundle in bundles}

    def weight(frames: int) -> tuple[int, int, int]:
        there = [bundle for bundle in bundles if bundle.frames == frames]
        return len(there), sum(len(bundle.runs) for bundle in there), frames

    return max(budgets, key=weight)


def _budget_note(bundle: _Bundle) -> str:
    seeds = f", {len(bundle.runs)} seeds" if len(bundle.runs) > 1 else ""
    return f"{numerals.frames(bundle.frames)}-frame run{'s' * bool(seeds)}{seeds}"


def _series(bundle: _Bundle, report: Report, main: int, longest: int) -> list[Series]:
    css, title = colour(report, bundle.baseline), report.catalogue.title(bundle.baseline)
    if bundle.frames != main:
        is_seen = bundle.frames > CLOSER_BELOW * longest  # else the closer figure names it
        note = _budget_note(bundle)
        return [Series(title, css, bundle.points, bundle.mean, note=note, style="other", is_labelled=is_seen)]
    series = [Series(title, css, bundle.points, bundle.mean, note=numerals.counted(len(bundle.runs), "seed"))]
    if len(bundle.runs) > 1:
        series += [Series(title, css, bundle.points, r.curve, style="thin", is_labelled=False) for r in bundle.runs]
    return series


def _figures(game: str, entries: list[Entry], report: Report, site: Site) -> list[dict[str, Any]]:
    """One figure of all baselines and budgets; where a budget is short beside the others, its part of it closer."""
    bundles = _bundles(entries, report)
    if not bundles:
        return []
    main, longest = main_budget(bundles), max(bundle.frames for bundle in bundles)
    series = [one for bundle in bundles for one in _series(bundle, report, main, longest)]
    for curve in _beside(dopamine_game_curves(game), longest, report):
        shown = curve.frames <= longest
        css = _published_colour(curve, report)
        series.append(
            Series(curve.name, css, curve.frames[shown], curve.values[shown], note="published", style="published")
        )
    rows = [
        [e.baseline, e.frames, e.seed, e.standing, int(frames), score, greedy]
        for e in entries
        if _is_drawn(e) and e.run is not None
        for frames, score, greedy in zip(curve_frames(e.frames), e.run.curve, e.run.greedy_curve, strict=True)
    ]
    header = ("baseline", "budget_frames", "seed", "standing", "frames", "score", "greedy_score")
    csv = site.csv(f"games/{game}", header, rows)
    levels = _levels(game)
    chart = LineChart(f"{game}: score over frames, all baselines", "frames", "score", tuple(series), levels)
    said = [f"Thick: mean over seeds of runs of {numerals.frames(main)} frames."]
    if any(one.style == "thin" for one in series):
        said.append("Faint: each seed of them.")
    if any(one.style == "other" for one in series):
        said.append("Thin: runs of another budget, as labelled; it sets how long they explore.")
    if any(one.style == "published" for one in series):
        said.append("Dashed: published by Dopamine, mean return of each 1M frames; the method page has what differs.")
    figures = [
        site.line_figure(f"curve-{game}", f"{game}, every run", " ".join([*said, _scale(levels)]), chart, csv=csv)
    ]
    shortest = min(bundle.frames for bundle in bundles)
    if shortest <= CLOSER_BELOW * longest:
        figures.append(_closer_figure(game, bundles, shortest, report, site, csv))
    return figures


def _closer_figure(
    game: str, bundles: list[_Bundle], shortest: int, report: Report, site: Site, csv: str
) -> dict[str, Any]:
    """The first frames of all curves, as far as the shortest budget reaches."""
    series = []
    for bundle in bundles:
        inside = bundle.points <= 1.001 * shortest
        mean = bundle.mean[inside]
        if inside.sum() > 1 and not np.isnan(mean).all():
            title, css = report.catalogue.title(bundle.baseline), colour(report, bundle.baseline)
            is_whole = bundle.frames == shortest
            note = _budget_note(bundle)
            style = "main" if is_whole else "other"
            series.append(Series(title, css, bundle.points[inside], mean, note=note, style=style))
    chart = LineChart(
        f"{game}: score over the first {numerals.frames(shortest)} frames",
        "frames",
        "score",
        tuple(series),
        _levels(game),
        x_high=float(shortest),
    )
    return site.line_figure(
        f"curve-{game}-closer",
        f"{game}, the first {numerals.frames(shortest)} frames",
        f"The same curves, closer. Thick: runs of {numerals.frames(shortest)} frames in all; thin: of a larger budget, "
        "which explore for longer.",
        chart,
        csv=csv,
    )


def _scale(levels: tuple[Level, ...]) -> str:
    where = numerals.listed([f"{level.label} {numerals.score(level.value)}" for level in levels])
    return f"For scale: {where}."


def _agent(curve: PublishedCurve) -> str:
    return curve.name.removesuffix(" (Dopamine)")


def _published_colour(curve: PublishedCurve, report: Report) -> str:
    """That of the same agent among the baselines; grey where there is none."""
    found = next((info.name for info in report.catalogue.baselines if info.title == _agent(curve)), None)
    return "pub" if found is None else colour(report, found)


def _published_figure(game: str, report: Report, site: Site) -> dict[str, Any]:
    series = tuple(
        Series(_agent(c), _published_colour(c, report), c.frames, c.values, note="published", style="published")
        for c in dopamine_game_curves(game)
    )
    rows = [[s.label, int(s.x[i]), s.y[i]] for s in series for i in range(len(s.x))]
    csv = site.csv(f"games/{game}-published", ("agent", "frames", "mean_return"), rows)
    levels = _levels(game)
    chart = LineChart(f"{game}: published score over frames", "frames", "score", series, levels)
    return site.line_figure(
        f"curve-{game}-published",
        f"{game}, as published elsewhere",
        f"Published by Dopamine{'' if _is_dopamines(report) else ', under another protocol'}. {_scale(levels)}",
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
        "median": numerals.score(run.median_score if run and entry.score is not None else None),
        "hns": numerals.number(entry.hns),
        "greedy": numerals.score(run.greedy_score if run else None),
        "games": f"{run.games:,}" if run else numerals.number(None),
        "speed": numerals.score(run.frames_per_second if run else None),
        "proof": run.proof if run else "",
        "credit": run.credit if run else None,
        "manifest": f"runs/{run.directory}.json" if run else "",
    }
