"""Builds the HTML report and summary.json from the runs below --results and the scores beside them.

Given more than once, --results adds folders: runs of your own beside the ones that come with the suite.

A run that cannot be read is named and left out. The same results give the same bytes. With --markdown, leaderboard and
verdicts go to stdout, for a README or a pull request, and no page is written.

Each protocol has a report of its own: that of --protocol on the first page, every other one that has runs in a folder
of its name. The paper's claims are judged on the first protocol alone. One page, protocols.html, compares them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

if TYPE_CHECKING:  # it reads the pinned files
    from reports.catalogue import Catalogue
    from reports.pages.clips import Clips

NAME = "report"
SUMMARY = "build the HTML report and summary.json"
EXAMPLES = """\
  python -m suite report                          # results/runs -> reports/html/index.html
  python -m suite report --results other/runs --out other/report
  python -m suite report --results results/runs --results mine/runs     # yours beside the suite's
  python -m suite report --claims my-claims.toml --open
  python -m suite report --against pqn                  # does what you brought gain over PQN?
  python -m suite report --protocol dopamine            # that protocol's report on the first page
  python -m suite report --markdown > results.md
"""
DEFAULT_OUT = Path("reports/html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=parse_path,
        default=DEFAULT_OUT,
        metavar="DIR",
        help="where the report goes (default: %(default)s)",
    )
    parser.add_argument(
        "--claims", type=parse_path, metavar="FILE", help="claims of your own, as TOML, beside the suite's"
    )
    flags.add_protocol(parser)
    parser.add_argument("--no-clips", action="store_true", help="leave out the short videos of games")
    flags.add_baselines(parser, "with --against: whose gain is asked for; default: every one of your own with runs")
    parser.add_argument("--against", metavar="BASELINE", help="ask whether they gain over this one, as claims of yours")
    parser.add_argument("--open", action="store_true", help="show the report in the browser")
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of writing the report")
    parser.add_argument(
        "--results",
        type=parse_path,
        action="append",
        metavar="DIR",
        help=f"where runs live (default: {flags.DEFAULT_RESULTS}); again for more folders",
    )
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    given = [arguments.results_folder(folder) for folder in parsed.results or [flags.DEFAULT_RESULTS]]
    results, *more = folders = list(dict.fromkeys(given))
    if parsed.markdown and (parsed.json or parsed.open):
        raise UserError("--markdown writes no report; leave out --json and --open")
    if parsed.baselines is not None and parsed.against is None:
        raise UserError("--baselines goes with --against BASELINE; a report shows whatever has runs, so leave it out")
    protocol = arguments.parse_protocol(parsed.protocol)
    from reports.build import Other, build, summarise
    from suite.catalogue import catalogue
    from suite.own_catalogue import with_own

    known = with_own(catalogue(protocol), folders)
    with tempfile.TemporaryDirectory(prefix="suite-claims-") as folder:
        claims = _claims(parsed, known, folders, Path(folder))
        if parsed.markdown:
            from reports.markdown import render

            print(render(summarise(results=results, catalogue=known, claims_file=claims, more=more)))
            return 0
        out = _out(parsed.out)
        clips = None if parsed.no_clips else _clips(folders, known)
        others = []
        for name in known.other_protocols:
            theirs = with_own(catalogue(name), folders)
            others.append(Other(theirs, None if parsed.no_clips else _clips(folders, theirs)))
        built = build(
            results=results, out=out, catalogue=known, claims_file=claims, more=more, clips=clips, others=others
        )
    for line in built.left_out:
        print(f"left out: {line}", file=sys.stderr)
    if parsed.open:
        webbrowser.open(built.index.absolute().as_uri())
    if parsed.json:
        facts = {
            "index": str(built.index),
            "summary": str(built.summary_file),
            "pages": built.pages,
            "runs": built.runs,
            "clips": sum(len(made.clips) for made in (clips, *(o.clips for o in others)) if made is not None),
            "left_out": list(built.left_out),
        }
        print(json.dumps(facts, indent=2))
        return 0
    print(f"{display.plural(built.pages, 'page')} from {display.plural(built.runs, 'run')}: {built.index}")
    return 0


def _clips(folders: Sequence[Path], known: Catalogue) -> Clips:
    """The short videos of games; says on stderr of which there is none, and why."""
    from suite.clips import make_clips
    from suite.watch_progress import WatchProgress

    clips = make_clips(folders, known, WatchProgress(sys.stderr))
    for line in [clips.why_none, *(line for lines in clips.without.values() for line in lines)]:
        if line:
            print(line, file=sys.stderr)
    return clips


def _claims(parsed: argparse.Namespace, known: Catalogue, folders: Sequence[Path], scratch: Path) -> Path | None:
    """The file of claims beside the suite's: the user's, and those that --against asks for."""
    if parsed.against is None:
        return parsed.claims
    from suite.own_catalogue import claims_against

    (reference, *others) = arguments.parse_baselines(parsed.against)
    if others:
        raise UserError("--against takes one baseline")
    own = [info.name for info in known.baselines if info.is_own]
    names = own if parsed.baselines is None else [*arguments.parse_baselines(parsed.baselines)]
    if not names:
        raise UserError(
            "--against compares baselines of your own, and none has runs here; name others with --baselines"
        )
    given = "" if parsed.claims is None else parsed.claims.read_text(encoding="utf-8")
    path = scratch / "claims.toml"
    path.write_text(f"{given}\n{claims_against(reference, names, folders, known)}", encoding="utf-8")
    return path


def _out(path: Path) -> Path:
    """`path`, unless a report cannot take its place: the folder is replaced whole, so that none is half new."""
    if path.is_symlink():
        raise UserError(f"--out {path} is a link, which a report would replace; give the folder that it leads to")
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"--out {path} holds the folder you are in, which a report would replace; give another folder")
    return path
