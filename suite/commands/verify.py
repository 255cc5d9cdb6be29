"""Recomputes what every run's manifest says of it: checksums, scores, budgets, the config hash.

With --replay, plays games again: fresh emulators are stepped through the actions that a run keeps, and return, length,
end and frame of every game of those environments must come out as in its table. What agrees is noted in proof.json,
in the results folder, after each run: Ctrl-C loses only what the run under way has shown. With --retrain, trains the
beginning of a run again and compares the actions.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.errors import ResultsError
from suite import arguments, display, flags
from suite.errors import UserError

if TYPE_CHECKING:
    from results.store import Run
    from suite.proof import Replayed

NAME = "verify"
SUMMARY = "recompute the checks of every run; play its games again"
EXAMPLES = """\
  python -m suite verify
  python -m suite verify --results other/runs --json
  python -m suite verify --protocol all                    runs of every protocol
  python -m suite verify --replay                          a sample of every run
  python -m suite verify --replay --all --games qbert      every game whose actions are kept
  python -m suite verify --replay --part 3/7               a seventh of them
  python -m suite verify --retrain 2 --baselines pqn --frames 4M
"""
_SAMPLE = 4
_MAX_RETRAINED = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replay", action="store_true", help="play games again from the actions that runs keep")
    parser.add_argument("--sample", metavar="N", help=f"environments of each run to play again (default: {_SAMPLE})")
    parser.add_argument("--all", action="store_true", help="every environment whose actions are kept")
    parser.add_argument("--part", metavar="I/N", help="one of N parts of them: 1/7 to 7/7 are all, one a day")
    parser.add_argument(
        "--sample-seed", metavar="N", help="which environments (default: drawn anew each time, and said)"
    )
    parser.add_argument("--retrain", metavar="N", help="train the first N updates again, compare the actions")
    parser.add_argument("--threads", metavar="N", help="with --replay: emulator threads (default: all cores)")
    flags.add_selection(parser, "which runs (default: all)", or_all=True)
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    from results.store import BrokenRun, scan
    from results.verify import problems_of

    _refuse_unfit_flags(parsed)
    sample = _SAMPLE if parsed.sample is None else arguments.parse_count(parsed.sample, "--sample", 2**15)
    retrained = None if parsed.retrain is None else arguments.parse_count(parsed.retrain, "--retrain", _MAX_RETRAINED)
    threads = None if parsed.threads is None else arguments.parse_threads(parsed.threads)
    part = None if parsed.part is None else _parse_part(parsed.part)
    seed = secrets.randbelow(2**31) if parsed.sample_seed is None else _parse_sample_seed(parsed.sample_seed)
    results = arguments.results_folder(parsed.results)
    selection = flags.parse_selection(parsed)
    there = scan(results)
    found = [entry for entry in there if isinstance(entry, BrokenRun) or selection.holds(entry.spec)]
    if not found:
        why = f"no run below {results} is meant" if there else f"no runs in {results}"
        raise UserError(f"{why}, so nothing was verified; see: python -m suite status --results {results}")
    checked = [(entry, problems_of(entry)) for entry in found]
    rows: dict[Path, dict[str, Any]] = {
        entry.directory: {"directory": str(entry.directory), "problems": problems} for entry, problems in checked
    }
    sound = [entry for entry, problems in checked if not problems and not isinstance(entry, BrokenRun)]
    if parsed.replay:
        count = None if parsed.all or part else sample
        _replay(results, sound, rows, sample=None if count is None else (count, seed), part=part, threads=threads)
    if retrained is not None:
        _retrain(sound, rows, retrained)
    bad = [row for row in rows.values() if row["problems"]]
    failed = bool(bad) or _tell_of_nothing_done(parsed, rows)
    if parsed.json:
        summary: dict[str, Any] = {"runs": list(rows.values()), "sound": len(rows) - len(bad), "unsound": len(bad)}
        if parsed.replay:
            summary["sample_seed"] = None if parsed.all or part else seed
            summary["part"] = part and {"number": part[0], "of": part[1]}
        print(json.dumps(summary, indent=2))
        return 1 if failed else 0
    for row in rows.values():
        _print_row(row)
    if parsed.replay and not parsed.all and not part:
        print(f"environments drawn by --sample-seed {seed}")
    print(f"{display.plural(len(rows), 'run')} checked, {len(rows) - len(bad)} sound, {len(bad)} not")
    elsewhere = flags.of_other_protocols((e.spec for e in there if not isinstance(e, BrokenRun)), selection)
    if elsewhere:
        print(elsewhere.replace("not shown", "not checked"))
    return 1 if failed else 0


def _refuse_unfit_flags(parsed: argparse.Namespace) -> None:
    has_sample = parsed.sample is not None or parsed.sample_seed is not None
    if not parsed.replay and (has_sample or parsed.all or parsed.part is not None):
        raise UserError("--sample, --all, --part and --sample-seed say what to play again; add --replay")
    if parsed.part is not None and (has_sample or parsed.all):
        raise UserError("--part says which environments; leave out --all, --sample and --sample-seed")
    if parsed.all and has_sample:
        raise UserError("--all leaves nothing to sample; give it alone, or --sample")
    if not parsed.replay and parsed.threads is not None:
        raise UserError(
            "--threads is of the emulators that play games again; add --replay, or leave it out "
            "(a run is trained again with the threads that it had)"
        )


def _parse_sample_seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or int(text) > arguments.MAX_SEED:
        raise UserError(f"--sample-seed {text!r} is not allowed; give a whole number from 0 to {arguments.MAX_SEED}")
    return int(text)


def _parse_part(text: str) -> tuple[int, int]:
    """'3/7' is the third of seven parts."""
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text.strip())
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UserError(f"--part {text} is none; give which of how many, from 1/7 to 7/7, say")
    return number, parts


def _replay(
    results: Path,
    sound: list[Run],
    rows: dict[Path, dict[str, Any]],
    *,
    sample: tuple[int, int] | None,
    part: tuple[int, int] | None,
    threads: int | None,
) -> None:
    """`sample`: how many environments of each run, and the seed that draws them; None for a part, or for all."""
    from results.proofs import PROOF_FILE, proof_state, read_proofs
    from suite.cores import available_cores
    from suite.proof import keep_proof, replay
    from suite.replay_progress import ReplayProgress

    played = 0
    logged = [entry for entry in sound if entry.is_done and entry.manifest["actions"] is not None]
    read_proofs(results)  # a table of proofs that cannot be read is told of before the work
    parts = part[1] if part else 1
    try:
        with ReplayProgress(sys.stderr, logged, sample=sample and sample[0], parts=parts) as progress:
            for entry in logged:
                outcome = replay(
                    entry,
                    sample=sample,
                    part=part,
                    threads=threads or available_cores(),
                    tick=progress.tick,
                )
                keep_proof(results, outcome)
                played += 1
                progress.finished(outcome)
                _note_replayed(rows[entry.directory], outcome)
    except BaseException:  # Ctrl-C, or whatever ends it after hours
        kept = f"what agreed is kept in {results / PROOF_FILE}" if played else "nothing new is kept"
        print(f"stopped: {played} of {display.plural(len(logged), 'run')} played again; {kept}", file=sys.stderr)
        raise
    known = read_proofs(results)
    for entry in sound:
        rows[entry.directory]["proof"] = proof_state(entry, known)


def _note_replayed(row: dict[str, Any], outcome: Replayed) -> None:
    """Adds to the row of a run what came of playing its games again."""
    manifest = outcome.run.manifest
    row["problems"] = outcome.problems
    row["replayed"] = {
        "games": outcome.games,
        "games_replayed": outcome.games_agreed,
        "environments": manifest["actions"]["environments"],
        "environments_replayed": len(outcome.agreed),
        "escape_probability": outcome.escape_probability,
        "seconds": round(outcome.seconds, 3),
        "training_seconds": manifest["wall_seconds"],
    }


def _retrain(sound: list[Run], rows: dict[Path, dict[str, Any]], updates: int) -> None:
    from suite.retraining import retrain
    from suite.stage_progress import StageProgress

    progress = StageProgress(sys.stderr)
    for number, entry in enumerate(sound, 1):
        words = f"{entry.spec} ({number} of {len(sound)}): training {display.plural(updates, 'update')} again"
        progress.say(words)
        progress.stage(words, updates)
        row = rows[entry.directory]
        try:
            outcome = retrain(entry, updates=updates, tick=progress.tick)
        except ResultsError as error:  # the others can be trained all the same
            row["not_retrained"] = str(error)
            continue
        row["retrained"] = outcome.facts()
        row["problems"] = [*row["problems"], *outcome.problems]
    progress.clear()


def _tell_of_nothing_done(parsed: argparse.Namespace, rows: dict[Path, dict[str, Any]]) -> bool:
    """Whether what was asked for was possible with none of the runs, which is no success."""
    nothing = False
    if parsed.replay and not any("replayed" in row for row in rows.values()):
        print("error: no game was played again: no finished, sound run here keeps its actions", file=sys.stderr)
        nothing = True
    if parsed.retrain is not None and not any("retrained" in row for row in rows.values()):
        print("error: no run was trained again; the reasons stand beside the runs", file=sys.stderr)
        nothing = True
    return nothing


def _print_row(row: dict[str, Any]) -> None:
    """What was found of a run; nothing where only its checksums were looked at, and are right."""
    problems = map(display.one_line, row["problems"])  # they can quote what a stranger wrote
    told = [f"WRONG: {problem}" for problem in problems] if "proof" in row else list(problems)
    if "replayed" in row:
        told.append(_replayed_line(row["replayed"]))
    if "proof" in row:
        told.append(f"proof: {row['proof']}")
    if "retrained" in row:
        told.append(row["retrained"]["words"])
    if "not_retrained" in row:
        told.append(f"not trained again: {row['not_retrained']}")
    if told:
        print(row["directory"])
        for line in told:
            print(f"  {line}")


def _replayed_line(facts: dict[str, Any]) -> str:
    line = (
        f"played again: {display.count(facts['games_replayed'])} of {display.count(facts['games'])} games, in "
        f"{facts['environments_replayed']} of {facts['environments']} environments"
    )
    if facts["seconds"] > 0 and facts["games_replayed"]:
        line += f"; {facts['games_replayed'] / facts['seconds']:.1f} games/s"
        if facts["training_seconds"] > 0:
            line += f", {facts['seconds'] / facts['training_seconds']:.1%} of the time of training"
    if facts["escape_probability"] > 0:
        line += f"; one altered game escapes a sample of this size {facts['escape_probability']:.1%} of the time"
    return line
