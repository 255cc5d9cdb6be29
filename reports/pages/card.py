"""The card of a claim: its verdict, figures and what it lacks, in short."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from reports import wording
from reports.judging.judge import Judgement
from reports.judging.verdicts import (
    AHEAD,
    ALIKE,
    BEHIND,
    DIFFERENT,
    INCONCLUSIVE,
    INSUFFICIENT,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    SHOWN,
    SMALLER,
)
from reports.pages.charts import verdict_bar
from reports.pages.palette import colour
from reports.summary import Report

VERDICT_CSS = {
    REPRODUCED: "reproduced",
    SHOWN: "shown",
    SMALLER: "smaller",
    AHEAD: "shown",
    ALIKE: "reproduced",
    INCONCLUSIVE: "inconclusive",
    BEHIND: "refuted",
    DIFFERENT: "refuted",
    NOT_REPRODUCED: "refuted",
    INSUFFICIENT: "open",
    NOT_COMPARABLE: "foreign",
}


def card(judgement: Judgement, report: Report) -> dict[str, Any]:
    """A claim in short."""
    claim, missing = judgement.claim, judgement.missing
    interval = judgement.interval
    bar = ""
    if interval.estimate is not None:
        label = f"{claim.written(interval.estimate)}, {wording.interval_text(judgement)}"
        bar = Markup(verdict_bar(interval, claim.kind.marks(claim), css=colour(report, claim.baseline), label=label))
    return {
        "id": claim.id,
        "title": claim.title,
        "statement": claim.statement,
        "source": claim.source,
        "conditions": wording.conditions(judgement),
        "verdict": judgement.verdict,
        "css": VERDICT_CSS[judgement.verdict],
        "estimate": claim.written(interval.estimate) if interval.estimate is not None else "",
        "interval": wording.interval_text(judgement),
        "bar": bar,
        "sentence": wording.sentence(judgement, report.catalogue),
        "is_preliminary": judgement.is_preliminary,
        "whose": wording.standing_of_estimate(judgement),
        "rests_on": wording.rests_on(judgement),
        "devices": wording.devices(judgement, report.catalogue),
        "missing_runs": len(missing.runs),
        "cost": wording.cost_text(missing, report.catalogue),
        "command": missing.command,
        "is_own": not claim.is_built_in,
    }
