"""Builds the HTML report and summary.json from the runs below --results and the scores beside them.

Given more than once, --results adds folders: runs of your own beside the ones that come with the suite.

A run that cannot be read is named and left out. The same results give the same bytes. With --markdown, leaderboard and
verdicts go to stdout, for a README or a pull request, and no page is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import webbrowser
from pathlib import Path

from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

NAME = "report"
SUMMARY = "build the HTML report and summary.json"
EXAMPLES = """\
  python -m suite report                          # results/runs -> reports/html/index.html
  python -m suite report --results other/runs --out other/report
  python -m suite report --results results/runs --results mine/runs     # yours beside the suite's
  python -m suite report --claims my-claims.toml --open
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
    parser.add_argument("--no-clips", action="store_true", help="leave out the short videos of games")
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
    from reports.build import build, summarise
    from suite.catalogue import catalogue

    if parsed.markdown:
        from reports.markdown import render

        print(render(summarise(results=results, catalogue=catalogue(), claims_file=parsed.claims, more=more)))
        return 0
    out, clips = _out(parsed.out), None
    if not parsed.no_clips:
        from suite.clips import make_clips
        from suite.watch_progress import WatchProgress

        clips = make_clips(folders, catalogue(), WatchProgress(sys.stderr))
        for line in [clips.why_none, *(line for lines in clips.without.values() for line in lines)]:
            if line:
                print(line, file=sys.stderr)
    built = build(results=results, out=out, catalogue=catalogue(), claims_file=parsed.claims, more=more, clips=clips)
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
            "clips": 0 if clips is None else len(clips.clips),
            "left_out": list(built.left_out),
        }
        print(json.dumps(facts, indent=2))
        return 0
    print(f"{display.plural(built.pages, 'page')} from {display.plural(built.runs, 'run')}: {built.index}")
    return 0


def _out(path: Path) -> Path:
    """`path`, unless a report cannot take its place: the folder is replaced whole, so that none is half new."""
    if path.is_symlink():
        raise UserError(f"--out {path} is a link, which a report would replace; give the folder that it leads to")
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"--out {path} holds the folder you are in, which a report would replace; give another folder")
    return path
