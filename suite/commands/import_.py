"""Takes in what others measured: an archive of runs (.tar.gz, from `export`), or a table of scores (.csv).

Runs are checked and put among yours. Some games of a submission (`export --submission`) are played again too, before
anything lands, and who made the runs is kept. If a run is refused nothing lands, unless --partly takes the others.

Scores are a table with the columns baseline, game, seed, frames, score (raw, not normalised). They are kept beside the
runs as external: reports label them and never mix them with measured runs. Their baselines are the suite's, or names of
your own that `--new-baselines` announces: a misspelt one is refused. `--dopamine AGENT` takes in Dopamine's published
scores, which come with the suite.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.families import PINNED_NAMES
from results.errors import ResultsError
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

if TYPE_CHECKING:
    from suite.submission_checks import Examined, Sample

NAME = "import"
SUMMARY = "take in runs or scores that others measured"
EXAMPLES = """\
  python -m suite import pqn.tar.gz
  python -m suite import theirs.tar.gz                 a submission: 30 games of each run are played again
  python -m suite import theirs.tar.gz --check --replay-all
  python -m suite import scores.csv --source "Table 3 of arXiv 2505.15345"
  python -m suite import scores.csv --new-baselines my-encoder
  python -m suite import --dopamine rainbow
"""
_DEFAULT_GAMES = 30  # of each run: a minute for some runs of 4M frames
_MAX_GAMES = 10_000_000
_SCORE_FLAGS = ("--name", "--source", "--protocol", "--new-baselines")
_SUBMISSION_FLAGS = ("--check", "--partly", "--sample", "--replay-all", "--salt", "--threads", "--markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=parse_path, metavar="FILE", help="NAME.tar.gz or NAME.csv")
    parser.add_argument("--dopamine", metavar="AGENT", help="instead of FILE: dqn, c51, rainbow, iqn, ...")
    parser.add_argument("--name", help="of a set of scores (default: the file's name)")
    parser.add_argument("--source", help="where a set of scores comes from, in words (default: the file's name)")
    parser.add_argument("--protocol", help="what a set of scores was measured under, in words (default: unknown)")
    parser.add_argument("--new-baselines", metavar="LIST", help="names in a set of scores that the suite does not have")
    group = parser.add_argument_group("a submission")
    group.add_argument("--check", action="store_true", help="say what would be taken; nothing lands")
    group.add_argument("--partly", action="store_true", help="take the sound runs even if others are refused")
    group.add_argument(
        "--sample",
        metavar="N",
        help=f"play at least N games of each run again, in whole environments (default: {_DEFAULT_GAMES})",
    )
    group.add_argument("--replay-all", action="store_true", help="play every game again")
    group.add_argument("--salt", metavar="TEXT", help="draw the sample from TEXT too, which the submitter cannot know")
    group.add_argument("--threads", metavar="N", help="emulator threads (default: all cores)")
    group.add_argument("--markdown", action="store_true", help="print the verdict as Markdown, for a pull request")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    if (parsed.file is None) == (parsed.dopamine is None):
        raise UserError("give one of FILE (.tar.gz or .csv) and --dopamine AGENT; see: python -m suite import --help")
    results = arguments.results_folder(parsed.results)
    if parsed.dopamine is not None:
        _refuse_with_dopamine(parsed)
    elif parsed.file.name.endswith(".tar.gz"):
        _refuse_with_runs(parsed)
    if parsed.markdown and parsed.json:
        raise UserError("--markdown and --json are two ways to print the verdict; give one")
    if parsed.file is not None and _is_submission(parsed):
        return _import_submission(parsed, results)
    try:
        if parsed.file is None:
            from results.external import store_dopamine

            return _tell_scores(store_dopamine(results, parsed.dopamine), parsed.json)
        if parsed.file.name.endswith(".tar.gz"):
            return _import_runs(parsed.file, results, parsed.json)
        if parsed.file.suffix.lower() == ".csv":
            return _import_scores(parsed, results)
    except OSError as error:
        raise UserError(f"{error.filename or results} cannot be written ({error.strerror or error})") from error
    raise UserError(f"{parsed.file} is neither .tar.gz (runs) nor .csv (scores); give a file of one of these names")


def _refuse_with_dopamine(parsed: argparse.Namespace) -> None:
    """Raises UserError for a flag that says what Dopamine's scores say themselves."""
    for flag in (*_SCORE_FLAGS, *_SUBMISSION_FLAGS):
        if _is_given(parsed, flag):
            raise UserError(f"{flag} goes with a FILE; leave it out beside --dopamine")


def _refuse_with_runs(parsed: argparse.Namespace) -> None:
    """Raises UserError for a flag about scores: runs say themselves what they are."""
    for flag in _SCORE_FLAGS:
        if _is_given(parsed, flag):
            raise UserError(f"{flag} goes with a table of scores, FILE.csv; leave it out beside an archive of runs")


def _is_given(parsed: argparse.Namespace, flag: str) -> bool:
    return getattr(parsed, flag.strip("-").replace("-", "_")) not in (None, False)


def _is_submission(parsed: argparse.Namespace) -> bool:
    """Whether FILE is one. Raises UserError if it is none and the flags ask for one."""
    from results.submissions import begins_with_submission

    if begins_with_submission(parsed.file):
        return True
    used = [flag for flag in _SUBMISSION_FLAGS if _is_given(parsed, flag)]
    if used:
        reason = "it does not begin with submission.json; make one with: python -m suite export --submission FILE"
        if not parsed.file.is_file():
            reason = "there is no such file"
        if parsed.markdown:
            print(_refused_whole(parsed.file, reason))
        raise UserError(f"{parsed.file} is no submission, which {used[0]} is for: {reason}")
    return False


def _import_submission(parsed: argparse.Namespace, results: Path) -> int:
    from results.proofs import read_proofs
    from suite import submission_verdict as verdict
    from suite.cores import available_cores
    from suite.submission_checks import Sample, examine
    from suite.submission_landing import take

    sample = _sample(parsed, available_cores(), Sample)
    read_proofs(results)  # a table of proofs that cannot be read is told of before the work
    landed = []
    try:
        with tempfile.TemporaryDirectory(prefix="suite-import-") as staging:
            try:
                examined = examine(parsed.file, Path(staging), results, sample, sys.stderr)
            except ResultsError as error:
                if parsed.markdown:
                    print(_refused_whole(parsed.file, str(error)))
                raise
            refused = bool(examined.refused)
            if not parsed.check and examined.new and (parsed.partly or not refused):
                landed = take(examined, results)
    except OSError as error:
        where = error.filename or f"{results} or a temporary folder"
        raise UserError(f"{where} cannot be written or read ({error.strerror or error})") from error
    if parsed.json:
        print(json.dumps(verdict.as_data(examined) | {"added": [str(run.spec.directory) for run in landed]}, indent=2))
    elif parsed.markdown:
        print(verdict.as_markdown(examined))
    else:
        print(verdict.as_table(examined))
        print(_outcome(parsed, examined, len(landed), results))
    return 1 if refused and not landed else 0


def _sample(parsed: argparse.Namespace, cores: int, make: Callable[..., Sample]) -> Sample:
    if parsed.check and parsed.partly:
        raise UserError("--check takes in nothing, so --partly has nothing to say; leave one of them out")
    if parsed.replay_all and (parsed.sample is not None or parsed.salt is not None):
        raise UserError("--replay-all leaves nothing to draw; give it alone, or --sample and --salt")
    games = _DEFAULT_GAMES if parsed.sample is None else arguments.parse_count(parsed.sample, "--sample", _MAX_GAMES)
    threads = cores if parsed.threads is None else arguments.parse_threads(parsed.threads)
    if parsed.salt is not None and (len(parsed.salt) > 100 or not parsed.salt.isprintable()):
        raise UserError("--salt must be one line of at most 100 characters")
    return make(games=None if parsed.replay_all else games, salt=parsed.salt or "", threads=threads)


def _outcome(parsed: argparse.Namespace, examined: Examined, landed: int, results: Path) -> str:
    submission, refused, new = examined.submission, len(examined.refused), len(examined.new)
    whose = f"by {submission.name} ({submission.link}), {submission.licence}"
    runs = display.plural(len(examined.verdicts), "run")
    if parsed.check:
        return f"{refused} of {runs} refused, {new} would be added to {results}: {whose}"
    if landed:
        left = f", {refused} refused" if refused else ""
        return f"{display.plural(landed, 'run')} added to {results}{left}: {whose}"
    if not refused:
        return f"nothing to add: {results} has {runs} {whose} already"
    hint = f"; --partly takes the other {new}" if new and not parsed.partly else ""
    return f"nothing was added: {refused} of {runs} refused{hint}"


def _refused_whole(file: Path, reason: str) -> str:
    from suite.submission_verdict import refused_whole

    return refused_whole(str(file), reason)


def _import_runs(file: Path, results: Path, as_json: bool) -> int:
    from results.archive import import_archive

    imported = import_archive(file, results)
    if as_json:
        facts = {
            "added": [str(spec.directory) for spec in imported.added],
            "present": [str(spec.directory) for spec in imported.present],
            "completed": [str(spec.directory) for spec in imported.completed],
        }
        print(json.dumps(facts, indent=2))
    else:
        present = f", {len(imported.present)} were here already" if imported.present else ""
        logs = f", {len(imported.completed)} of them got the whole action log" if imported.completed else ""
        print(f"{display.plural(len(imported.added), 'run')} added to {results}{present}{logs}")
    return 0


def _import_scores(parsed: argparse.Namespace, results: Path) -> int:
    from results.external import read_scores_csv, refuse_unfit_name, store_scores

    by_file = re.sub(r"[^a-z0-9.-]+", "-", parsed.file.stem.lower()).strip("-.")
    new = () if parsed.new_baselines is None else tuple(name.strip() for name in parsed.new_baselines.split(","))
    for announced in new:
        refuse_unfit_name(announced, "--new-baselines")
    scores = read_scores_csv(parsed.file, (*PINNED_NAMES, *new))
    stored = store_scores(
        results,
        by_file if parsed.name is None else parsed.name,
        scores,
        source=parsed.file.name if parsed.source is None else parsed.source,
        protocol="unknown" if parsed.protocol is None else parsed.protocol,
    )
    return _tell_scores(stored, parsed.json)


def _tell_scores(stored: Path, as_json: bool) -> int:
    rows = len(stored.read_text(encoding="utf-8").splitlines()) - 1
    if as_json:
        print(json.dumps({"file": str(stored), "scores": rows}, indent=2))
    else:
        print(f"{display.plural(rows, 'external score')} kept in {stored}")
    return 0
