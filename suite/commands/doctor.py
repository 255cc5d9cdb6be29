"""Checks that this machine can train, and that its emulator gives the same bytes as the official code's.

A row per check; exit code 1 if any fails. Every fast path is tried against the plain one on the device that is asked
for: its row says whether it is proven and how many times faster it is, or why it is not taken. For each game, eight
environments play random actions, 100 agent steps of them or, with --full, 1,200.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import arguments, display, flags
from suite.errors import UserError

if TYPE_CHECKING:  # it reads the pinned files
    from suite.preflight import Check

NAME = "doctor"
SUMMARY = "check versions, device, memory, disk and the emulator's bytes"
EXAMPLES = """\
  python -m suite doctor
  python -m suite doctor --games pong --device cuda
  python -m suite doctor --games atari57 --full
  python -m suite doctor --games pong --baselines narrow.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--games", default="atari10", metavar="LIST", help="games to check (default: atari10)")
    parser.add_argument("--full", action="store_true", help="1,200 agent steps a game instead of 100")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")
    flags.add_baselines(parser, "default: those of the suite; of your own, each is tried out")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    games = arguments.parse_games(parsed.games)
    baselines = () if parsed.baselines is None else arguments.parse_baselines(parsed.baselines)
    from suite import device_checks, preflight

    checks = []
    for check in itertools.chain(
        preflight.check_versions(),
        preflight.check_machine(parsed.device, parsed.results),
        [device_checks.check_cuda()],
        _paths(parsed.device),
        preflight.check_pinned(),
        preflight.check_own(baselines),
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


def _paths(device: str) -> Iterator[Check]:
    """The fast paths of the first device; nothing where there is none, which the row of the device has said."""
    from suite import device_checks

    try:
        names = arguments.parse_device(device)
    except UserError:
        return
    yield from device_checks.check_paths(names[0])
