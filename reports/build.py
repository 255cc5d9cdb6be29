"""Builds the site from a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from reports.pages.site import Site
from results.games import ATARI57
from results.schema import MANIFEST_FILE

SITE_TITLE = "Hadamax reproducibility suite"


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
    reading: Reading | None = None,
) -> Outcome:
    """Writes the whole site to `out`: pages, data, `summary.json` and `leaderboard.csv`. Same results, same bytes.

    Args:
        more: further folders of results, read after `results`.
        clips: of games, for the games' pages.
        reading: how folders and runs are read, if not anew.
    Raises:
        ReportsError: the claims file is unfit, or `out` cannot hold a report.
        ResultsError: a folder of results is none.
    """
    with Site(SITE_TITLE, out) as site:
        report = summaries.gather(
            results=results, catalogue=catalogue, claims_file=claims_file, more=more, reading=reading
        )
        summary = summaries.summarise(report)
        _fill(site, report, summary, clips)
        site.finish()
    return Outcome(
        index=out / "index.html",
        summary_file=out / "summary.json",
        summary=summary,
        pages=sum(name.endswith(".html") for name in site.names),
        runs=summary["results"]["runs"],
        left_out=report.left_out,
    )


def _fill(site: Site, report: summaries.Report, summary: dict[str, Any], clips: Clips | None) -> None:
    site.page("index.html", "index.html", overview(report, site, summary))
    for judgement in report.judgements:
        site.page(f"claims/{judgement.claim.id}.html", "claim.html", claim_page(judgement, report, site))
    for game in ATARI57:
        shown = None if clips is None else clips_view(game, clips, report.catalogue, site)
        site.page(f"games/{game}.html", "game.html", {**game_page(game, report, site), "clips": shown})
    for info in report.catalogue.baselines:
        site.page(f"baselines/{info.name}.html", "baseline.html", baseline_page(info, report, site))
    site.page("method.html", "method.html", method_page(report, summary))
    for entry in report.evidence.runs:
        if entry.run is not None:
            manifest = entry.run.root / entry.run.directory / MANIFEST_FILE
            site.add(f"runs/{entry.run.directory}.json", manifest.read_bytes())
    site.add("summary.json", summaries.json_text(summary))
    site.add("leaderboard.csv", summaries.leaderboard_csv(summary))


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
