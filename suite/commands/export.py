"""Packs finished runs for others: an archive of whole runs (.tar.gz), or a table of their scores (.csv).

Action logs go along, checkpoints stay behind. `python -m suite import FILE` takes both.

With --submission, packs runs to be sent in: every one finished, with its whole action log, of a pinned configuration
(or with its code beside it), made by a clean checkout. docs/submit.md says what happens then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import ResultsError
from results.schema import DEFAULT_LICENCE
from results.store import Run
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError
from suite.flags import Selection

if TYPE_CHECKING:
    from results.archive import Exported

NAME = "export"
SUMMARY = "pack finished runs or their scores into a file"
EXAMPLES = """\
  python -m suite export pqn.tar.gz --baselines pqn
  python -m suite export scores.csv --games atari10 --frames 40M
  python -m suite export theirs.tar.gz --protocol dopamine
  python -m suite export --submission mine.tar.gz pqn/Pong/40M/seed-7 --by "Ada Lovelace <0000-0002-1825-0097>" \\
      --cite CITATION.cff
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="*",
        type=parse_path,
        metavar="FILE",
        help="what to write: NAME.tar.gz or NAME.csv; with --submission, the places of runs (pqn/Pong/40M/seed-7)",
    )
    flags.add_selection(parser, "which runs (default: every finished one)", or_all=True)
    parser.add_argument(
        "--without-logs", action="store_true", help="of action logs too long to be committed, pack the witnesses alone"
    )
    parser.add_argument("--force", action="store_true", help="write over FILE if it exists")
    group = parser.add_argument_group("a submission")
    group.add_argument("--submission", type=parse_path, metavar="FILE", help="what to write: NAME.tar.gz")
    group.add_argument("--by", metavar="WHO", help='"Name <ORCID iD or https link>"')
    group.add_argument("--licence", metavar="SPDX", help=f"of the runs (default: {DEFAULT_LICENCE})")
    group.add_argument("--cite", metavar="TEXT|FILE", help="what to cite: a line, or a BibTeX or CITATION.cff file")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    selection = flags.parse_selection(parsed)
    results = arguments.results_folder(parsed.results)
    if parsed.submission is not None:
        return _export_submission(parsed, selection, results)
    if any(value is not None for value in (parsed.by, parsed.licence, parsed.cite)):
        raise UserError("--by, --licence and --cite belong to a submission; add --submission FILE")
    if len(parsed.file) != 1:
        raise UserError(
            f"give one FILE, not {len(parsed.file)}; choose runs with --games, --frames, --baselines, --seeds"
        )
    file: Path = parsed.file[0]
    if not file.name.endswith((".tar.gz", ".csv")):
        raise UserError(f"{file} is neither .tar.gz (runs) nor .csv (scores); give one of these names")
    if file.suffix == ".csv" and parsed.without_logs:
        raise UserError("a table of scores has no action logs; leave out --without-logs, or export an archive")
    if file.suffix == ".csv" and selection.protocol is None:
        raise UserError("a table of scores is of one protocol; give --protocol NAME, or export an archive")
    arguments.refuse_unwritable(file, force=parsed.force)
    from results.archive import export_archive

    def wanted(found: Run) -> bool:
        return found.is_done and selection.holds(found.spec)

    try:
        if file.suffix == ".csv":
            exported = _export_scores(results, file, wanted)
        else:
            exported = export_archive(results, file, wanted, whole_logs=not parsed.without_logs)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); choose another place") from error
    _tell_passed_over(exported.passed_over)
    if parsed.json:
        facts = {
            "file": str(file),
            "runs": [str(spec.directory) for spec in exported.specs],
            "passed_over": list(exported.passed_over),
        }
        print(json.dumps(facts, indent=2))
    else:
        print(f"{display.plural(len(exported.specs), 'run')} exported to {file} ({display.size(file.stat().st_size)})")
    return 0


def _tell_passed_over(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"passed over: {line}", file=sys.stderr)


def _export_submission(parsed: argparse.Namespace, selection: Selection, results: Path) -> int:
    file: Path = parsed.submission
    if not file.name.endswith(".tar.gz"):
        raise UserError(f"--submission {file} is no .tar.gz; give such a name")
    if parsed.by is None or parsed.cite is None:
        raise UserError(
            'a submission says whose it is and what to cite; add --by "Name <ORCID iD or https link>" and --cite'
        )
    if parsed.without_logs:
        raise UserError("a submission carries whole action logs; leave out --without-logs")
    if parsed.file and selection.is_given:
        raise UserError(
            "name runs, or choose them with --games, --frames, --baselines, --seeds and --protocol; not both"
        )
    arguments.refuse_unwritable(file, force=parsed.force)
    from suite.submission import export_submission, parse_maker

    maker = parse_maker(parsed.by, DEFAULT_LICENCE if parsed.licence is None else parsed.licence, parsed.cite)
    places = [str(place) for place in parsed.file]
    try:
        packed = export_submission(results, file, maker, places=places, wanted=selection.holds)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); choose another place") from error
    _tell_passed_over(packed.passed_over)
    if parsed.json:
        facts = {
            "file": str(file),
            "sha256": packed.sha256,
            "runs": [str(spec.directory) for spec in packed.specs],
            "passed_over": list(packed.passed_over),
        }
        print(json.dumps(facts, indent=2))
        return 0
    print(
        f"{display.plural(len(packed.specs), 'run')} by {maker.name} ({maker.link}), {maker.licence}: {file} "
        f"({display.size(file.stat().st_size)})"
    )
    return 0


def _export_scores(results: Path, file: Path, wanted: Callable[[Run], bool]) -> Exported:
    """Final raw scores as CSV, in the columns that `import` reads, which do not name the protocol.

    Runs without a finished game have none.
    """
    from results.archive import Exported
    from results.atomic import write_bytes
    from results.external import ExternalScore, scores_csv
    from results.tables import final_score, load_runs

    loaded = load_runs(results)
    found = ((run.spec, final_score(run)) for run in loaded.runs if wanted(run))
    scores = {spec: score for spec, score in found if score is not None}
    if not scores:
        raise ResultsError(
            f"no run to export below {results}; see what is there with: python -m suite status --results {results}"
        )
    rows = (ExternalScore(spec.baseline, spec.game, spec.seed, spec.frames, score) for spec, score in scores.items())
    write_bytes(file, scores_csv(rows))
    return Exported(tuple(scores), tuple(run.reason for run in loaded.broken))
