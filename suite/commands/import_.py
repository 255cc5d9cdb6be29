"""Takes in what others measured: an archive of runs (.tar.gz, from `export`), or a table of scores (.csv).

Runs are checked and put among yours. Scores, with the columns baseline, game, seed, frames, score (raw, not
normalised), are kept beside the runs as external: reports label them and never mix them with measured runs. Their
baselines are the suite's, or names of your own that `--new-baselines` announces: a misspelt one is refused.
`--dopamine AGENT` takes in Dopamine's published scores, which come with the suite.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from baselines.families import PINNED_NAMES
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

NAME = "import"
SUMMARY = "take in runs or scores that others measured"
EXAMPLES = """\
  python -m suite import pqn.tar.gz
  python -m suite import scores.csv --source "Table 3 of arXiv 2505.15345"
  python -m suite import scores.csv --new-baselines my-encoder
  python -m suite import --dopamine rainbow
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=parse_path, metavar="FILE", help="NAME.tar.gz or NAME.csv")
    parser.add_argument("--dopamine", metavar="AGENT", help="instead of FILE: dqn, c51, rainbow, iqn, ...")
    parser.add_argument("--name", help="of a set of scores (default: the file's name)")
    parser.add_argument("--source", help="where a set of scores comes from, in words (default: the file's name)")
    parser.add_argument("--protocol", default="unknown", help="what a set of scores was measured under, in words")
    parser.add_argument("--new-baselines", metavar="LIST", help="names in a set of scores that the suite does not have")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    if (parsed.file is None) == (parsed.dopamine is None):
        raise UserError("give one of FILE (.tar.gz or .csv) and --dopamine AGENT; see: python -m suite import --help")
    results = arguments.results_folder(parsed.results)
    try:
        if parsed.file is None:
            from results.external import store_dopamine

            return _tell_scores(store_dopamine(results, parsed.dopamine), parsed.json)
        if parsed.file.name.endswith(".tar.gz"):
            return _import_runs(parsed.file, results, parsed.json)
        if parsed.file.suffix == ".csv":
            return _import_scores(parsed, results)
    except OSError as error:
        raise UserError(f"{error.filename or results} cannot be written ({error.strerror or error})") from error
    raise UserError(f"{parsed.file} is neither .tar.gz (runs) nor .csv (scores)")


def _import_runs(file: Path, results: Path, as_json: bool) -> int:
    from results.archive import import_archive

    imported = import_archive(file, results)
    if as_json:
        facts = {
            "added": [str(spec.directory) for spec in imported.added],
            "present": [str(spec.directory) for spec in imported.present],
        }
        print(json.dumps(facts, indent=2))
    else:
        present = f", {len(imported.present)} were here already" if imported.present else ""
        print(f"{display.plural(len(imported.added), 'run')} added to {results}{present}")
    return 0


def _import_scores(parsed: argparse.Namespace, results: Path) -> int:
    from results.external import read_scores_csv, store_scores

    name = parsed.name or re.sub(r"[^a-z0-9.-]+", "-", parsed.file.stem.lower()).strip("-.")
    new = () if parsed.new_baselines is None else tuple(name.strip() for name in parsed.new_baselines.split(","))
    scores = read_scores_csv(parsed.file, (*PINNED_NAMES, *new))
    stored = store_scores(results, name, scores, source=parsed.source or parsed.file.name, protocol=parsed.protocol)
    return _tell_scores(stored, parsed.json)


def _tell_scores(stored: Path, as_json: bool) -> int:
    rows = len(stored.read_text(encoding="utf-8").splitlines()) - 1
    if as_json:
        print(json.dumps({"file": str(stored), "scores": rows}, indent=2))
    else:
        print(f"{display.plural(rows, 'external score')} kept in {stored}")
    return 0
