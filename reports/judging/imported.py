"""Scores measured elsewhere, as entries: they stand in where nothing was measured, and never look measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.catalogue import Catalogue
from reports.judging.evidence import COUNTS, EXTERNAL, NOT_COMPARABLE, Entry
from results.external import load_external

UNSTATED = "unknown"  # the protocol of a set that was imported without naming one


def imported_entries(results: Path, catalogue: Catalogue) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Every imported score beside `results`, and the sets that cannot be used, with the reason.

    A set counts if its protocol is the suite's, or was not stated, which its origin then says.
    """
    found = load_external(results)
    entries = []
    for row in found.scores.itertuples(index=False):
        provenance = found.provenance[row.set]
        reason = _other_protocol(provenance, catalogue)
        entries.append(
            Entry(
                baseline=row.baseline,
                game=row.game,
                frames=int(row.frames),
                seed=int(row.seed),
                source=EXTERNAL,
                standing=NOT_COMPARABLE if reason else COUNTS,
                reason=reason,
                score=float(row.score),
                origin=_origin(row.set, provenance),
            )
        )
    broken = [(f"external/{run.directory.name}", _file_only(run.reason, run.directory)) for run in found.broken]
    return entries, broken


def _other_protocol(provenance: Mapping[str, Any], catalogue: Catalogue) -> str:
    protocol = str(provenance["protocol"])
    if protocol in (catalogue.protocol.name, UNSTATED):
        return ""
    return f"imported, measured under another protocol ({protocol})"


def _origin(name: str, provenance: Mapping[str, Any]) -> str:
    protocol = "protocol not stated" if provenance["protocol"] == UNSTATED else f"protocol: {provenance['protocol']}"
    return f"{name}: {provenance['source']}; {protocol}"


def _file_only(reason: str, path: Path) -> str:
    return reason.replace(f"{path.parent}/", "")
