"""Claims and questions in one compact table: what is claimed, what is known, how many runs are there, and the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports import numerals, wording
from reports.judging.judge import Judgement
from reports.pages.card import VERDICT_CSS
from reports.pages.lead import progress
from reports.summary import Report


def claims_table(judgements: Sequence[Judgement], report: Report) -> list[dict[str, Any]]:
    """A row for each, as the template wants it."""
    return [_row(judgement, report) for judgement in judgements]


def _row(judgement: Judgement, report: Report) -> dict[str, Any]:
    claim, missing, interval = judgement.claim, judgement.missing, judgement.interval
    is_known = interval.estimate is not None
    return {
        "id": claim.id,
        "title": claim.title,
        "conditions": wording.conditions(judgement),
        "claimed": claim.claimed_text,
        "verdict": "" if judgement.is_preliminary and not judgement.not_comparable else judgement.verdict,
        "css": VERDICT_CSS[judgement.verdict],
        "estimate": claim.written(interval.estimate) if is_known else "",
        "ends": wording.interval_text(judgement) if interval.is_complete else "",
        "whose": wording.standing_of_estimate(judgement) if is_known else "",
        "rests_on": _rests_on(judgement) if is_known and judgement.is_preliminary else "",
        "progress": progress(judgement),
        "next_command": judgement.further.command if judgement.further else missing.next_command,
        "why_none": _why_none(judgement, report),
        "is_own": not claim.is_built_in,
    }


def _rests_on(judgement: Judgement) -> str:
    return ", ".join(text for text in (wording.rests_on(judgement), wording.caveat(judgement)) if text)


def _why_none(judgement: Judgement, report: Report) -> str:
    """Where no command makes the next run: why."""
    missing = judgement.missing
    if missing.next_command or judgement.further:
        return ""
    if missing.has_coarse:
        return f"none settles it: it needs ranks over {judgement.claim.observations:,} observations"
    if missing.unanswered:
        return f"none settles it: {missing.unanswered}"
    if missing.unpinned:
        return f"none: the suite does not have {', '.join(missing.unpinned)}"
    wanted = judgement.wanted_seeds
    if wanted is not None and wording.is_too_many(wanted):
        return f"none: telling takes about {numerals.counted(wanted.likely, 'seed')} a game and side"
    return "none: all are there"
