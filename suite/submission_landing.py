"""Puts the sound runs of an examined bundle in their places, with what was played again and whose they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from results.archive import land
from results.atomic import write_bytes
from results.credits import SUBMISSIONS_FOLDER, record_name, write_record
from results.proofs import write_proofs
from results.store import Run
from suite.proof import proof_of
from suite.submission_checks import Examined


def take(examined: Examined, results: Path) -> list[Run]:
    """Adds every run of `examined.new` to the results folder, or on an error none.

    The record of whose they are is there before the first run: a process killed between leaves no run without it, and
    the same command adds the rest.

    Raises:
        ResultsError: a place was taken meanwhile, or the folder cannot be written.
    """
    runs = [verdict.run for verdict in examined.new if verdict.run is not None]
    record = results / SUBMISSIONS_FOLDER / f"{record_name(examined.submission, examined.sha256)}.json"
    before = record.read_bytes() if record.exists() else None
    made = [folder for folder in (record.parent, *record.parent.parents) if not folder.exists()]
    try:
        write_record(results, examined.submission, examined.sha256, runs)
        land(runs, results)
    except BaseException:
        if before is not None:
            write_bytes(record, before)
        else:
            record.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # not empty: somebody else's
                folder.rmdir()
        raise
    outcomes = [verdict.replayed for verdict in examined.new if verdict.replayed is not None]
    write_proofs(results, {str(outcome.run.spec.directory): proof_of(outcome) for outcome in outcomes})
    return runs
