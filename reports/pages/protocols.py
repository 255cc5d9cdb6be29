"""The page that compares protocols by name: what each sets, and the same baselines on the same games under each.

The one page on which runs of two protocols stand in one table or figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports import numerals
from reports.judging.evidence import COUNTS, OFF_PROTOCOL, Entry
from reports.judging.missing import place_flags
from reports.judging.run_figures import curve_frames
from reports.pages.charts import Level, LineChart, Series
from reports.pages.palette import colour
from reports.pages.site import Site
from reports.summary import Report
from results.games import GAMES

NOT_SET = "\N{EN DASH}"  # a setting that a protocol was pinned without
Compared = tuple[str, str, int]  # game, baseline, budget


def protocols_page(reports: Sequence[Report], places: Sequence[tuple[str, str]], site: Site) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        reports: one a protocol, the first one's first.
        places: protocols that have a report here, with the folder that it lies in.
    """
    folders = dict(places)
    shared = _shared(reports)
    return {
        "title": "The protocols, side by side",
        "columns": [
            {
                "name": report.catalogue.protocol.name,
                "title": report.catalogue.protocol.title,
                "place": f"{folders[name]}index.html" if (name := report.catalogue.protocol.name) in folders else "",
                "runs": len(report.evidence.runs),
                "judges_the_paper": report.catalogue.protocol.judges_the_paper,
                "command": _first_command(report),
            }
            for report in reports
        ],
        "settings": _settings(reports),
        "differences": [
            {"name": r.catalogue.protocol.name, "text": r.catalogue.protocol.differences_markdown}
            for r in reports
            if r.catalogue.protocol.differences_markdown
        ],
        "rows": [_row(key, reports, folders) for key in shared],
        "figures": [_figure(game, keys, reports, site) for game, keys in _by_game(shared).items()],
    }


def _first_command(report: Report) -> str:
    place = place_flags(report.evidence, report.catalogue)
    return f"{report.catalogue.command} run --games breakout --frames 4M{place}"


def _settings(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Every setting of any protocol, and whether all have the same value."""
    names = list(dict.fromkeys(name for report in reports for name in report.catalogue.protocol.values))
    rows = []
    for name in names:
        values = [numerals.setting(report.catalogue.protocol.values.get(name, NOT_SET)) for report in reports]
        sources = [report.catalogue.protocol.sources.get(name, "") for report in reports]
        is_told = [value for value in values if value != NOT_SET]
        rows.append(
            {
                "name": name,
                "cells": [{"value": v, "source": s} for v, s in zip(values, sources, strict=True)],
                "differs": len(set(is_told)) > 1,
            }
        )
    return rows


def _entries(report: Report, key: Compared) -> list[Entry]:
    """Scored runs of a baseline on a game at a budget, by seed."""
    game, baseline, frames = key
    found = [e for e in report.evidence.of(baseline, frames) if e.game == game and e.run is not None]
    return [e for e in found if e.standing in (COUNTS, OFF_PROTOCOL) and e.score is not None]


def _shared(reports: Sequence[Report]) -> list[Compared]:
    """What was played under two protocols at least, by game."""
    keys = {(e.game, e.baseline, e.frames) for report in reports for e in report.evidence.runs}
    order = list(GAMES)
    there = [key for key in keys if sum(bool(_entries(report, key)) for report in reports) > 1]
    return sorted(there, key=lambda key: (order.index(key[0]), key[1], -key[2]))


def _by_game(shared: Sequence[Compared]) -> dict[str, list[Compared]]:
    found: dict[str, list[Compared]] = {}
    for key in shared:
        found.setdefault(key[0], []).append(key)
    return found


def _row(key: Compared, reports: Sequence[Report], folders: dict[str, str]) -> dict[str, Any]:
    game, baseline, frames = key
    cells = []
    for report in reports:
        entries = _entries(report, key)
        scores = [e.score for e in entries if e.score is not None]
        is_off = bool(entries) and all(e.standing == OFF_PROTOCOL for e in entries)
        cells.append(
            {
                "score": numerals.score(float(np.mean(scores)) if scores else None),
                "seeds": numerals.counted(len(scores), "seed") if scores else "no run",
                "is_off": is_off,
                "page": f"{folders[name]}games/{game}.html"
                if (name := report.catalogue.protocol.name) in folders
                else "",
            }
        )
    return {
        "game": game,
        "title": reports[0].catalogue.title(baseline),
        "css": colour(reports[0], baseline),
        "frames": frames,
        "cells": cells,
    }


def _figure(game: str, keys: Sequence[Compared], reports: Sequence[Report], site: Site) -> dict[str, Any]:
    """A game's curves at every budget that two protocols have: a colour a baseline, thick and thin by protocol."""
    series, rows = [], []
    for key in keys:
        _, baseline, frames = key
        points = curve_frames(frames)
        for number, report in enumerate(reports):
            entries = _entries(report, key)
            if not entries:
                continue
            name = report.catalogue.protocol.name
            mean = np.mean([e.run.curve for e in entries if e.run is not None], axis=0)  # nan where a seed has none
            if np.isnan(mean).all():
                continue
            series.append(
                Series(
                    f"{report.catalogue.title(baseline)}, {name}",
                    colour(reports[0], baseline),
                    points,
                    mean,
                    note=f"{numerals.frames(frames)}, {numerals.counted(len(entries), 'seed')}",
                    style="main" if number == 0 else "other",
                )
            )
            rows += [[name, baseline, frames, int(at), score] for at, score in zip(points, mean, strict=True)]
    levels = Level("human", GAMES[game].human), Level("random", GAMES[game].random)
    chart = LineChart(f"{game}: score over frames under each protocol", "frames", "score", tuple(series), levels)
    csv = site.csv(f"protocols/{game}", ("protocol", "baseline", "budget_frames", "frames", "score"), rows)
    names = [report.catalogue.protocol.name for report in reports]
    return site.line_figure(
        f"protocols-{game}",
        f"{game} under each protocol",
        f"Mean over seeds. Thick: {names[0]}; thin: {', '.join(names[1:])}. Not one experiment: the tasks differ.",
        chart,
        csv=csv,
    )
