"""The summary as Markdown, for a README or a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import numerals, wording
from reports.judging.claims import PAPER, SUITE
from reports.statistics.aggregate import METRIC_TITLES, METRICS
from reports.statistics.bootstrap import Interval


def render(summary: Mapping[str, Any]) -> str:
    """Verdicts, then the leaderboard; ends with a newline."""
    lines = []
    for family, title, what in ((PAPER, "Claims", "claim"), (SUITE, "The suite's own questions", "question")):
        rows = [
            f"| {_cell(claim['title'])} | **{claim['verdict']}** | {_cell(claim['sentence'])} |"
            for claim in summary["claims"]
            if claim["family"] == family
        ]
        if rows:
            lines += [f"## {title}", "", f"| {what} | verdict | what it rests on |", "| --- | --- | --- |", *rows, ""]
    lines += ["## Leaderboard", "", *_leaderboard(summary), "", _runs(summary)]
    return "\n".join(lines) + "\n"


def _leaderboard(summary: Mapping[str, Any]) -> list[str]:
    rows = summary["leaderboard"]
    if not rows:
        return ["No runs yet."]
    titles = [METRIC_TITLES[metric] for metric in METRICS]
    lines = [
        f"| baseline | source | games | frames | seeds | {' | '.join(titles)} |",
        f"| --- | --- | --- | ---: | ---: | {' | '.join(['---:'] * len(titles))} |",
    ]
    for row in rows:
        source = row["source"] + (", off protocol" if row["off_protocol"] else "")
        seeds = numerals.seeds_text((row["seeds"]["min"], row["seeds"]["max"])).split(" seed")[0]
        cells = [wording.metric_text(_interval(row[metric])) for metric in METRICS]
        lines.append(
            f"| {row['baseline']} | {source} | {row['games']} | {numerals.frames(row['frames'])} | "
            f"{seeds if row['runs'] else numerals.number(None)} | {' | '.join(cells)} |"
        )
    return [*lines, "", "Human-normalised scores; 95 % intervals in brackets. Published rows were not measured here."]


def _runs(summary: Mapping[str, Any]) -> str:
    found = summary["results"]
    parts = [f"{numerals.counted(found['runs'], 'run')}, {found['counted']} counted"]
    for key, text in (
        ("off_protocol", "off protocol"),
        ("unfinished", "unfinished"),
        ("not_comparable", "not comparable"),
        ("broken", "broken"),
    ):
        if found[key]:
            parts.append(f"{found[key]} {text}")
    return ", ".join(parts) + "."


def _interval(value: Mapping[str, float | None]) -> Interval:
    return Interval(value["estimate"], value["ci_low"], value["ci_high"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
