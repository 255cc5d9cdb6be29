"""Measures how fast each baseline trains on this machine: emulator, acting and learning alone, and the whole.

Every path is measured in the same run, so that their ratios mean something: the fast one, the plain one, and, for
agents with a replay memory, a plain loop with a single environment. Nothing else should run on the machine meanwhile.
Ctrl-C ends it early: what is measured by then is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from baselines.registry import BASELINES
from results.processors import processor
from results.schema import FIRST_PROTOCOL
from suite import arguments, display, flags
from suite.arguments import parse_path
from suite.errors import UserError
from suite.own_code import tell, try_own

if TYPE_CHECKING:  # it imports torch
    from suite.bench import Bench

NAME = "bench"
SUMMARY = "measure how fast the baselines train here, part by part"
EXAMPLES = """\
  python -m suite bench
  python -m suite bench --baselines pqn,hadamax-pqn --repeats 5
  python -m suite bench --baselines pqn,pqn-bf16 --jobs 4
  python -m suite bench --device cuda --json > bench.json
  python -m suite bench --show bench.json                    # a measurement as tables in Markdown
  python -m suite bench --compare before.json after.json
"""


_COLUMNS = (
    *("baseline", "path", "whole", "from - to", "acting", "learning"),
    *("of emu", "of learn", "x plain", "x one env", "x one run"),
)
# What goes with measuring alone, and how each is where nobody gave it.
_MEASURING = {
    "baselines": None,
    "protocol": FIRST_PROTOCOL,
    "game": "breakout",
    "device": "auto",
    "threads": None,
    "repeats": "5",
    "jobs": "1",
    "json": False,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_baselines(parser, "default: all")
    flags.add_protocol(parser)
    parser.add_argument("--game", metavar="NAME", help="the game to play (default: %(default)s)")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--repeats", metavar="N", help="measurements of everything (default: %(default)s)")
    parser.add_argument("--jobs", metavar="N", help="also measure N runs at once; on a CPU they share its threads")
    parser.add_argument(
        "--show", type=parse_path, metavar="FILE", help="measure nothing: print FILE's tables in Markdown"
    )
    parser.add_argument(
        "--compare",
        type=parse_path,
        nargs=2,
        metavar=("FILE", "FILE"),
        help="measure nothing: two measurements side by side",
    )
    flags.add_json(parser)
    parser.set_defaults(**_MEASURING)


def run(parsed: argparse.Namespace) -> int:
    if parsed.show is not None or parsed.compare is not None:
        return _show(parsed)
    baselines = BASELINES if parsed.baselines is None else arguments.parse_baselines(parsed.baselines)
    games = arguments.parse_games(parsed.game) if parsed.game.strip() else ()
    if len(games) != 1:
        raise UserError("--game takes one game; give a name such as breakout")
    protocol = arguments.parse_protocol(parsed.protocol)
    device = arguments.parse_device(parsed.device)[0]
    repeats = arguments.parse_count(parsed.repeats, "--repeats", 1000)
    at_once = arguments.parse_jobs(parsed.jobs)
    from suite import bench, provenance
    from suite.cores import available_cores

    threads = available_cores() if parsed.threads is None else arguments.parse_threads(parsed.threads)
    busy = bench.busy_percent()
    if busy > bench.BUSY_PERCENT:
        print(
            f"warning: others use {busy:.0f} % of this machine now; what is measured beside them is too slow, "
            "and ratios may be wrong",
            file=sys.stderr,
        )
    tell(try_own(baselines, measured=True), sys.stderr)
    found = bench.run_bench(
        baselines,
        game=games[0],
        device=device,
        threads=threads,
        repeats=repeats,
        paths=(bench.FAST, bench.PLAIN, bench.SINGLE),
        at_once=at_once,
        protocol=protocol,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    import torch

    hardware = provenance.hardware(torch.device(device), torch_threads=threads, emulator_threads=threads)
    if not found.is_complete:
        print(f"stopped: {len(found.measured)} of {found.planned} measurements are done", file=sys.stderr)
    if parsed.json:
        facts = {
            "unit": "agent steps per second; emulator frames are four times that",
            "game": games[0],
            "protocol": protocol,
            "hardware": hardware,
            "versions": provenance.versions(),
            "revision": provenance.revision(),
            "busy_percent_before": busy,
            "emulator": {str(count): list(speeds) for count, speeds in found.emulator.items()},
            "rows": found.rows(),
        }
        print(json.dumps(facts, indent=2))
    elif found.measured:
        machine = f"{hardware['gpu'] or processor(hardware)}, {threads} threads"
        print(f"{games[0]}, protocol {protocol}, on {machine}; medians of {repeats}, agent steps/s")
        _print_found(found)
    return 0 if found.is_complete else 130


def _print_found(found: Bench) -> None:
    from suite import bench

    for count, speeds in found.emulator.items():
        print(f"emulator alone, {count} environments: {_speed(speeds)} (frames/s: 4 times that)")
    rows = found.rows()
    print(f"\n{display.table(_COLUMNS, [_cells(row) for row in rows])}")
    if any(row["is_worthless"] for row in rows):
        print(f"~ the repeats differ by over {bench.WORTHLESS_SPREAD:.0%}; make the machine idle and measure again")
    print("\nwhere the time goes")
    for row in rows:
        parts = ", ".join(f"{name} {display.percent(share)}" for name, share in row["time_shares"].items())
        print(f"  {row['baseline']}, {row['label']}: {parts}; {_memory(row)}")
    _print_groups(rows)
    for note in sorted({note for row in rows if row["path"] == bench.FAST for note in row["missed"]}):
        print(f"  not fast: {note}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["baseline"],
        row["label"],
        ("~" if row["is_worthless"] else "") + display.count(row["agent_steps_per_second"]),
        f"{display.count(row['slowest'])} - {display.count(row['fastest'])}",
        _or_dash(display.count, row["acting_alone"]),
        _or_dash(display.count, row["learning_alone"]),
        display.percent(row["share_of_emulator"]),
        _or_dash(display.percent, row["share_of_learning_alone"]),
        *(_or_dash("{:.2f}".format, row[name]) for name in ("over_plain", "over_one_environment", "over_one_run")),
    )


def _print_groups(rows: list[dict[str, Any]]) -> None:
    """Rollouts by number of groups of environments, of baselines that had it measured: on a GPU alone."""
    measured = [row for row in rows if row["group_speeds"] and row["runs_at_once"] == 1]
    if not measured:
        return
    numbers = list(measured[0]["group_speeds"])
    print("\nrollouts without learning, by groups of environments, agent steps/s")
    lines = [
        (row["baseline"], *(display.count(row["group_speeds"][n]) for n in numbers), str(row["environment_groups"]))
        for row in measured
    ]
    print(display.table(("baseline", *numbers, "taken"), lines))


def _memory(row: dict[str, Any]) -> str:
    on_device = row["device_peak_bytes"]
    of_device = "" if on_device is None else f", {display.size(on_device)} on the GPU"
    return f"peak memory {display.size(row['peak_bytes'])}{of_device}"


def _show(parsed: argparse.Namespace) -> int:
    from suite import bench_tables

    if parsed.show is not None and parsed.compare is not None:
        raise UserError("give --show or --compare, not both")
    given = [f"--{name}" for name, default in _MEASURING.items() if getattr(parsed, name) != default]
    if given:
        flag = "--show" if parsed.compare is None else "--compare"
        raise UserError(f"{flag} measures nothing and prints Markdown; leave out {', '.join(given)}")
    if parsed.compare is not None:
        before, after = map(bench_tables.read, parsed.compare)
        print(f"before: {bench_tables.machine(before)}\nafter: {bench_tables.machine(after)}\n")
        print(bench_tables.compare(before, after))
        return 0
    facts = bench_tables.read(parsed.show)
    print(f"{bench_tables.machine(facts)}\n\n{bench_tables.tables(facts)}")
    return 0


def _speed(speeds: tuple[float, ...]) -> str:
    return f"{display.count(statistics.median(speeds))} ({display.count(min(speeds))} - {display.count(max(speeds))})"


def _or_dash(spell: Callable[[float], str], value: float | None) -> str:
    return "-" if value is None else spell(value)
