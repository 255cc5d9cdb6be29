"""The page on method: how to read the report, how it was made, and how often its rules are right."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports import numerals, statistics
from reports.judging.claims import MINIMUM_SEEDS
from reports.judging.evidence import COUNTS
from reports.judging.verdicts import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, SHOWN, SMALLER
from reports.pages.card import VERDICT_CSS
from reports.statistics.atari5 import FITTED_ABOVE, WEIGHTS
from reports.statistics.bootstrap import CLAIM_REPETITIONS, CURVE_REPETITIONS, TABLE_REPETITIONS
from reports.summary import Report
from results.reference import DOPAMINE, DRAWN_ONLY, PAPER

SIMULATED = Path(statistics.__file__).parent / "simulated.json"
_GIVEN = (REPRODUCED, SHOWN, SMALLER, INCONCLUSIVE, NOT_REPRODUCED)
_COVERED = ("gain", "row")
_LOOKS = ("first", "planned", "every")


def method_page(report: Report, summary: dict[str, Any]) -> dict[str, Any]:
    """Everything that the page on method shows."""
    protocol = report.catalogue.protocol
    machines = Counter(entry.run.hardware for entry in report.evidence.runs if entry.run is not None)
    return {
        "title": "How to read this report, and how it was made",
        "results": summary["results"],
        "protocol": {
            "name": protocol.name,
            "differences": protocol.differences_markdown,
            "values": [
                {"name": name, "value": numerals.setting(value), "source": protocol.sources.get(name, "")}
                for name, value in protocol.values.items()
            ],
        },
        "minimum_seeds": MINIMUM_SEEDS,
        "repetitions": {"claims": CLAIM_REPETITIONS, "tables": TABLE_REPETITIONS, "curves": CURVE_REPETITIONS},
        "simulated": simulated(),
        "median57_weights": list(WEIGHTS.items()),
        "fitted_above": FITTED_ABOVE,
        "machines": sorted(machines.items()),
        "submissions": _submissions(report),
        "published": [replace(PAPER, protocol=f"{PAPER.protocol}; other agents: {DRAWN_ONLY}"), DOPAMINE],
        "left_out": [{"run": place, "standing": "broken", "reason": reason} for place, reason in report.evidence.broken]
        + [
            {"run": str(entry), "standing": entry.standing, "reason": entry.reason}
            for entry in report.evidence.entries
            if entry.standing != COUNTS
        ],
    }


def _submissions(report: Report) -> list[dict[str, Any]]:
    """Who sent runs in that this report rests on; what they wrote is text, never markup."""
    made = Counter(entry.run.credit.record for entry in report.evidence.runs if entry.run and entry.run.credit)
    return [
        {
            "anchor": f"submission-{credit.record}",
            "name": credit.name,
            "link": credit.link,
            "runs": made[credit.record],
            "licence": credit.licence,
            "cite": credit.cite,
            "cite_link": credit.cite_link,
        }
        for credit in report.evidence.submissions
        if made[credit.record]
    ]


def simulated() -> dict[str, Any]:
    """The committed table of simulated experiments: verdicts by truth, coverage, power."""
    table = json.loads(SIMULATED.read_text(encoding="utf-8"))
    return {
        "claimed": numerals.percent(table["claimed"], signed=True),
        "games": table["games"],
        "experiments": table["experiments"],
        "verdicts": [{"name": name, "css": VERDICT_CSS[name]} for name in _GIVEN],
        "rows": [
            {
                "truth": numerals.percent(row["truth"], signed=True),
                "seeds": row["seeds"],
                "spread": row["spread"],
                "shares": [numerals.percent(row["verdicts"].get(name, 0.0)) for name in _GIVEN],
                "coverage": numerals.percent(row["coverage"]),
            }
            for row in table["rows"]
        ],
        "power": [{**row, "told": numerals.percent(row["told"])} for row in table["power"]],
        "coverage": [
            {
                "spread": row["spread"],
                "games": row["games"],
                "seeds": row["seeds"],
                "shares": [numerals.percent(row[what][how]) for what in _COVERED for how in ("percentile", "used")],
            }
            for row in table["coverage"]
        ],
        "looks": [
            {
                "spread": row["spread"],
                "truth": numerals.percent(row["truth"], signed=True),
                "shares": [numerals.percent(row["wrong"][when], digits=1) for when in _LOOKS],
            }
            for row in table["looks"]
        ],
    }
