"""Builds the HTML report and summary.json from the runs below --results and the scores beside them.

Given more than once, --results adds folders: runs of your own beside the ones that come with the suite.

A run that cannot be read is named and left out. The same results give the same bytes. Figures of runs are kept in the
user's cache, so that only changed runs are read again; where nothing changed, the report is left as it is. With
--markdown, leaderboard and verdicts go to stdout, for a README or a pull request, and no page is written.

Each protocol has a report of its own: that of --protocol on the first page, every other one that has runs in a folder
of its name. The paper's claims are judged on the first protocol alone. One page, protocols.html, compares them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import webbrowser
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from results.store import external_directories
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.cores import available_cores
from suite.errors import UserError
from suite.report_cache import Made, inputs_of, recall, remember, user_cache
from suite.stage_progress import StageProgress

if TYPE_CHECKING:  # it reads the pinned files
    from reports.catalogue import Catalogue
    from reports.judging.evidence import Reading
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
_LEFT_OUT = "left out"  # begins a line on a run or a score that is not used
_FEW = 3  # such lines that are told of one reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=parse_path,
        metavar="DIR",
        help=f"where the report goes (default: {DEFAULT_OUT})",
    )
    parser.add_argument(
        "--claims", type=parse_path, metavar="FILE", help="claims of your own, as TOML, beside the suite's"
    )
    flags.add_protocol(parser)
    parser.add_argument("--no-clips", action="store_true", help="leave out the short videos of games")
    flags.add_baselines(parser, "with --against: whose gain is asked for; default: every one of your own with runs")
    parser.add_argument("--against", metavar="BASELINE", help="ask whether they gain over this one, as claims of yours")
    parser.add_argument("--anew", action="store_true", help="read every run and make every page, whatever is kept")
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
    for folder in given:
        flags.refuse_lost_results(folder)
    results, *more = folders = _each_once(given)
    if parsed.markdown:
        _refuse_what_pages_take(parsed)
    if parsed.baselines is not None and parsed.against is None:
        raise UserError("--baselines goes with --against BASELINE; a report shows whatever has runs, so leave it out")
    if not parsed.markdown:
        return _show(_made(parsed, folders, _out(parsed.out or DEFAULT_OUT)), parsed)
    from reports.build import summarise
    from reports.markdown import render

    with _known(parsed, folders) as (known, claims, reading):
        found = summarise(results=results, catalogue=known, claims_file=claims, more=more, reading=reading)
        print(render(found))
    _tell([f"{_LEFT_OUT}: {line}" for line in found["results"]["left_out"]])
    return 0


def _refuse_what_pages_take(parsed: argparse.Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in ("json", "open", "out", "no_clips") if getattr(parsed, name)]
    if given:
        raise UserError(f"--markdown writes no report; leave out {', '.join(given)}")


def _each_once(folders: Sequence[Path]) -> list[Path]:
    """`folders` without those that are an earlier one under another name."""
    once: dict[Path, Path] = {}
    for folder in folders:
        once.setdefault(folder.resolve(), folder)
    return list(once.values())


def _made(parsed: argparse.Namespace, folders: Sequence[Path], out: Path) -> Made:
    """The report at `out`, made unless it is there and nothing that it follows from has changed."""
    arguments.parse_protocol(parsed.protocol)
    choices = [str(out), parsed.no_clips, parsed.baselines, parsed.against, parsed.protocol]
    files = [] if parsed.claims is None else [parsed.claims]
    watched = [*folders, *external_directories(folders)]  # imported scores lie beside the runs
    inputs = inputs_of(watched, files, choices)
    if not parsed.anew and (made := recall(out, inputs)) is not None:
        _open(made, parsed)
        return replace(made, lines=(*made.lines, "nothing changed since this report was made; it stays as it is"))
    from suite.catalogue import catalogue
    from suite.clips import ClipPlan, make_clips, plan_clips
    from suite.fresh_processes import Stopped
    from suite.own_catalogue import with_own

    progress = StageProgress(sys.stderr)
    with _known(parsed, folders) as (known, claims, reading):
        catalogues = [known, *(with_own(catalogue(name), folders, reading.scan) for name in known.other_protocols)]
        plans = [ClipPlan() if parsed.no_clips else plan_clips(folders, one, reading.scan) for one in catalogues]

        def made_with(clips: Sequence[Clips]) -> Made:
            return _built(folders, out, claims, reading, catalogues, clips, progress)

        made = made_with([plan.clips for plan in plans])
        _open(made, parsed)
        if missing := sum(len(plan.missing) for plan in plans):
            progress.say(
                f"the report is there: {made.facts['index']}\n"
                f"it gets {display.plural(missing, 'clip')} of games now, which are made once; Ctrl-C leaves them for "
                "another time, --no-clips leaves them out"
            )
            try:
                made = made_with([make_clips(plan, progress, available_cores()) for plan in plans])
            except (Stopped, KeyboardInterrupt):
                progress.say("stopped: the report stands, without the clips that were missing")
                raise KeyboardInterrupt from None
    if inputs.are_settled and inputs_of(watched, files, choices).digest == inputs.digest:
        remember(out, inputs, made)
    return made


def _built(
    folders: Sequence[Path],
    out: Path,
    claims: Path | None,
    reading: Reading,
    catalogues: Sequence[Catalogue],
    clips: Sequence[Clips],
    progress: StageProgress,
) -> Made:
    """Writes the report. The first catalogue's is the first page's; `clips`: of each."""
    from reports.build import Other, build

    results, *more = folders
    others = [Other(theirs, shown) for theirs, shown in zip(catalogues[1:], clips[1:], strict=True)]
    built = build(
        results=results,
        out=out,
        catalogue=catalogues[0],
        claims_file=claims,
        more=more,
        clips=clips[0],
        others=others,
        reading=reading,
        tell=progress.tell,
    )
    progress.clear()
    facts = {
        "index": str(built.index),
        "summary": str(built.summary_file),
        "pages": built.pages,
        "runs": built.runs,
        "clips": sum(len(shown.clips) for shown in clips),
        "left_out": list(built.left_out),
    }
    return Made(facts, (*chain(*map(_without, clips)), *(f"{_LEFT_OUT}: {line}" for line in built.left_out)))


def _open(made: Made, parsed: argparse.Namespace) -> None:
    if parsed.open:
        webbrowser.open(Path(made.facts["index"]).absolute().as_uri())


def _tell(lines: Sequence[str], all_in: str = "") -> None:
    for line in _few_of_each(lines, all_in):
        print(line, file=sys.stderr)


def _few_of_each(lines: Sequence[str], all_in: str) -> list[str]:
    """`lines` in their order; of many that give one reason, a few and how many more there are, all `all_in` a file."""
    reasons = Counter(map(_reason, lines))
    told: Counter[str] = Counter()
    few = []
    for line in lines:
        reason = _reason(line)
        told[reason] += 1
        if reasons[reason] <= _FEW + 1 or told[reason] <= _FEW:
            few.append(line)
        elif told[reason] == _FEW + 1:
            few.append(f"{_LEFT_OUT}: {display.count(reasons[reason] - _FEW)} more{all_in}: {reason}")
    return few


def _reason(line: str) -> str:
    """Of "left out: NAME: REASON" the reason; any other line is its own."""
    parts = line.split(": ", 2)
    return parts[2] if len(parts) == 3 and parts[0] == _LEFT_OUT else line


def _show(made: Made, parsed: argparse.Namespace) -> int:
    _tell(made.lines, ", all in summary.json")
    if parsed.json:
        print(json.dumps(made.facts, indent=2))
        return 0
    runs = display.plural(made.facts["runs"], "run")
    print(f"{display.plural(made.facts['pages'], 'page')} from {runs}: {made.facts['index']}")
    return 0


@contextmanager
def _known(parsed: argparse.Namespace, folders: Sequence[Path]) -> Iterator[tuple[Catalogue, Path | None, Reading]]:
    """What a report is made with: baselines, the file of claims, and a reading that looks through each folder once."""
    from reports.judging.evidence import Reading
    from reports.judging.figures_cache import FiguresCache
    from results.store import scan
    from suite.catalogue import catalogue
    from suite.own_catalogue import with_own

    once = cache(scan)
    reading = Reading(once, FiguresCache(None if parsed.anew else user_cache() / "figures"), once.cache_clear)
    known = with_own(catalogue(arguments.parse_protocol(parsed.protocol)), folders, reading.scan)
    with tempfile.TemporaryDirectory(prefix="suite-claims-") as scratch:
        yield known, _claims(parsed, known, folders, Path(scratch), reading), reading


def _without(clips: Clips) -> list[str]:
    """Of which games there is no clip, and why."""
    return [line for line in [clips.why_none, *chain(*clips.without.values())] if line]


def _claims(
    parsed: argparse.Namespace, known: Catalogue, folders: Sequence[Path], scratch: Path, reading: Reading
) -> Path | None:
    """The file of claims beside the suite's: the user's, and those that --against asks for."""
    if parsed.against is None:
        return parsed.claims
    from reports.judging.claims_file import load_claims
    from suite.own_catalogue import claims_against

    references = arguments.parse_baselines(parsed.against) if parsed.against.strip() else ()
    if len(references) != 1:
        raise UserError("--against takes one baseline; give a name such as pqn")
    own = [info.name for info in known.baselines if info.is_own]
    names = own if parsed.baselines is None else [*arguments.parse_baselines(parsed.baselines)]
    if not names:
        raise UserError(
            "--against compares baselines of your own, and none has runs here; name others with --baselines"
        )
    given = ""
    if parsed.claims is not None:
        load_claims(parsed.claims, with_built_in=known.protocol.judges_the_paper)  # names this file if it is unfit
        given = parsed.claims.read_text(encoding="utf-8")
    path = scratch / "claims.toml"
    path.write_text(f"{given}\n{claims_against(references[0], names, folders, known, reading.scan)}", encoding="utf-8")
    return path


def _out(path: Path) -> Path:
    """`path`, unless a report cannot take its place: the folder is replaced whole, so that none is half new."""
    if path.is_symlink():
        raise UserError(f"--out {path} is a link, which a report would replace; give the folder that it leads to")
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"--out {path} holds the folder you are in, which a report would replace; give another folder")
    return path
