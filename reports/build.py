"""Builds the site from a folder of results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports import summary as summaries
from reports.catalogue import Catalogue
from reports.judging.claims import MINIMUM_SEEDS
from reports.judging.verdicts import VERDICTS
from reports.pages.baseline import baseline_page
from reports.pages.claim import claim_page
from reports.pages.game import game_page
from reports.pages.overview import overview
from reports.pages.site import Site
from reports.statistics.bootstrap import CLAIM_REPETITIONS, CURVE_REPETITIONS, TABLE_REPETITIONS
from reports.summary import Report
from results.games import ATARI57
from results.reference import DOPAMINE, PAPER
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


def build(*, results: Path, out: Path, catalogue: Catalogue, claims_file: Path | None = None) -> Outcome:
    """Writes the whole site to `out`: pages, data, `summary.json` and `leaderboard.csv`. Same results, same bytes.

    Raises:
        ReportsError: the claims file is unfit, or `out` cannot hold a report.
        ResultsError: `results` is no folder.
    """
    report = summaries.gather(results=results, catalogue=catalogue, claims_file=claims_file)
    summary = summaries.summarise(report)
    site = Site(SITE_TITLE)
    site.page("index.html", "index.html", overview(report, site, summary))
    for judgement in report.judgements:
        site.page(f"claims/{judgement.claim.id}.html", "claim.html", claim_page(judgement, report, site))
    for game in ATARI57:
        site.page(f"games/{game}.html", "game.html", game_page(game, report, site))
    for info in report.catalogue.baselines:
        site.page(f"baselines/{info.name}.html", "baseline.html", baseline_page(info, report, site))
    site.page("method.html", "method.html", method_page(report, summary))
    for entry in report.evidence.runs:
        if entry.run is not None:
            manifest = results / entry.run.directory / MANIFEST_FILE
            site.files[f"runs/{entry.run.directory}.json"] = manifest.read_bytes()
    site.files["summary.json"] = summaries.json_text(summary)
    site.files["leaderboard.csv"] = summaries.leaderboard_csv(summary)
    site.write(out)
    return Outcome(
        index=out / "index.html",
        summary_file=out / "summary.json",
        summary=summary,
        pages=sum(name.endswith(".html") for name in site.files),
        runs=summary["results"]["runs"],
        left_out=report.left_out,
    )


def summarise(*, results: Path, catalogue: Catalogue, claims_file: Path | None = None) -> dict[str, Any]:
    """The summary alone, without writing anything. Raises as `build`."""
    return summaries.summarise(summaries.gather(results=results, catalogue=catalogue, claims_file=claims_file))


def method_page(report: Report, summary: dict[str, Any]) -> dict[str, Any]:
    """How to read the report and how it was made."""
    runs = [entry for entry in report.evidence.runs if entry.run is not None]
    machines = Counter(entry.run.hardware for entry in runs if entry.run is not None)
    return {
        "title": "How to read this report, and how it was made",
        "results": summary["results"],
        "protocol": {
            "name": report.catalogue.protocol.name,
            "values": [
                {"name": name, "value": value, "source": report.catalogue.protocol.sources.get(name, "")}
                for name, value in report.catalogue.protocol.values.items()
            ],
        },
        "minimum_seeds": MINIMUM_SEEDS,
        "verdicts": VERDICTS,
        "repetitions": {"claims": CLAIM_REPETITIONS, "tables": TABLE_REPETITIONS, "curves": CURVE_REPETITIONS},
        "machines": sorted(machines.items()),
        "published": [PAPER, DOPAMINE],
        "left_out": [{"run": place, "standing": "broken", "reason": reason} for place, reason in report.evidence.broken]
        + [
            {"run": str(entry), "standing": entry.standing, "reason": entry.reason}
            for entry in report.evidence.entries
            if entry.standing != "counts"
        ],
    }
