"""The command line: one verb a subcommand, result on stdout, progress on stderr, one line for a user's mistake.

Exit codes: 0 done, 1 something failed, 2 bad arguments or input, 130 interrupted (Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import suite
from baselines.config import ConfigError
from baselines.fast.names import DeviceLost
from reports.errors import ReportsError
from results.errors import ResultsError
from suite import display, streams
from suite.commands import COMMANDS
from suite.errors import UserError
from suite.stop_signals import sigterm_interrupts

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

_EXAMPLES = """\
examples:
  python -m suite run --games pong --frames 4M --baselines pqn --seeds 1    one run
  python -m suite run --games atari10 --frames 40M                          all baselines, three seeds
  python -m suite report                                                    results -> reports/html/index.html
  python -m suite status                                                    what is done, and how far the rest is
"""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are `UserError`s of one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m suite",
        description="Train pinned Atari baselines of the Hadamax paper, keep what was measured, and report it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hadamax-suite {suite.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.__doc__,
            epilog=f"examples:\n{command.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, command=command.NAME)
    return parser


def _with_negative_values(argv: Sequence[str]) -> list[str]:
    """`--frames -4M` as `--frames=-4M`: argparse would take -4M for a flag and say that --frames lacks its value."""
    joined: list[str] = []
    for argument in argv:
        if re.match(r"-[0-9]", argument) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """argparse's own `parse_args` would name the help of the whole for what a command does not know."""
    parsed, unknown = build_parser().parse_known_args(_with_negative_values(argv))
    if unknown:
        raise UserError(f"unrecognized arguments: {' '.join(unknown)}; see: python -m suite {parsed.command} --help")
    return parsed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (default: this process's) and returns its exit code."""
    streams.prepare()
    try:
        parsed = _parsed(sys.argv[1:] if argv is None else argv)
        with sigterm_interrupts():
            code = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except (UserError, ResultsError, ConfigError, ReportsError) as error:
        _tell(str(error))
        return BAD_INPUT
    except DeviceLost as error:
        _tell(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for one, has enough
        streams.abandon_stdout()
        return 0
    except OSError as error:
        if error.errno is None:
            raise  # not the system's word: a fault of ours
        if error.filename is None:  # what is printed is buffered: it would fail once more at the end
            streams.abandon_stdout()
        _tell(f"{error.filename or 'the output'} cannot be written or read ({error.strerror})")
        return FAILED


def _tell(message: str) -> None:
    with suppress(OSError):  # stderr may be as full as stdout; the exit code still says it
        print(f"error: {display.one_line(message)}", file=sys.stderr)
