"""Packs the action log of finished runs that were made before the suite did so itself.

The log is `actions.bin` in the run's folder, or FILE (as it is, or under xz). It must have as many actions as the run's
frames say; whether they earn its games, `python -m suite verify --replay` finds out. The manifest is raised to today's
format; all else in it stays.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

from results.errors import ResultsError
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError
from suite.run_files import ACTION_LOG_FILE

NAME = "pack"
SUMMARY = "pack the action logs of runs that older code finished"
EXAMPLES = """\
  python -m suite pack                                        every finished run that has actions.bin
  python -m suite pack pqn/Qbert/4M/seed-0
  python -m suite pack pqn/Qbert/4M/seed-0 --actions qbert.actions.bin.xz
"""
_MAX_LOG_BYTES = 4 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="*", type=parse_path, metavar="RUN", help="a run's place below the results folder (default: all)"
    )
    parser.add_argument("--actions", type=parse_path, metavar="FILE", help="where the log of the one RUN is")
    flags.add_results(parser)


def run(parsed: argparse.Namespace) -> int:
    from results.store import Run, open_run, scan
    from suite.packing import pack_finished

    results = arguments.results_folder(parsed.results)
    flags.refuse_lost_results(results)
    if parsed.actions is not None and len(parsed.runs) != 1:
        raise UserError("--actions is the log of one run; name that one RUN")
    if parsed.runs:
        found = [open_run(results / place) for place in parsed.runs]
    else:
        found = [entry for entry in scan(results) if (entry.directory / ACTION_LOG_FILE).exists()]
    packed = 0
    for entry in found:
        if not isinstance(entry, Run):
            raise ResultsError(f"{entry.reason}; list the runs with: python -m suite status --results {results}")
        if not parsed.runs and not entry.is_done:
            continue  # it still needs its log
        file = parsed.actions or entry.directory / ACTION_LOG_FILE
        data = _read(file)
        actions = pack_finished(entry.directory, data, source=str(file))
        if parsed.actions is None:
            file.unlink()
        packed += 1
        print(
            f"{entry.spec}: {display.count(len(data))} actions packed, {actions['kept']} of "
            f"{actions['environments']} environments kept"
        )
    print(f"{display.plural(packed, 'run')} packed")
    return 0


def _read(file: Path) -> bytes:
    """The actions in `file`, unpacked if it is xz. Raises UserError for one that cannot be read."""
    try:
        if not file.name.endswith(".xz"):
            return file.read_bytes()
        with lzma.open(file) as stream:
            data = stream.read(_MAX_LOG_BYTES + 1)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (lzma.LZMAError, EOFError) as error:
        raise UserError(f"{file}: no readable xz ({error})") from None
    if len(data) > _MAX_LOG_BYTES:
        raise UserError(f"{file}: is larger than any run's log")
    return data
