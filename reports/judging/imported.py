"""Scores measured elsewhere, as entries: they stand in where nothing was measured, and never look measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reports.catalogue import Catalogue
from reports.judging.evidence import COUNTS, EXTERNAL, NOT_COMPARABLE, OFF_PROTOCOL, Entry
from reports.numerals import counted
from results.external import load_external

UNSTATED = "unknown"  # the protocol of a set that was imported without naming one


def imported_from(roots: Iterable[Path], catalogue: Catalogue) -> tuple[list[Entry], list[tuple[str, str]]]:
    """`imported_entries` of several folders of results. Of a score that two sets have, the first one's is used.

    A second copy would count as another seed, and narrow the interval.
    """
    entries: list[Entry] = []
    broken: list[tuple[str, str]] = []
    first: dict[tuple[str, str, int, int], tuple[Path, str]] = {}  # folder, set
    for root in roots:
        found, unfit = imported_entries(root, catalogue)
        broken += unfit
        again: dict[tuple[str, Path, str], int] = defaultdict(int)
        for entry in found:
            name = entry.origin.partition(":")[0]
            kept = first.setdefault((entry.baseline, entry.game, entry.frames, entry.seed), (root, name))
            if kept == (root, name):
                entries.append(entry)
            else:
                again[name, *kept] += 1
        for (name, beside, kept_name), count in sorted(again.items()):
            scores = f"{counted(count, 'score')} of {root} {'is' if count == 1 else 'are'} there a second time"
            used = f"external/{kept_name}" if beside == root else f"what lies beside {beside}"
            broken.append((f"external/{name}", f"{scores}; {used} is used"))
    return entries, broken


def imported_entries(results: Path, catalogue: Catalogue) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Every imported score beside `results`, and the sets that cannot be used, with the reason.

    A set counts if its protocol is the suite's. One that states none is shown and labelled, but enters no verdict.
    """
    found = load_external(results)
    entries = []
    for row in found.scores.itertuples(index=False):
        provenance = found.provenance[row.set]
        standing, reason = _standing(provenance, catalogue)
        entries.append(
            Entry(
                baseline=row.baseline,
                game=row.game,
                frames=int(row.frames),
                seed=int(row.seed),
                source=EXTERNAL,
                standing=standing,
                reason=reason,
                score=float(row.score),
                origin=_origin(row.set, provenance),
            )
        )
    broken = [(f"external/{run.directory.name}", _file_only(run.reason, run.directory)) for run in found.broken]
    return entries, broken


def _standing(provenance: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, str]:
    protocol, ours = str(provenance["protocol"]), catalogue.protocol.name
    if protocol == ours:
        return COUNTS, ""
    if protocol == UNSTATED:
        again = f"import it again with --protocol {ours} if it is the suite's"
        return OFF_PROTOCOL, f"imported without saying under which protocol it was measured; {again}"
    return NOT_COMPARABLE, f"imported, measured under another protocol ({protocol})"


def _origin(name: str, provenance: Mapping[str, Any]) -> str:
    protocol = "protocol not stated" if provenance["protocol"] == UNSTATED else f"protocol: {provenance['protocol']}"
    return f"{name}: {provenance['source']}; {protocol}"


def _file_only(reason: str, path: Path) -> str:
    return reason.replace(f"{path.parent}/", "")
