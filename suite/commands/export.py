"""Packs finished runs for others: an archive of whole runs (.tar.gz), or a table of their scores (.csv).

Action logs go along, checkpoints stay behind. `python -m suite import FILE` takes both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from results.errors import ResultsError
from results.schema import RunSpec
from results.store import Run
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

NAME = "export"
SUMMARY = "pack finished runs or their scores into a file"
EXAMPLES = """\
  python -m suite export pqn.tar.gz --baselines pqn
  python -m suite export scores.csv --games atari10 --frames 40M
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=parse_path, metavar="FILE", help="what to write: NAME.tar.gz or NAME.csv")
    flags.add_selection(parser, "which runs (default: every finished one)")
    parser.add_argument(
        "--without-logs", action="store_true", help="of action logs too long to be committed, pack the witnesses alone"
    )
    parser.add_argument("--force", action="store_true", help="write over FILE if it exists")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    selection = flags.parse_selection(parsed)
    results = arguments.results_folder(parsed.results)
    file: Path = parsed.file
    if not file.name.endswith((".tar.gz", ".csv")):
        raise UserError(f"{file} is neither .tar.gz (runs) nor .csv (scores); give one of these names")
    if file.is_dir() or (file.exists() and not parsed.force):
        raise UserError(f"{file} exists already; choose another name, or add --force")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file.parent} is no folder; make it first")
    from results.archive import export_archive

    def wanted(found: Run) -> bool:
        return found.is_done and selection.holds(found.spec)

    try:
        if file.suffix == ".csv":
            specs = _export_scores(results, file, wanted)
        else:
            specs = export_archive(results, file, wanted, whole_logs=not parsed.without_logs)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); choose another place") from error
    if parsed.json:
        print(json.dumps({"file": str(file), "runs": [str(spec.directory) for spec in specs]}, indent=2))
    else:
        print(f"{display.plural(len(specs), 'run')} exported to {file} ({display.size(file.stat().st_size)})")
    return 0


def _export_scores(results: Path, file: Path, wanted: Callable[[Run], bool]) -> list[RunSpec]:
    """Final raw scores as CSV, in the columns that `import` reads. Runs without a finished game have none."""
    from results.store import write_bytes
    from results.tables import final_scores, load_runs

    scores = final_scores(found for found in load_runs(results).runs if wanted(found)).dropna(subset="score_train")
    if scores.empty:
        raise ResultsError(f"no run to export below {results}; see what is there with: python -m suite status")
    columns = scores[["baseline", "game", "seed", "frames", "score_train"]].rename(columns={"score_train": "score"})
    write_bytes(file, columns.to_csv(index=False, lineterminator="\n").encode("utf-8"))
    identities = scores[["baseline", "game", "frames", "seed", "config_hash"]].itertuples(index=False, name=None)
    return [RunSpec(baseline, game, int(frames), int(seed), key) for baseline, game, frames, seed, key in identities]
