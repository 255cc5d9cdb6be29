"""Shows a logged game as a video: it is played again from the actions that the run keeps, in full colour.

RUN is the folder of a run, or its place below --results; or the flags below name one run. The game that comes out must
be the one in the run's table, or no video is made. By default it is the best greedy game whose actions are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from results.schema import FIRST_PROTOCOL, MANIFEST_FILE, format_frames
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError

if TYPE_CHECKING:
    from results.store import Run
    from suite.logged_games import LoggedGame

NAME = "watch"
SUMMARY = "show a logged game as a video"
EXAMPLES = """\
  python -m suite watch pqn-bf16/Qbert/4M/seed-0
  python -m suite watch results/runs/pqn-bf16/Qbert/4M/seed-0 --game last --out last.webm
  python -m suite watch --baselines pqn-bf16 --games qbert --seeds 0, --game 2179 --last 30
"""
_MAX_SECONDS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", nargs="?", type=parse_path, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--game", default="best", metavar="best|last|N", help="N is a row of episodes.parquet, from 0 (default: best)"
    )
    parser.add_argument(
        "--out", type=parse_path, metavar="FILE", help="NAME.mp4, NAME.webm or NAME.webp (default: named by the game)"
    )
    parser.add_argument("--last", metavar="SECONDS", help="only the last SECONDS of the game")
    parser.add_argument("--force", action="store_true", help="write over FILE if it exists")
    flags.add_selection(parser, "which run, instead of RUN")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    last = None if parsed.last is None else arguments.parse_count(parsed.last, "--last", _MAX_SECONDS)
    _refuse_unfit_file(parsed.out, parsed.force)
    found = _run_of(parsed)
    from suite.logged_games import choose, games_of, read_actions
    from suite.retraced_game import GameDiffers
    from suite.stage_progress import StageProgress
    from suite.video import kept_in, require_encoder
    from suite.watch import shown, write_video

    actions = read_actions(found)
    game = choose(parsed.game, games_of(found), actions)
    out = parsed.out or _default_file(found, game)
    _refuse_unfit_file(out, parsed.force)
    require_encoder(out.suffix)
    progress = StageProgress(sys.stderr)
    if game.kind != "greedy" and not parsed.game.isdecimal():
        progress.say("no greedy game has its actions here: this is a training game, with exploration")
    try:
        show = shown(found, game, actions.of(game), progress)
        if show.why_slow is not None:
            progress.say(f"15 pictures a second, not 60: {show.why_slow}")
        written = write_video(show, out, progress, last_seconds=last)
    except GameDiffers as error:
        progress.clear()
        print(f"error: no video: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror or error}); choose another place") from error
    progress.clear()
    pictures, rate = kept_in(out, written, show.pictures_per_second)
    facts = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "run": str(found.spec.directory),
        "row": game.row,
        "kind": game.kind,
        "environment": game.environment,
        "score": game.game.episode_return,
        "agent_steps": game.game.length,
        "end": game.game.end,
        "pictures": pictures,
        "pictures_per_second": rate,
    }
    if parsed.json:
        print(json.dumps(facts, indent=2))
        return 0
    seconds = written / show.pictures_per_second
    print(
        f"{out}: {game.kind} game of {found.spec}, row {game.row}, score {display.score(game.game.episode_return)}, "
        f"as in its table; {display.duration(seconds)} at {rate} pictures a second, "
        f"{display.size(out.stat().st_size)}"
    )
    return 0


def _run_of(parsed: argparse.Namespace) -> Run:
    """The one run that the arguments name. Raises UserError if there is none, or more than one."""
    from results.store import BrokenRun, open_run, scan

    selection = flags.parse_selection(parsed)
    results = arguments.results_folder(parsed.results)
    if parsed.run_folder is not None:
        if selection.is_given:
            raise UserError(
                "RUN names the run (of another protocol: dopamine/pqn/Pong/4M/seed-0); leave out --games, --frames, "
                "--baselines, --seeds and --protocol, or give these alone"
            )
        places = (parsed.run_folder, results / parsed.run_folder)
        folder = next((place for place in places if (place / MANIFEST_FILE).is_file()), None)
        if folder is None:
            raise UserError(
                f"{parsed.run_folder} is no run: neither there nor below {results} is a folder with a {MANIFEST_FILE}; "
                f"give one such as pqn/Pong/4M/seed-0, or see: python -m suite status --results {results}"
            )
        found = open_run(folder)
        if isinstance(found, BrokenRun):
            raise UserError(found.reason)
        return found
    if not selection.is_given:
        raise UserError("which run? give its folder, or --games, --frames, --baselines and --seeds")
    runs = [entry for entry in scan(results) if not isinstance(entry, BrokenRun) and selection.holds(entry.spec)]
    if len(runs) != 1:
        shown = ", ".join(str(entry.spec.directory) for entry in runs[:4]) + (", ..." if len(runs) > 4 else "")
        raise UserError(
            f"{len(runs)} runs below {results} are meant, one is wanted: {shown}"
            if runs
            else f"no run below {results} is meant; see: python -m suite status --results {results}"
        )
    return runs[0]


def _default_file(found: Run, game: LoggedGame) -> Path:
    """A name that says what is in it; MP4, or WebP where only that can be written."""
    from suite.video import can_encode

    spec = found.spec
    suffix = next((suffix for suffix in (".mp4", ".webm") if can_encode(suffix)), ".webp")
    of = "" if spec.protocol == FIRST_PROTOCOL else f"{spec.protocol}-"
    return Path(
        f"{of}{spec.baseline}-{spec.game}-{format_frames(spec.frames)}-seed-{spec.seed}-game-{game.row}{suffix}"
    )


def _refuse_unfit_file(file: Path | None, force: bool) -> None:
    if file is None:
        return
    from suite.video import SUFFIXES

    if file.suffix not in SUFFIXES:
        raise UserError(f"--out {file} is no video; give a name that ends in {', '.join(SUFFIXES)}")
    arguments.refuse_unwritable(file, force=force)
    arguments.writable_folder(file.absolute().parent, "--out")  # known before minutes of playing
