"""Builds the site from a folder of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reports import summary as summaries
from reports.catalogue import Catalogue
from reports.judging.evidence import Reading
from reports.pages.baseline import baseline_page
from reports.pages.claim import claim_page
from reports.pages.clips import Clips, clips_view
from reports.pages.game import game_page
from reports.pages.method import method_page
from reports.pages.overview import overview
from reports.pages.protocols import protocols_page
from reports.pages.site import Site
from reports.pages.why import why_page
from reports.summary import Report
from reports.told import Tell, nobody
from results.games import ATARI57
from results.schema import MANIFEST_FILE

SITE_TITLE = "Hadamax reproducibility suite"


@dataclass(frozen=True)
class Other:
    """Another protocol whose report stands beside the first one's."""

    catalogue: Catalogue
    clips: Clips | None = None


@dataclass(frozen=True)
class Outcome:
    """What `build` made."""

    index: Path
    summary_file: Path
    summary: dict[str, Any]
    pages: int
    runs: int  # found, of any standing, broken ones included
    left_out: tuple[str, ...]  # a line for each run or file that was not used, with the reason


def build(
    *,
    results: Path,
    out: Path,
    catalogue: Catalogue,
    claims_file: Path | None = None,
    more: Sequence[Path] = (),
    clips: Clips | None = None,
    others: Sequence[Other] = (),
    reading: Reading | None = None,
    tell: Tell = nobody,
) -> Outcome:
    """Writes the whole site to `out`: pages, data, `summary.json` and `leaderboard.csv`. Same results, same bytes.

    Args:
        more: further folders of results, read after `results`.
        clips: of games, for the games' pages.
        others: further protocols. Each that has runs gets a whole report in a folder of its name, and `protocols.html`
            compares them.
        reading: how folders and runs are read, if not anew.
        tell: asked before each run, each claim and each page.
    Raises:
        ReportsError: the claims file is unfit, or `out` cannot hold a report.
        ResultsError: a folder of results is none.
    """
    with Site(SITE_TITLE, out, protocol=catalogue.protocol.name) as site:
        report = summaries.gather(
            results=results, catalogue=catalogue, claims_file=claims_file, more=more, reading=reading, tell=tell
        )
        beside = [
            (other, summaries.gather(results=results, catalogue=other.catalogue, more=more, reading=reading, tell=tell))
            for other in others
        ]
        if reading is not None:
            reading.forget()
        with_runs = [(r.catalogue.protocol.name, other, r) for other, r in beside if r.evidence.runs]
        shown = ((catalogue.protocol.name, ""), *((name, f"{name}/") for name, _, _ in with_runs)) if others else ()
        site.tell_protocols(shown)
        summary = _add_pages(site, report, clips, tell)
        for name, other, theirs in with_runs:
            _add_pages(site.part(name), theirs, other.clips, tell)
        if others:
            every = [report, *(r for _, r in beside)]
            site.page("protocols.html", "protocols.html", protocols_page(every, shown, site))
        site.finish()
    return Outcome(
        index=out / "index.html",
        summary_file=out / "summary.json",
        summary=summary,
        pages=sum(name.endswith(".html") for name in site.names),
        runs=summary["results"]["runs"] + sum(len(r.evidence.runs) for _, r in beside),
        left_out=(*report.left_out, *(line for _, r in beside for line in _left_out_runs(r))),
    )


def _add_pages(site: Site, report: Report, clips: Clips | None, tell: Tell) -> dict[str, Any]:
    """Adds every page of one protocol's report to `site`. Returns its summary."""
    summary = summaries.summarise(report)
    pages: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
        ("index.html", "index.html", lambda: overview(report, site, summary))
    ]
    for judgement in report.judgements:
        pages.append((f"claims/{judgement.claim.id}.html", "claim.html", partial(claim_page, judgement, report, site)))
    for game in ATARI57:
        pages.append((f"games/{game}.html", "game.html", partial(_game_page, game, report, site, clips)))
    for info in report.catalogue.baselines:
        pages.append((f"baselines/{info.name}.html", "baseline.html", partial(baseline_page, info, report, site)))
    pages.append(("why.html", "why.html", lambda: why_page(report, site)))
    pages.append(("method.html", "method.html", lambda: method_page(report, summary)))
    for number, (name, template, view_of) in enumerate(pages):
        tell("making pages", number, len(pages))
        site.page(name, template, view_of())
    for entry in report.evidence.runs:
        if entry.run is not None:
            manifest = entry.run.root / entry.run.directory / MANIFEST_FILE
            site.add(f"runs/{entry.run.directory}.json", manifest.read_bytes())
    site.add("summary.json", summaries.json_text(summary))
    site.add("leaderboard.csv", summaries.leaderboard_csv(summary))
    return summary


def _game_page(game: str, report: Report, site: Site, clips: Clips | None) -> dict[str, Any]:
    shown = None if clips is None else clips_view(game, clips, report.catalogue, site)
    return {**game_page(game, report, site), "clips": shown}


def _left_out_runs(report: Report) -> list[str]:
    """Of another protocol's report: its runs alone, for imported scores and files beside runs are named once."""
    named = {str(entry) for entry in report.evidence.entries if entry.run is None}
    named |= {file for file, _ in report.evidence.broken_files}
    return [
        f"{report.catalogue.protocol.name}: {line}" for line in report.left_out if line.partition(":")[0] not in named
    ]


def summarise(
    *,
    results: Path,
    catalogue: Catalogue,
    claims_file: Path | None = None,
    more: Sequence[Path] = (),
    reading: Reading | None = None,
) -> dict[str, Any]:
    """The summary alone, without writing anything. Raises as `build`."""
    return summaries.summarise(
        summaries.gather(results=results, catalogue=catalogue, claims_file=claims_file, more=more, reading=reading)
    )
