"""The summary: everything a report says, as plain data, and the files it is written to.

Its shape is `summary.schema.json`. The same results give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reports import wording
from reports.catalogue import Catalogue
from reports.judging.claims_file import load_claims
from reports.judging.evidence import COUNTS, NOT_COMPARABLE, OFF_PROTOCOL, UNFINISHED, Entry, Evidence, Reading, load
from reports.judging.imported import imported_from
from reports.judging.judge import Judgement, judge
from reports.judging.leaderboard import Group, Row, build_groups, published_groups
from reports.judging.missing import Missing
from reports.statistics.aggregate import METRICS
from reports.statistics.power import Seeds
from reports.told import Tell, nobody
from results.store import external_directories

FORMAT_VERSION = 3


@dataclass(frozen=True)
class Report:
    """Everything that pages are made of."""

    catalogue: Catalogue
    evidence: Evidence
    groups: tuple[Group, ...]
    published: tuple[Group, ...]
    judgements: tuple[Judgement, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """One line for each run or file that was not used, with the reason."""
        lines = [f"{place}: {reason}" for place, reason in self.evidence.broken]
        lines += [
            f"{entry}: {entry.standing}: {entry.reason}"
            for entry in self.evidence.entries
            if entry.standing not in (COUNTS, OFF_PROTOCOL)
        ]
        return tuple(lines)

    def standing(self, standing: str) -> list[Entry]:
        return [entry for entry in self.evidence.entries if entry.standing == standing]


def gather(
    *,
    results: Path,
    catalogue: Catalogue,
    claims_file: Path | None = None,
    more: Sequence[Path] = (),
    reading: Reading | None = None,
    tell: Tell = nobody,
) -> Report:
    """Reads the results and judges every claim.

    Args:
        more: further folders of results, read after `results`.
        reading: how folders and runs are read, if not anew.
        tell: asked before each run and each claim.
    Raises:
        ReportsError: the claims file is unfit. ResultsError: a folder of results is none.
    """
    claims = load_claims(claims_file, with_built_in=catalogue.protocol.judges_the_paper)
    fractions = [claim.at_frames / claim.frames for claim in claims if claim.at_frames is not None]
    external, broken_sets = imported_from(external_directories((results, *more)).values(), catalogue)
    evidence = load(results, catalogue, fractions=fractions, external=external, more=more, reading=reading, tell=tell)
    evidence = replace(evidence, broken_files=(*evidence.broken_files, *broken_sets))
    shown = catalogue.shown_with(evidence.baselines)
    judgements = []
    for number, claim in enumerate(claims):
        tell("judging claims", number, len(claims))
        judgements.append(judge(claim, evidence, catalogue))
    return Report(
        catalogue=shown,
        evidence=evidence,
        groups=tuple(build_groups(evidence, shown)),
        published=published_groups(catalogue.protocol.name),
        judgements=tuple(judgements),
    )


def summarise(report: Report) -> dict[str, Any]:
    """The report as plain data, ready for JSON."""
    evidence = report.evidence
    runs = evidence.runs
    return {
        "format_version": FORMAT_VERSION,
        "protocol": report.catalogue.protocol.name,
        "results": {
            "runs": len(runs) + len(evidence.broken_runs),
            "counted": sum(entry.standing == COUNTS for entry in runs),
            "off_protocol": sum(entry.standing == OFF_PROTOCOL for entry in runs),
            "unfinished": sum(entry.standing == UNFINISHED for entry in runs),
            "not_comparable": sum(entry.standing == NOT_COMPARABLE for entry in runs),
            "broken": len(evidence.broken_runs),
            "external_scores": len(evidence.entries) - len(runs),
            "newest_run_finished_at": max(
                (e.run.finished_at for e in runs if e.run and e.run.finished_at), default=None
            ),
            "left_out": list(report.left_out),
        },
        "claims": [_claim(judgement, report.catalogue) for judgement in report.judgements],
        "leaderboard": [_row(group, row) for group in (*report.groups, *report.published) for row in group.rows],
        "improvements": [
            {"baseline": a, "over": b, "games": group.title, "frames": group.frames, **chance.as_dict()}
            for group in report.groups
            for a, b, chance in group.improvements
        ],
    }


def _claim(judgement: Judgement, catalogue: Catalogue) -> dict[str, Any]:
    claim, basis = judgement.claim, judgement.basis
    return {
        "id": claim.id,
        "family": claim.family,
        "kind": claim.kind.name,
        "title": claim.title,
        "source": claim.source,
        "verdict": judgement.verdict,
        "sentence": wording.sentence(judgement, catalogue),
        "claimed": claim.claimed,
        **judgement.interval.as_dict(),
        "preliminary": judgement.is_preliminary,
        "measure": claim.measure,
        "baselines": list(claim.sides),
        "parts": {} if judgement.estimate is None else {k: i.as_dict() for k, i in judgement.estimate.parts.items()},
        "games": [] if basis is None else list(basis.games),
        "seeds": None if basis is None else {"min": basis.seeds[0], "max": basis.seeds[1]},
        "frames": None if basis is None else basis.frames,
        "hardware": None if basis is None or not basis.hardware else basis.hardware,
        "external": judgement.external_sides,
        "off_protocol": basis is not None and basis.has_off_protocol,
        "claimed_games": [] if claim.kind.is_timed else list(claim.games),
        "claimed_frames": None if claim.kind.is_timed else claim.frames,
        "missing": _missing(judgement.missing),
        "further": None if judgement.further is None else _missing(judgement.further),
        "power": {
            "smallest": judgement.power.smallest,
            "seeds_needed": _seeds(judgement.power.needed),
            "seeds_to_confirm": _seeds(judgement.power.confirming),
            "reason": judgement.power.reason,
        },
        "set_aside": [f"{entry}: {entry.standing}: {entry.reason}" for entry in judgement.set_aside if entry.reason],
    }


def _seeds(seeds: Seeds | None) -> dict[str, int] | None:
    return None if seeds is None else {"estimate": seeds.likely, "low": seeds.low, "high": seeds.high}


def _missing(missing: Missing) -> dict[str, Any]:
    return {
        "runs": len(missing.runs),
        "there": missing.there,
        "needed": missing.needed,
        "next_command": missing.next_command,
        "baselines": list(missing.unpinned),
        "command": missing.command,
        "commands": list(missing.commands),
        "seconds": None if missing.cost is None else missing.cost.seconds,
        "hardware": None if missing.cost is None else missing.cost.hardware,
        "seconds_unknown_for": [] if missing.cost is None else list(missing.cost.unknown),
    }


def _row(group: Group, row: Row) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "source": row.source,
        "off_protocol": group.is_off_protocol,
        "games": group.title,
        "game_count": len(group.games),
        "game_names": list(group.games),
        "frames": group.frames,
        "seeds": {"min": row.seeds[0], "max": row.seeds[1]},
        "runs": row.runs,
        **{name: row.metrics[name].as_dict() for name in METRICS},
        "median57_estimate": None if row.median57 is None else row.median57.as_dict(),
        "origin": row.origin,
        "protocol": row.protocol,
    }


def json_text(value: Mapping[str, Any]) -> str:
    """JSON with stable bytes. Raises ValueError for a number that JSON cannot hold."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A CSV; floats in their shortest exact form, None and nan as empty cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if cell is None or cell != cell else cell for cell in row] for row in rows])
    return text.getvalue()


LEADERBOARD_HEADER = (
    *("baseline", "source", "off_protocol", "games", "game_count", "frames", "seeds_min", "seeds_max", "runs"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_ci_low", "_ci_high")),
)


def leaderboard_csv(summary: Mapping[str, Any]) -> str:
    """`leaderboard.csv` from the summary."""
    rows = [
        [
            *(row[name] for name in ("baseline", "source", "off_protocol", "games", "game_count", "frames")),
            row["seeds"]["min"],
            row["seeds"]["max"],
            row["runs"],
            *(row[metric][end] for metric in METRICS for end in ("estimate", "ci_low", "ci_high")),
        ]
        for row in summary["leaderboard"]
    ]
    return csv_text(LEADERBOARD_HEADER, rows)
