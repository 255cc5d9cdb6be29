"""The first page: the answer, the leaderboard, the curves, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from reports import numerals
from reports.judging.claims import SUITE
from reports.judging.evidence import NOT_COMPARABLE
from reports.judging.judge import Judgement
from reports.judging.leaderboard import PUBLISHED, Group, Row
from reports.judging.missing import place_flags
from reports.judging.verdicts import INSUFFICIENT, VERDICTS
from reports.pages.card import VERDICT_CSS
from reports.pages.charts import mini_interval, sparkline
from reports.pages.claims_table import claims_table
from reports.pages.group_figures import curve_figure, profile_figure, row_title
from reports.pages.lead import lead
from reports.pages.palette import colour, place
from reports.pages.site import Site
from reports.pages.svg import frame_text, padded
from reports.statistics.aggregate import METRIC_TITLES, METRICS
from reports.statistics.bootstrap import LEAST_RUNS, SAME_DRAWS, Interval
from reports.summary import Report
from results.games import ATARI57
from results.schema import format_frames

# Of a single game median and mean are one number, and so is the IQM of three seeds.
OF_ONE_GAME = {"median": "Score", "optimality_gap": "Optimality gap"}


def overview(report: Report, site: Site, summary: dict[str, Any]) -> dict[str, Any]:
    """Everything that the first page shows."""
    return {
        "title": "Does Hadamax give what its paper says?"
        if report.catalogue.protocol.judges_the_paper
        else f"The baselines under the protocol {report.catalogue.protocol.name}",
        "protocol": _protocol(report),
        "answer": answer(report),
        "tally": tally(report),
        "lead": lead(report, site),
        "claims": claims_table(claims_of(report), report),
        "questions": claims_table([j for j in report.judgements if j.claim.family == SUITE][1:], report),
        "groups": [_group(group, report, site, number) for number, group in enumerate(report.groups)],
        "singles": singles(report),
        "published": [_leaderboard(group, report) for group in report.published],
        "games": games(report),
        "baselines": [
            {"name": b.name, "title": b.title, "css": colour(report, b.name)} for b in report.catalogue.baselines
        ],
        "results": summary["results"],
        "is_empty": not report.groups,
        "first_command": f"{report.catalogue.command} run --games pong,breakout --frames 4M --baselines "
        f"{','.join(b.name for b in report.catalogue.baselines[:2])} --seeds 3"
        f"{place_flags(report.evidence, report.catalogue)}",
    }


def _protocol(report: Report) -> dict[str, Any]:
    protocol = report.catalogue.protocol
    return {
        "title": protocol.title,
        "judges_the_paper": protocol.judges_the_paper,
        "has_differences": bool(protocol.differences_markdown),
    }


def claims_of(report: Report) -> list[Judgement]:
    """What is claimed; the suite's own questions stand apart."""
    return [judgement for judgement in report.judgements if judgement.claim.family != SUITE]


def answer(report: Report) -> str:
    """One sentence that answers the title's question, by the claims alone."""
    claims = claims_of(report)
    judged = [j for j in claims if not j.is_preliminary]
    total = len(claims)
    if not claims:
        runs = numerals.counted(len(report.evidence.runs), "run")
        return (
            f"{runs} under this protocol. The paper's claims are not asked of them: they are judged on the first one."
        )
    if not report.evidence.entries:
        waiting = "the claim waits" if total == 1 else f"all {total} claims wait"
        return f"Nobody knows yet: there are no runs here, and {waiting} for some."
    if not judged:
        preliminary = sum(j.estimate is not None and j.interval.estimate is not None for j in claims)
        lacking = "the claim lacks" if total == 1 else f"none of the {total} claims has"
        which = "It has" if total == 1 else f"{preliminary} of them {'has' if preliminary == 1 else 'have'}"
        seen = f" {which} a preliminary estimate." if preliminary else ""
        return f"Not settled yet: {lacking} the runs that a verdict needs.{seen}"
    words = [f"{count} {verdict}" for verdict in VERDICTS if (count := sum(j.verdict == verdict for j in judged))]
    if total == 1:
        return f"The claim is judged: {judged[0].verdict}."
    rest = total - len(judged)
    left = f" {rest} still lack the runs that a verdict needs." if rest > 1 else ""
    left = " One still lacks the runs that a verdict needs." if rest == 1 else left
    return f"Of {total} claims, {numerals.counted(len(judged), 'is', 'are')} judged: {numerals.listed(words)}.{left}"


def tally(report: Report) -> list[dict[str, Any]]:
    """How often each verdict was given; nothing where none was."""
    given = [
        {"verdict": verdict, "css": css, "count": count}
        for verdict, css in VERDICT_CSS.items()
        if (count := sum(j.verdict == verdict for j in claims_of(report)))
    ]
    return [] if all(item["verdict"] == INSUFFICIENT for item in given) else given


def _leaderboard(group: Group, report: Report) -> dict[str, Any]:
    shown = METRICS if len(group.games) > 1 else OF_ONE_GAME
    metrics = [metric for metric in shown if any(row.metrics[metric].estimate is not None for row in group.rows)]
    scales = {}
    for metric in metrics:
        intervals = [row.metrics[metric] for row in group.rows]
        ends = [v for i in intervals for v in (i.estimate, i.low, i.high) if v is not None]
        scales[metric] = padded(ends, include=(0.0,))
    best = {metric: _best([row.metrics[metric] for row in group.rows], metric) for metric in metrics}
    return {
        "title": group.title,
        "frames": group.frames,
        "is_off_protocol": group.is_off_protocol,
        "is_unscored": group.is_unscored,
        "metrics": [METRIC_TITLES[metric] if len(group.games) > 1 else OF_ONE_GAME[metric] for metric in metrics],
        "has_median57": any(row.median57 is not None for row in group.rows),
        "rows": [_row(row, report, metrics, scales, best) for row in sorted(group.rows, key=_descending)],
        "notes": _notes(group, report),
        "origins": sorted({row.origin for row in group.rows if row.origin}),
        "has_unequal_seeds": any(row.seeds[0] != row.seeds[1] for row in group.rows),
        "has_few_seeds": not group.is_unscored and any(0 < row.seeds[0] < LEAST_RUNS for row in group.rows),
    }


def _notes(group: Group, report: Report) -> list[str]:
    """Under which protocol published rows were made; whose it is, where they differ."""
    found: dict[str, list[str]] = {}
    for row in group.rows:
        if row.protocol:
            found.setdefault(row.protocol, []).append(row_title(row, report.catalogue))
    if len(found) < 2:
        return [f"Protocol: {protocol}" for protocol in found]
    return [f"Protocol of {numerals.listed(titles)}: {protocol}" for protocol, titles in found.items()]


def _descending(row: Row) -> float:
    """Sorts rows by their median, the highest first; rows without one come last."""
    median = row.metrics["median"].estimate
    return np.inf if median is None else -median


def _best(known: Sequence[Interval], metric: str) -> float | None:
    """The best estimate; None where it can't be told: of one row, without an interval each, of two that read alike."""
    estimates = [i.estimate for i in known if i.estimate is not None and i.is_complete]
    if len(estimates) < max(len(known), 2):
        return None
    first, second = sorted(estimates, reverse=metric != "optimality_gap")[:2]
    return None if numerals.number(first) == numerals.number(second) else first


def _row(
    row: Row,
    report: Report,
    metrics: list[str],
    scales: dict[str, tuple[float, float]],
    best: dict[str, float | None],
) -> dict[str, Any]:
    css = colour(report, row.baseline) if row.source != PUBLISHED else "pub"
    return {
        "baseline": row.baseline,
        "title": row_title(row, report.catalogue),
        "has_page": report.catalogue.find(row.baseline) is not None,
        "css": css,
        "source": row.source,
        "seeds": numerals.seeds_text(row.seeds).split(" seed")[0] if row.runs else numerals.number(None),
        "runs": row.runs or numerals.number(None),
        "median57": None if row.median57 is None else _cell(row.median57),
        "cells": [
            {
                **_cell(interval),
                "is_best": best[metric] is not None and interval.estimate == best[metric],
                "bar": "" if interval.estimate is None else Markup(mini_interval(interval, *scales[metric], css)),
            }
            for metric in metrics
            for interval in [row.metrics[metric]]
        ],
    }


def is_single(group: Group) -> bool:
    """Whether a group has one game, and no side more than one seed of it: such rows share a table."""
    return len(group.games) == 1 and not group.is_unscored and all(row.seeds[1] == 1 for row in group.rows)


def singles(report: Report) -> list[dict[str, Any]]:
    """A row for each score of a single seed of a single game that no larger group has, by game."""
    rows = [
        {
            "game": entry.game,
            "frames": entry.frames,
            "baseline": entry.baseline,
            "title": report.catalogue.title(entry.baseline),
            "has_page": report.catalogue.find(entry.baseline) is not None,
            "css": colour(report, entry.baseline),
            "source": entry.source,
            "off_protocol": group.is_off_protocol,
            "score": numerals.number(entry.hns),
        }
        for group in report.groups
        if is_single(group)
        for row in group.rows
        for entry in row.entries
    ]
    return sorted(rows, key=lambda row: (row["game"], -int(str(row["frames"]))))


def _cell(interval: Interval) -> dict[str, str]:
    ends = f"{numerals.number(interval.low)} to {numerals.number(interval.high)}" if interval.is_complete else ""
    return {"value": numerals.number(interval.estimate), "ends": ends}


def _group(group: Group, report: Report, site: Site, number: int) -> dict[str, Any]:
    name = f"{format_frames(group.frames)}-{number}"
    has_one_game = len(group.games) == 1  # it has its own page, with every curve in one figure
    curves = () if has_one_game else (("median", "Median"), ("iqm", "Interquartile mean"))
    figures = [curve_figure(group, report, site, name, statistic, title) for statistic, title in curves]
    return {
        **_leaderboard(group, report),
        "id": f"group-{name}",
        "figures": [figure for figure in figures if figure],
        "profile": None if has_one_game else profile_figure(group, report, site, name),
        "is_single": is_single(group),
        "game_page": group.games[0] if has_one_game else "",
        "improvements": [
            {
                "first": report.catalogue.title(a),
                "second": report.catalogue.title(b),
                "value": numerals.percent(chance.estimate),
                "ends": "" if not chance.is_complete else numerals.between(chance.low, chance.high, numerals.percent),
                "bar": Markup(mini_interval(chance, 0.0, 1.0, colour(report, a), mark=0.5)),
            }
            for a, b, chance in group.improvements
            if chance.is_complete or chance.reason == SAME_DRAWS
        ],
        "why_no_ends": SAME_DRAWS if any(i.reason == SAME_DRAWS for _, _, i in group.improvements) else "",
    }


def games(report: Report) -> list[dict[str, Any]]:
    """Every game with the shape of its curves over one axis, as long as its largest budget."""
    found = []
    for game in ATARI57:
        runs = [e for e in report.evidence.runs if e.game == game]
        shown = [e for e in runs if e.score is not None and e.standing != NOT_COMPARABLE and e.run is not None]
        longest = max((e.frames for e in shown), default=0)
        curves = []
        budgets = {(e.baseline, e.frames) for e in shown}
        for name, budget in sorted(budgets, key=lambda key: (place(report, key[0]), key)):
            seeds = [e.run.curve[4::5] for e in shown if e.run and (e.baseline, e.frames) == (name, budget)]
            curves.append((colour(report, name), np.mean(seeds, axis=0), budget / longest))
        found.append(
            {
                "name": game,
                "runs": len(runs),
                "note": f"{numerals.counted(len(runs), 'run')}" + (f", to {frame_text(longest)}" if longest else ""),
                "spark": Markup(sparkline(curves)) if curves else "",
            }
        )
    return found
