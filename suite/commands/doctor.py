"""Checks that this machine can train, and that its emulator gives the same bytes as the official code's.

Under a protocol that no official code has, the bytes are held against those of the suite's own emulator, envpool 1.2.5.

A row per check; exit code 1 if any fails. Every fast path is tried against the plain one on the device that is asked
for: its row says whether it is proven and how many times faster it is, or why it is not taken. For each game, eight
environments play random actions, 100 agent steps of them or, with --full, 1,200.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from baselines.registry import is_own
from suite import arguments, cluster_flags, display, flags
from suite.errors import UserError

if TYPE_CHECKING:  # it reads the pinned files
    from suite.preflight import Check

NAME = "doctor"
SUMMARY = "check versions, device, memory, disk and the emulator's bytes"
EXAMPLES = """\
  python -m suite doctor
  python -m suite doctor --games pong --device cuda
  python -m suite doctor --games atari57 --full
  python -m suite doctor --protocol dopamine           # the emulator's bytes under another protocol
  python -m suite doctor --executor ray                # every node of a cluster
  python -m suite doctor --games pong --baselines narrow.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--games", default="atari10", metavar="LIST", help="games to check (default: atari10)")
    flags.add_protocol(parser)
    parser.add_argument("--full", action="store_true", help="1,200 agent steps a game instead of 100")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")
    cluster_flags.add_cluster(parser)
    flags.add_baselines(parser, "default: those of the suite; of your own, each is tried out")
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    games = arguments.parse_games(parsed.games)
    protocol = arguments.parse_protocol(parsed.protocol)
    arguments.parse_device_name(parsed.device)
    if cluster_flags.parse_executor(parsed):
        _refuse_local_flags(parsed)
        return _nodes(parsed, games)
    baselines = () if parsed.baselines is None else arguments.parse_baselines(parsed.baselines)
    if baselines and not any(map(is_own, baselines)):
        raise UserError(
            "doctor checks the suite's own baselines anyway; leave out --baselines, or give FILE.toml of yours"
        )
    from suite import device_checks, preflight

    checks = []
    for check in itertools.chain(
        preflight.check_versions(),
        preflight.check_machine(parsed.device, parsed.results),
        [device_checks.check_cuda()],
        _paths(parsed.device),
        preflight.check_pinned(),
        preflight.check_own(baselines),
        preflight.check_games(games, full=parsed.full, protocol=protocol),
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


def _refuse_local_flags(parsed: argparse.Namespace) -> None:
    """Raises UserError for what no node of a cluster is asked."""
    given = [
        flag
        for flag, is_given in (
            ("--full", parsed.full),
            ("--baselines", parsed.baselines is not None),
            ("--results", parsed.results != flags.DEFAULT_RESULTS),
        )
        if is_given
    ]
    if given:
        raise UserError(
            f"--executor ray asks nodes for their versions, code, device and the emulator's bytes in its short form; "
            f"leave out {', '.join(given)}, or leave out --executor ray and check this machine"
        )


def _nodes(parsed: argparse.Namespace, games: Sequence[str]) -> int:
    """A row a node of the cluster: what it has, and whether it would get runs. Returns 1 if any would not."""
    from suite.cluster import Needs, Nodes, connect
    from suite.plan import plan_runs

    device = parsed.device.strip().lower()
    gpus = 0.01 if device.startswith("cuda") else 0.0
    specs = plan_runs(("pqn",), games, 10**6, (0,), arguments.parse_protocol(parsed.protocol))
    connect(cluster_flags.address(parsed))
    nodes = Nodes(Needs(1, gpus), specs, device="cuda" if gpus else "cpu")
    nodes.wait_for_answers()
    rows: list[dict[str, Any]] = []
    for node in sorted(nodes.all, key=lambda node: node.name):
        facts = node.facts
        rows.append(
            {
                "node": node.name,
                "cpus": node.resources.get("CPU", 0.0),
                "gpus": node.resources.get("GPU", 0.0),
                "memory_bytes": int(node.resources.get("memory", 0)),
                "torch": facts and facts.versions.get("torch"),
                "envpool": facts and facts.versions.get("envpool"),
                "passed": not node.problems,
                "problems": node.problems or [],
            }
        )
    if parsed.json:
        print(json.dumps({"nodes": rows, "failed": [row["node"] for row in rows if not row["passed"]]}, indent=2))
    else:
        headings = ("node", "CPUs", "GPUs", "memory", "torch", "envpool", "verdict")
        cells = [
            (
                row["node"],
                f"{row['cpus']:g}",
                f"{row['gpus']:g}",
                display.size(row["memory_bytes"]),
                row["torch"] or "-",
                row["envpool"] or "-",
                "fit for runs" if row["passed"] else f"FAIL: {row['problems'][0]}",
            )
            for row in rows
        ]
        print(display.table(headings, cells))
        for row in rows:
            for problem in row["problems"][1:]:
                print(f"{row['node']}: {problem}", file=sys.stderr)
    return 1 if any(not row["passed"] for row in rows) else 0


def _paths(device: str) -> Iterator[Check]:
    """The fast paths of the first device; nothing where there is none, which the row of the device has said."""
    from suite import device_checks

    try:
        names = arguments.parse_device(device)
    except UserError:
        return
    yield from device_checks.check_paths(names[0])
