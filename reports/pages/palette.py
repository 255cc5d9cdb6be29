"""Which colour class a baseline has, on every page the same."""

from __future__ import annotations

from reports.summary import Report

COLOURS = 12  # s1...s12 in the style sheet
_PINNED = 5  # of them the first ones: those of the pinned baselines alone


def place(report: Report, baseline: str) -> int:
    """Where a baseline stands: by its place in the catalogue, then among the others found; -1 if it is neither."""
    pinned = [info.name for info in report.catalogue.baselines]
    names = pinned + [name for name in report.evidence.baselines if name not in pinned]
    return names.index(baseline) if baseline in names else -1


def colour(report: Report, baseline: str) -> str:
    """The class of a baseline. With more of them than colours, those beyond the pinned ones share theirs."""
    index = place(report, baseline)
    if index < 0:
        return "pub"
    if index >= COLOURS:
        index = _PINNED + (index - _PINNED) % (COLOURS - _PINNED)
    return f"s{index + 1}"


def layer_colour(index: int) -> str:
    """The class of a layer, counted from the input."""
    return f"s{index % COLOURS + 1}"
