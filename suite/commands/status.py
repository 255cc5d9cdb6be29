"""Says how far the runs below --results are.

With --games and --frames: every run of that matrix, the missing ones too. Without: the runs that there are, narrowed
by whatever flags are given.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from results.schema import FIRST_PROTOCOL, format_frames
from results.store import scan
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError
from suite.flags import Selection
from suite.plan import STATES, RunState, state_of, wanted_states
from suite.run_files import RUN_LOG_FILE

NAME = "status"
SUMMARY = "which runs are done, part done, failed or missing"
EXAMPLES = """\
  python -m suite status
  python -m suite status --games atari10 --frames 40M        # the whole matrix, with what is missing
  python -m suite status --baselines pqn --json
  python -m suite status --protocol all
  python -m suite status --log pqn/Pong/4M/seed-0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_selection(parser, "which runs (default: all that there are)", or_all=True)
    parser.add_argument(
        "--log",
        type=parse_path,
        metavar="RUN",
        help="print what a run printed, wherever it ran: pqn/Pong/4M/seed-0, or its folder",
    )
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    selection = flags.parse_selection(parsed)
    results = arguments.results_folder(parsed.results)
    if parsed.log is not None:
        if parsed.json or selection.is_given:
            raise UserError("--log prints the log of RUN as it is; leave out --json and the flags that choose runs")
        return _print_log(results, parsed.log)
    flags.refuse_lost_results(results)
    elsewhere, found = "", []
    if selection.games is not None and selection.frames is not None:
        states = wanted_states(selection.matrix(), results)
    else:
        found = [state_of(run) for run in scan(results)]
        states = [s for s in found if s.spec is None or selection.holds(s.spec)]
        elsewhere = flags.of_other_protocols((s.spec for s in found if s.spec), selection)
    counts = {state: number for state in STATES if (number := Counter(s.state for s in states)[state])}
    if parsed.json:
        print(json.dumps({"results": str(results), "counts": counts, "runs": [s.as_row() for s in states]}, indent=2))
        return 0
    if not states:
        there = f"no run of the {len(found)} in {results} is meant" if found else f"no runs in {results}"
        print(f"{there}; make some with: python -m suite run --games pong --frames 4M{_of(selection)}")
        if elsewhere:
            print(elsewhere)
        return 0
    print(
        display.table(
            (*_headings(selection), "state", "done", "score", "games", "frames/s", "note"),
            [_cells(state, selection) for state in states],
        )
    )
    print(f"\n{display.plural(len(states), 'run')}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    if elsewhere:
        print(elsewhere)
    return 0


def _of(selection: Selection) -> str:
    return f" --protocol {selection.protocol}" if selection.protocol not in (None, FIRST_PROTOCOL) else ""


def _headings(selection: Selection) -> tuple[str, ...]:
    """Of a run's identity; its protocol where there may be several."""
    names = ("baseline", "game", "frames", "seed")
    return ("protocol", *names) if selection.protocol is None else names


def _print_log(results: Path, run: Path) -> int:
    """Prints the log of the run that `run` names. Raises UserError where there is none."""
    folder = run if (run / RUN_LOG_FILE).is_file() else results / run
    try:
        with (folder / RUN_LOG_FILE).open("r", encoding="utf-8", errors="replace") as log:
            for line in log:
                print(line, end="")
    except OSError as error:
        raise UserError(
            f"--log {run}: {folder / RUN_LOG_FILE} cannot be read ({error.strerror or error}); "
            "name a run as it stands below --results, such as pqn/Pong/4M/seed-0, that was trained here: logs are not "
            "committed"
        ) from None
    return 0


def _cells(state: RunState, selection: Selection) -> tuple[str, ...]:
    row, spec = state.as_row(), state.spec
    identity = (spec.baseline, spec.game, format_frames(spec.frames), str(spec.seed)) if spec else ("?", "?", "?", "?")
    return (
        *([spec.protocol if spec else "?"] if selection.protocol is None else []),
        *identity,
        state.state,
        display.percent(state.fraction),
        display.score(row["score"]),
        display.count(row["games"]),
        display.count(row["frames_per_second"]) if row["frames_per_second"] else "-",
        " ".join(state.note.split()),
    )
