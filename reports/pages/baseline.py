"""A baseline's page: its configuration with sources, deviations, scores, diagnostics and cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from reports import numerals
from reports.catalogue import BaselineInfo
from reports.judging.evidence import COUNTS, MEASURED, OFF_PROTOCOL, UNFINISHED, Entry
from reports.judging.leaderboard import games_title
from reports.judging.missing import speeds
from reports.judging.run_figures import diagnostic_frames
from reports.pages.charts import LineChart, Series
from reports.pages.palette import layer_colour
from reports.pages.rank import RANK, ceiling
from reports.pages.site import Site
from reports.summary import Report
from results.games import ATARI57

_DIAGNOSTICS = (
    ("effective_rank", "Effective rank", "How many directions a layer's outputs use (srank, delta 0.01)."),
    ("dead_fraction", "Dead neurons", "Fraction of a layer's neurons that no longer respond to any input."),
)


def baseline_page(info: BaselineInfo, report: Report, site: Site) -> dict[str, Any]:
    """Everything that a baseline's page shows."""
    entries = [e for e in report.evidence.entries if e.baseline == info.name]
    return {
        "title": info.title,
        "info": {
            "name": info.name,
            "config_hash": info.config_hash,
            "values": _values(info.values.items(), info.sources),
            "references": sorted(info.references.items()),
            "deviations": info.deviations_markdown,
            "about": _linked(info.about_markdown, {b.name for b in report.catalogue.baselines}),
            "is_own": info.is_own,
            "code": sorted(info.code.items()),
        },
        "protocol": {
            "name": report.catalogue.protocol.name,
            "values": _values(report.catalogue.protocol.values.items(), report.catalogue.protocol.sources),
        },
        "budgets": _budgets(entries),
        "games": _games(entries),
        "figures": _diagnostic_figures(info, entries, report, site),
        "cost": _cost(info, report),
        "untimed": _untimed(entries),
        "left_out": [
            {"run": str(e), "standing": e.standing, "reason": e.reason} for e in entries if e.standing != COUNTS
        ],
    }


def _linked(text: str, names: set[str]) -> str:
    """Markdown with its links to the pages of other baselines; those to other documents are left as words."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        if target.startswith("https://"):
            return found[0]
        name = target.removesuffix(".md")
        return f"[{words}]({name}.html)" if name in names else words

    return re.sub(r"\[([^]]+)\]\(([^)]+)\)", link, text)


def _values(items: Iterable[tuple[str, Any]], sources: Any) -> list[dict[str, str]]:
    return [{"name": name, "value": numerals.setting(value), "source": sources.get(name, "")} for name, value in items]


def _budgets(entries: list[Entry]) -> list[dict[str, Any]]:
    """How many runs there are at each budget."""
    found = []
    for budget in sorted({e.frames for e in entries}, reverse=True):
        there = [e for e in entries if e.frames == budget]
        played = {e.game for e in there}
        found.append(
            {
                "frames": budget,
                "games": games_title(tuple(g for g in ATARI57 if g in played)),
                "runs": len(there),
                "counted": sum(e.standing == COUNTS for e in there),
                "off_protocol": sum(e.standing == OFF_PROTOCOL for e in there),
                "unfinished": sum(e.standing == UNFINISHED for e in there),
                "sources": ", ".join(sorted({e.source for e in there})),
            }
        )
    return found


def _games(entries: list[Entry]) -> list[dict[str, Any]]:
    """Mean score of each game and budget: one row for what counts, and others for what does not or was imported."""
    found = []
    usable = [e for e in entries if e.standing in (COUNTS, OFF_PROTOCOL) and e.score is not None]
    for game in ATARI57:
        keys = {(e.frames, e.source, e.standing) for e in usable if e.game == game}
        for budget, source, standing in sorted(keys, key=lambda key: (-key[0], key[1] != MEASURED, key[2] != COUNTS)):
            there = [e for e in usable if (e.game, e.frames, e.source, e.standing) == (game, budget, source, standing)]
            notes = (("imported", source != MEASURED), (OFF_PROTOCOL, standing == OFF_PROTOCOL))
            scores = [e.score for e in there if e.score is not None]
            medians = [e.run.median_score for e in there if e.run and e.run.median_score is not None]
            hns = [e.hns for e in there if e.hns is not None]
            found.append(
                {
                    "game": game,
                    "frames": budget,
                    "seeds": len(there),
                    "score": numerals.score(float(np.mean(scores))),
                    "median": numerals.score(float(np.mean(medians)) if medians else None),
                    "range": f"{numerals.score(min(scores))} to {numerals.score(max(scores))}"
                    if len(scores) > 1
                    else "",
                    "hns": numerals.number(float(np.mean(hns))),
                    "note": ", ".join(note for note, applies in notes if applies),
                }
            )
    return found


def _diagnostic_figures(info: BaselineInfo, entries: list[Entry], report: Report, site: Site) -> list[dict[str, Any]]:
    """Each diagnostic by layer over frames, over all runs of the budget with the most of them."""
    for standings in ((COUNTS,), (OFF_PROTOCOL,)):
        runs = [e for e in entries if e.standing in standings and e.run is not None and e.run.diagnostics]
        if runs:
            break
    else:
        return []
    counts = {budget: sum(e.frames == budget for e in runs) for budget in {e.frames for e in runs}}
    budget = max(counts, key=lambda b: (counts[b], b))
    chosen = [e for e in runs if e.frames == budget]
    frames = diagnostic_frames(budget)
    figures = []
    for measure, title, meaning in _DIAGNOSTICS:
        of_measure = [e.run for e in chosen if e.run]
        if measure == RANK:  # under one ceiling
            finest = max(run.observations for run in of_measure)
            of_measure = [run for run in of_measure if run.observations == finest]
        layers = sorted(
            {n.split("/", 1)[1] for run in of_measure for n in run.diagnostics if n.startswith(measure + "/")}
        )
        series, rows = [], []
        for index, layer in enumerate(layers):
            name = f"{measure}/{layer}"
            stack = np.stack([run.diagnostics[name] for run in of_measure if name in run.diagnostics])
            low, mean, high = _spread(stack)
            series.append(Series(layer, layer_colour(index), frames, mean, low, high).where_known())
            rows += [[layer, int(frames[i]), mean[i], low[i], high[i]] for i in np.flatnonzero(~np.isnan(mean))]
        if not series:
            continue
        levels = (ceiling(of_measure),) if measure == RANK else ()
        label = f"{info.title}: {title.lower()} by layer over frames"
        chart = LineChart(label, "frames", title.lower(), tuple(series), levels, y_low=0.0)
        csv = site.csv(f"{info.name}-{measure}", ("layer", "frames", "mean", "quartile_low", "quartile_high"), rows)
        where = f"{numerals.counted(len(chosen), 'run')} at {numerals.frames(budget)} frames"
        if len(of_measure) < len(chosen):
            where = f"{len(of_measure)} of {where}, those with the largest sample"
        figures.append(
            site.line_figure(
                f"{measure}-{info.name}",
                title,
                f"{meaning} Mean of {where}; band: middle half of the runs."
                if len(of_measure) > 1
                else f"{meaning} From {where}.",
                chart,
                csv=csv,
            )
        )
    return figures


def _spread(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower quartile, mean and upper quartile over runs [runs, points]; nan where no run has a value.

    A single run has no quartiles.
    """
    low, mean, high = (np.full(stack.shape[1], np.nan) for _ in range(3))
    some = ~np.isnan(stack).all(axis=0)
    if some.any():
        mean[some] = np.nanmean(stack[:, some], axis=0)
        if len(stack) > 1:
            low[some], high[some] = np.nanquantile(stack[:, some], [0.25, 0.75], axis=0)
    return low, mean, high


def _untimed(entries: list[Entry]) -> str:
    """How many finished runs the table of costs leaves out, and why; "" for none."""
    done = [e.run for e in entries if e.standing == COUNTS and e.run is not None and e.run.status == "done"]
    reasons = Counter(run.untimed.removeprefix("not timed: ") for run in done if run.rough_timing is None)
    runs = numerals.counted(reasons.total(), "run is", "runs are")
    each = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
    return f"{runs} not timed here: {each}." if reasons else ""


def _cost(info: BaselineInfo, report: Report) -> list[dict[str, Any]]:
    """Speed on each hardware, and what a run of 40M and of 200M frames takes at it."""
    found = []
    for hardware, by_baseline in sorted(speeds(report.evidence).items()):
        values = by_baseline.get(info.name)
        if values:
            typical = float(np.median(values))
            found.append(
                {
                    "hardware": hardware,
                    "runs": len(values),
                    "speed": numerals.score(1 / typical),
                    "range": f"{numerals.score(1 / max(values))} to {numerals.score(1 / min(values))}"
                    if len(values) > 1
                    else "",
                    "short": numerals.duration(40e6 * typical),
                    "long": numerals.duration(200e6 * typical),
                }
            )
    return found
