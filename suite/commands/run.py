"""Trains every run of the matrix games x baselines x seeds that is not done yet, or just what a claim still lacks.

A run that was stopped goes on exactly where it was; a finished one is skipped. One run that fails does not stop the
others. Ctrl-C stops at the next checkpoint, a second one at once. Progress goes to stderr, the table of what became of
the runs to stdout.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import is_own
from results.lock import writer_here
from results.schema import FIRST_PROTOCOL, RunSpec, format_frames
from results.store import run_directory, scan
from suite import arguments, cluster_flags, display, flags
from suite.arguments import parse_path
from suite.cluster_flags import OnRay
from suite.errors import UserError
from suite.executors import LocalExecutor, Outcome, Supervision
from suite.own_code import own_files, tell, try_own
from suite.own_shipping import pack_own
from suite.plan import RunState, budget_notes, refuse_many_groups, refuse_unusable, wanted_states
from suite.run_files import RUN_LOG_FILE
from suite.run_messages import RunOptions
from suite.run_queue import expected_seconds

if TYPE_CHECKING:
    from suite.dry_run import DryRun

NAME = "run"
SUMMARY = "train what is not done yet"
EXAMPLES = """\
  python -m suite run --games pong --frames 4M --baselines pqn --seeds 1
  python -m suite run --games pong,breakout --frames 200k --seeds 0,4 --jobs 2
  python -m suite run --games atari10 --frames 40M --device cuda --jobs 4
  python -m suite run --games atari57 --frames 200M --dry-run
  python -m suite run --claim c51-70 --dry-run
  python -m suite run --claim bf16-alike --seeds 10          more seeds than the three that a verdict needs
  python -m suite run --games breakout --frames 4M --protocol dopamine       # sticky actions, no life information
  python -m suite run --games atari57 --frames 200M --executor ray --gpus-per-run 0.25
  python -m suite run --games atari5 --frames 40M --baselines pqn,narrow.toml    # with one of your own
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_selection(parser, "which runs (games and frames, or a claim, are required)")
    parser.add_argument("--claim", metavar="ID", help="instead of a matrix: the runs that a claim lacks")
    parser.add_argument(
        "--claims", type=parse_path, metavar="FILE", help="claims of your own, as TOML, beside the suite's"
    )
    group = parser.add_argument_group("how and where")
    group.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda (all GPUs) or cuda:N")
    group.add_argument(
        "--jobs",
        default="auto",
        metavar="N",
        help="runs at once (default: on a CPU what its cores and memory are enough for, else one a GPU)",
    )
    group.add_argument(
        "--threads",
        metavar="N",
        help="CPU threads of a run (default: cores / jobs; on a GPU: threads of its emulators, all cores)",
    )
    group.add_argument(
        "--groups",
        metavar="N",
        help="on a GPU, groups that PQN's environments step in (default: of a run alone the fastest of 2, 3 and "
        "4, measured; of several at once 3)",
    )
    group.add_argument(
        "--restarts",
        default="1",
        metavar="N",
        help="how often a run that crashes or hangs is started again (default: 1)",
    )
    group.add_argument(
        "--hang-minutes",
        default="30",
        metavar="N",
        help="a run without a sign of life for N minutes hangs (default: 30)",
    )
    cluster_flags.add_cluster(group)
    cluster_flags.add_needs(group)
    group.add_argument("--plain", action="store_true", help="no fast path: the plain composition of every layer")
    flags.add_results(group)
    group.add_argument("--dry-run", action="store_true", help="only say what would be run, and what it needs")
    group.add_argument("--rows", action="store_true", help="with --dry-run: a row for every run too")
    flags.add_json(group)


def run(parsed: argparse.Namespace) -> int:
    results = arguments.results_folder(parsed.results)
    specs = _matrix(parsed) if parsed.claim is None else _lacking(parsed, results)
    wanted_jobs = None if parsed.jobs == "auto" else arguments.parse_jobs(parsed.jobs)
    supervision = Supervision(
        restarts=arguments.parse_restarts(parsed.restarts),
        silent_seconds=60.0 * arguments.parse_minutes(parsed.hang_minutes),
    )
    threads = None if parsed.threads is None else arguments.parse_threads(parsed.threads)
    cluster = cluster_flags.parse_cluster(parsed)
    devices = ("cpu",) if cluster else arguments.parse_device(parsed.device)
    groups = None if parsed.groups is None else arguments.parse_groups(parsed.groups, devices)
    if parsed.claim is not None and not specs:
        print('{"runs": []}' if parsed.json else f"claim {parsed.claim} lacks no run; see: python -m suite report")
        return 0
    baselines = dict.fromkeys(spec.baseline for spec in specs)
    tell(try_own(baselines), sys.stderr)
    notes = budget_notes(specs)
    refuse_many_groups(baselines, groups)
    states = wanted_states(specs, results)
    refuse_unusable(states)
    left = [state.spec for state in states if state.state != "done" and state.spec]
    from suite.estimate import at_once

    jobs = wanted_jobs or at_once(left, devices, threads=threads)
    if parsed.dry_run:
        dry = _dry_run(states, results, jobs, devices, cluster)
        _tell(*notes)
        print(dry.as_json() if parsed.json else dry.as_text(rows=parsed.rows))
        return 0
    if parsed.rows:
        raise UserError("--rows goes with --dry-run; leave it out, or add --dry-run")
    arguments.writable_folder(results)
    by_spec = {state.spec: Outcome(state.spec, "skipped") for state in states if state.state == "done" and state.spec}
    if by_spec:
        print(f"{display.plural(len(by_spec), 'run')} of {len(specs)} done already", file=sys.stderr)
    # Known before anything is set up, and before its log is touched; the lock keeps out what begins in between.
    held = {spec: who for spec in left if (who := writer_here(run_directory(results, spec)))}
    by_spec |= {
        spec: Outcome(spec, "failed", f"another process ({who}) is training it; wait for it, or stop it first")
        for spec, who in held.items()
    }
    states = [state for state in states if state.spec not in held]
    left = [spec for spec in left if spec not in held]
    if left:
        _tell_changed_code(results)
    if left and cluster:
        by_spec |= {outcome.spec: outcome for outcome in _train_on_cluster(states, results, cluster, supervision)}
    elif left:
        own, plain = own_files(baselines), parsed.plain
        slots = _slots(len(left), jobs=jobs, threads=threads, devices=devices, groups=groups, plain=plain, own=own)
        by_spec |= {outcome.spec: outcome for outcome in _train(left, results, slots, supervision)}
    outcomes = [by_spec[spec] for spec in specs]
    _print_outcomes(outcomes, results, as_json=parsed.json)
    return _tell_what_is_left(outcomes, results, parsed)


def _dry_run(
    states: Sequence[RunState], results: Path, jobs: int, devices: Sequence[str], cluster: OnRay | None
) -> DryRun:
    from suite.dry_run import DryRun
    from suite.gpu_memory import gpu_needs

    left = [state.spec for state in states if state.state != "done" and state.spec]
    if cluster:
        nodes = cluster_flags.nodes_for(cluster, left, results, _tell)
        return DryRun.of(states, results, jobs=nodes.slots, device=cluster.device, nodes=len(nodes.fit))
    gpus = gpu_needs(left, [devices[i % len(devices)] for i in range(min(jobs, len(left)))])
    return DryRun.of(states, results, jobs=jobs, device=devices[0].partition(":")[0], gpus=gpus)


def _matrix(parsed: argparse.Namespace) -> tuple[RunSpec, ...]:
    if parsed.claims is not None:
        raise UserError("--claims goes with --claim ID; leave it out, or name the claim")
    selection = flags.parse_selection(parsed)
    if selection.games is None:
        raise UserError("--games is missing; give atari10, atari57 or names such as pong,breakout")
    if selection.frames is None:
        raise UserError("--frames is missing; give a budget such as 200k (a quick look), 4M, 40M or 200M")
    return selection.matrix()


def _tell_changed_code(results: Path) -> None:
    from suite.provenance import revision

    found = revision(results)
    if found is not None and not found["clean"]:
        _tell("note: the code of this checkout is changed; manifests say so, and such runs cannot be sent in")


def _lacking(parsed: argparse.Namespace, results: Path) -> tuple[RunSpec, ...]:
    """The runs that the claim still needs. Raises ReportsError for a claim that there is not."""
    given = [f"--{name}" for name in ("games", "frames") if getattr(parsed, name) is not None]
    if given:
        raise UserError(f"--claim says which runs; leave out {', '.join(given)}")
    if parsed.baselines is not None and parsed.claims is None:
        raise UserError("--claim says which runs; --baselines beside it goes with claims of your own, --claims FILE")
    own = () if parsed.baselines is None else arguments.parse_baselines(parsed.baselines)
    if pinned := [name for name in own if not is_own(name)]:
        raise UserError(
            f"--claim says which runs; --baselines beside it takes files of your own alone, so leave out "
            f"{', '.join(pinned)}"
        )
    seeds = {} if parsed.seeds is None else {"seeds": arguments.parse_seed_count(parsed.seeds)}
    from reports.judging.missing import missing_runs
    from suite.catalogue import catalogue
    from suite.own_catalogue import with_given, with_own

    protocol = arguments.parse_protocol(parsed.protocol)
    if protocol != FIRST_PROTOCOL and parsed.claims is None:
        raise UserError(
            f"the paper's claims are judged on the protocol {FIRST_PROTOCOL} alone; leave out --protocol {protocol}, "
            "or give claims of your own with --claims FILE"
        )
    known = catalogue(protocol)
    if parsed.claims is not None:  # the suite's own claims are about the suite's baselines
        known = with_given(with_own(known, [results]), own)
    specs = missing_runs(parsed.claim, results=results, catalogue=known, claims_file=parsed.claims, **seeds)
    for info in known.baselines:
        if info.is_own and info.name not in own and any(spec.baseline == info.name for spec in specs):
            arguments.parse_baselines(info.file)  # the code that its runs keep
    return tuple(specs)


def _slots(
    runs: int,
    *,
    jobs: int,
    threads: int | None,
    devices: Sequence[str],
    groups: int | None,
    plain: bool,
    own: tuple[Path, ...],
) -> list[RunOptions]:
    """The options of each of the places where so many runs are worked at."""
    from suite.cores import available_cores
    from suite.machine import thread_share

    # Written into the manifest: sums split over another number of threads round differently.
    torch_threads, emulator_threads = thread_share(devices[0], threads=threads, jobs=jobs, cores=available_cores())
    jobs = min(jobs, runs)
    return [
        RunOptions(
            device=devices[i % len(devices)],
            threads=torch_threads,
            emulator_threads=emulator_threads,
            jobs=jobs,
            groups=groups,
            plain=plain,
            own=own,
        )
        for i in range(jobs)
    ]


def _train(
    specs: Sequence[RunSpec], results: Path, slots: Sequence[RunOptions], supervision: Supervision
) -> list[Outcome]:
    from suite.gpu_memory import refuse_crowded_gpus
    from suite.host_memory import tell_short_memory
    from suite.missing_paths import missing_paths
    from suite.mps import shared_gpus
    from suite.progress import progress_display

    refuse_crowded_gpus(specs, [slot.device for slot in slots])
    tell_short_memory(specs, len(slots), on_gpu=slots[0].device != "cpu", tell=_tell)
    _tell(*budget_notes(specs))
    names = sorted({spec.baseline for spec in specs})
    if not slots[0].plain:
        for line in missing_paths(slots[0].device, names, slots[0].own):
            _tell(f"note: runs plain, which is slower: {line}")
    with (
        shared_gpus([slot.device for slot in slots], tell=_tell),
        progress_display(sys.stderr, len(specs)) as progress,
    ):
        return LocalExecutor(results, slots, supervision).run(specs, progress)


def _train_on_cluster(
    states: Sequence[RunState], results: Path, cluster: OnRay, supervision: Supervision
) -> list[Outcome]:
    """Runs what is not done on the cluster; says what came home."""
    from suite.estimate import measured_speeds
    from suite.fleet_progress import FleetProgress

    frames_left = {state.spec: state.spec.frames - state.frames_done for state in states if state.spec}
    left = [state.spec for state in states if state.spec and state.state != "done"]
    own = pack_own(spec.baseline for spec in left)
    nodes = cluster_flags.nodes_for(cluster, left, results, _tell)
    from suite.ray_executor import RayExecutor

    runs = f"{display.plural(len(nodes.fit), 'node')}, {display.plural(nodes.slots, 'run')} at once"
    _tell(f"{runs}; their logs: python -m suite status --log RUN", *budget_notes(left))
    seconds = expected_seconds(states, measured_speeds(scan(results), cluster.device))
    with FleetProgress(sys.stderr, {spec: frames_left[spec] for spec in left}) as progress:
        nodes.tell = progress.note
        executor = RayExecutor(
            results,
            cluster.options(),
            supervision,
            nodes,
            cluster.needs,
            seconds,
            shared=cluster.shared,
            own=own,
        )
        outcomes = executor.run(left, progress)
    if executor.parcels:
        _tell(what_came_home(executor.parcels, executor.bytes_kept, len(left)))
    return outcomes


def what_came_home(parcels: int, kept: Mapping[str, int], runs: int) -> str:
    """One line: bytes and parcels, of all runs and of each on average, and how the bytes divide. `kept`: by kind."""
    total = sum(kept.values())
    kinds = ", ".join(f"{kind} {display.size(size)}" for kind, size in sorted(kept.items()) if size)
    return (
        f"{display.size(total)} came home in {display.plural(parcels, 'parcel')}, of each run "
        f"{display.size(total / runs)} in {parcels / runs:.1f} on average ({kinds})"
    )


def _tell(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _print_outcomes(outcomes: list[Outcome], results: Path, *, as_json: bool) -> None:
    states = wanted_states([outcome.spec for outcome in outcomes], results)
    if as_json:
        rows = [
            {
                **state.as_row(),
                "result": outcome.result,
                "reason": outcome.reason,
                "restarts": list(outcome.restarts),
            }
            for outcome, state in zip(outcomes, states, strict=True)
        ]
        print(json.dumps({"runs": rows}, indent=2))
        return
    print(
        display.table(
            ("baseline", "game", "frames", "seed", "result", "frames done", "score", "games", "frames/s"),
            [
                (
                    outcome.spec.baseline,
                    outcome.spec.game,
                    format_frames(outcome.spec.frames),
                    str(outcome.spec.seed),
                    outcome.result,
                    display.count(row["frames_done"]),
                    display.score(row["score"]),
                    display.count(row["games"]),
                    display.count(row["frames_per_second"]) if row["frames_per_second"] else "-",
                )
                for outcome, row in ((o, s.as_row()) for o, s in zip(outcomes, states, strict=True))
            ],
        ),
        flush=True,
    )


def _tell_what_is_left(outcomes: list[Outcome], results: Path, parsed: argparse.Namespace) -> int:
    """Names what failed and the commands that try again or go on. Returns the exit code."""
    for outcome in outcomes:
        for reason in outcome.restarts:
            print(f"{outcome.spec} was started again: {reason}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.result == "failed"]
    stopped = [outcome for outcome in outcomes if outcome.result in ("interrupted", "not started")]
    if failed:
        print(f"\n{len(failed)} of {display.plural(len(outcomes), 'run')} failed:", file=sys.stderr)
        for outcome in failed:
            log = results / outcome.spec.directory / RUN_LOG_FILE
            print(f"  {outcome.spec}: {outcome.reason} (log: {log})", file=sys.stderr)
        _print_commands("try again with:", failed, parsed)
    if stopped:
        print(f"\nstopped with {display.plural(len(stopped), 'run')} left", file=sys.stderr)
        _print_commands("go on with:", stopped, parsed)
        return 130
    return 1 if failed else 0


def _print_commands(title: str, outcomes: list[Outcome], parsed: argparse.Namespace) -> None:
    print(title, file=sys.stderr)
    for selection in flags.spell_selection([outcome.spec for outcome in outcomes]):
        print(f"  python -m suite run {selection}{_spell_options(parsed)}", file=sys.stderr)


def _spell_options(parsed: argparse.Namespace) -> str:
    given = [
        ("--device", parsed.device, "auto"),
        ("--jobs", parsed.jobs, "auto"),
        ("--threads", parsed.threads, None),
        ("--groups", parsed.groups, None),
        ("--restarts", parsed.restarts, "1"),
        ("--hang-minutes", parsed.hang_minutes, "30"),
        ("--results", str(parsed.results), str(flags.DEFAULT_RESULTS)),
    ]
    spelled = "".join(f" {flag} {shlex.quote(value)}" for flag, value, default in given if value != default)
    cluster = cluster_flags.parse_cluster(parsed)
    return spelled + (cluster.spelled() if cluster else "") + (" --plain" if parsed.plain else "")
