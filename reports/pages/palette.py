"""Which colour class a baseline has, on every page the same."""

from __future__ import annotations

from reports.summary import Report

COLOURS = 8  # s1...s8 in the style sheet


def colour(report: Report, baseline: str) -> str:
    """The class of a baseline: by its place in the catalogue, then among the others found."""
    pinned = [info.name for info in report.catalogue.baselines]
    names = pinned + [name for name in report.evidence.baselines if name not in pinned]
    return f"s{names.index(baseline) % COLOURS + 1}" if baseline in names else "pub"


def layer_colour(index: int) -> str:
    """The class of a layer, counted from the input."""
    return f"s{index % COLOURS + 1}"
