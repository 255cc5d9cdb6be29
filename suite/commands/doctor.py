"""Checks that this machine can train, and that its emulator gives the same bytes as the official code's.

A row per check; exit code 1 if any fails. For each game, eight environments play random actions, 100 agent steps of
them or, with --full, 1,200.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys

from suite import arguments, display, flags

NAME = "doctor"
SUMMARY = "check versions, device, memory, disk and the emulator's bytes"
EXAMPLES = """\
  python -m suite doctor
  python -m suite doctor --games pong --device cuda
  python -m suite doctor --games atari57 --full
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--games", default="atari10", metavar="LIST", help="games to check (default: atari10)")
    parser.add_argument("--full", action="store_true", help="1,200 agent steps a game instead of 100")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    games = arguments.parse_games(parsed.games)
    from suite import preflight

    checks = []
    for check in itertools.chain(
        preflight.check_versions(),
        preflight.check_machine(parsed.device, parsed.results),
        preflight.check_pinned(),
        preflight.check_games(games, full=parsed.full),
    ):
        checks.append(check)
        if not parsed.json:
            print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<20}  {check.detail}", flush=True)
    failed = [check.name for check in checks if not check.passed]
    if parsed.json:
        rows = [{"check": check.name, "passed": check.passed, "detail": check.detail} for check in checks]
        print(json.dumps({"checks": rows, "failed": failed}, indent=2))
    elif failed:
        print(f"\n{display.plural(len(failed), 'check')} of {len(checks)} failed: {', '.join(failed)}", file=sys.stderr)
    else:
        print(f"\nall {len(checks)} checks passed")
    return 1 if failed else 0
