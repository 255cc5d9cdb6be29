"""Measures how fast every baseline trains on this machine, plain and fast side by side.

Each baseline and path has a process of its own, one after the other, so that none inherits another's allocator or
threads. Ratios are of medians of one run of this module; absolute numbers are this machine's, at this moment.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from baselines.code import prints_aside
from baselines.emulator.envs import FRAME_SKIP
from results.games import GAMES
from results.schema import FIRST_PROTOCOL
from suite.fresh_processes import SPAWN, Stopped, in_processes
from suite.mps import shared_gpus
from suite.own_code import own_files
from suite.protocol import load_protocol
from suite.stop_signals import StopSignals

if TYPE_CHECKING:  # it imports torch
    from baselines.speed import Stretch

FAST, PLAIN, SINGLE = "fast", "plain", "one environment"
WORTHLESS_SPREAD = 0.25  # of the median, from the slowest to the fastest repeat: a ratio of such figures says nothing
BUSY_PERCENT = 10.0  # of all cores, by others
EMULATOR_ENVIRONMENTS = (136, 16)  # of PQN, of the replay agents


@dataclass(frozen=True)
class Job:
    """What one process measures."""

    baseline: str
    path: str  # FAST, PLAIN, or SINGLE: plain, and a replay agent with one environment, as its papers have it
    game: str
    device: str
    threads: int
    repeats: int
    at_once: int = 1  # processes that train at the same time, a run each
    own: tuple[Path, ...] = ()  # the baseline's file, if it is a user's own
    protocol: str = FIRST_PROTOCOL

    @property
    def label(self) -> str:
        """The path, and how many runs shared the machine if not one."""
        return self.path if self.at_once == 1 else f"{self.path}, {self.at_once} runs"

    def __str__(self) -> str:
        return f"{self.baseline}, {self.label}"


@dataclass(frozen=True)
class Measured:
    """Agent steps a second, a number a repeat."""

    job: Job
    loop: tuple[float, ...]  # of all runs together
    acting: tuple[float, ...]
    learning: tuple[float, ...]
    shares: dict[str, float]  # of the loop's time
    fast_paths: tuple[str, ...]
    missed: tuple[str, ...]
    peak_bytes: int  # of a process
    device_peak_bytes: int | None  # that torch reserved on a GPU; None on a CPU
    groups: int  # of environments
    group_speeds: dict[int, float]  # rollouts without learning, agent steps a second, where the number was chosen so
    cpu_seconds_per_agent_step: float  # processor time of a run while it trains, by the median of the repeats


@dataclass(frozen=True)
class Bench:
    """Everything one run of the benchmark found."""

    emulator: dict[int, tuple[float, ...]]  # number of environments -> agent steps a second, a number a repeat
    measured: tuple[Measured, ...]
    planned: int  # how many there are of `measured` if nobody stops it

    @property
    def is_complete(self) -> bool:
        return len(self.measured) == self.planned

    def rows(self) -> list[dict[str, Any]]:
        """A row a baseline and path: medians, spread, and the ratios that the goals are stated in."""
        rows = []
        plain, single, one_run = (
            {m.job.baseline: statistics.median(m.loop) for m in self.measured if m.job.label == path}
            for path in (PLAIN, SINGLE, FAST)
        )
        fastest = max((statistics.median(speeds) for speeds in self.emulator.values()), default=float("nan"))
        for m in self.measured:
            loop = statistics.median(m.loop)
            is_alone = m.job.at_once == 1  # else what a process does alone, nothing was
            acting, learning = (statistics.median(part) if is_alone else None for part in (m.acting, m.learning))
            rows.append(
                {
                    "baseline": m.job.baseline,
                    "path": m.job.path,
                    "runs_at_once": m.job.at_once,
                    "label": m.job.label,
                    "agent_steps_per_second": loop,
                    "slowest": min(m.loop),
                    "fastest": max(m.loop),
                    "is_worthless": (max(m.loop) - min(m.loop)) / loop > WORTHLESS_SPREAD,
                    "frames_per_second": loop * FRAME_SKIP,
                    "acting_alone": acting,
                    "learning_alone": learning,
                    "share_of_emulator": loop / fastest,
                    "share_of_learning_alone": loop / learning if learning else None,
                    "over_plain": loop / plain[m.job.baseline] if m.job.baseline in plain else None,
                    "over_one_environment": loop / single[m.job.baseline] if m.job.baseline in single else None,
                    "over_one_run": loop / one_run[m.job.baseline] if m.job.baseline in one_run else None,
                    "time_shares": m.shares,
                    "fast_paths": list(m.fast_paths),
                    "missed": list(m.missed),
                    "peak_bytes": m.peak_bytes,
                    "device_peak_bytes": m.device_peak_bytes,
                    "environment_groups": m.groups,
                    "group_speeds": {str(number): speed for number, speed in m.group_speeds.items()},
                    "cpu_seconds_per_agent_step": m.cpu_seconds_per_agent_step,
                    "repeats": list(m.loop),
                }
            )
        return rows


def run_bench(
    baselines: Sequence[str],
    *,
    game: str,
    device: str,
    threads: int,
    repeats: int,
    paths: Sequence[str],
    at_once: int,
    tell: Callable[[str], None],
    protocol: str = FIRST_PROTOCOL,
) -> Bench:
    """Measures every baseline on every path, and the emulator alone.

    Ctrl-C and SIGTERM end it early, with what is measured by then. Call it from the main thread.

    Args:
        at_once: if above 1, also this many runs of each baseline together on the fast path, the threads shared out.
        tell: hears what is measured next, in a line.
    """
    own = {name: own_files([name]) for name in baselines}
    jobs = [
        Job(name, path, game, device, threads, repeats, own=own[name], protocol=protocol)
        for name in baselines
        for path in paths
    ]
    jobs = [job for job in jobs if job.path != SINGLE or _learns_from_replay(job.baseline)]
    if at_once > 1:
        shared = threads if device.startswith("cuda") else max(1, threads // at_once)
        jobs += [Job(name, FAST, game, device, shared, repeats, at_once, own[name], protocol) for name in baselines]
    emulator: dict[int, tuple[float, ...]] = {}
    measured: list[Measured] = []
    with suppress(Stopped), StopSignals() as signals:
        for environments in EMULATOR_ENVIRONMENTS:
            tell(f"measuring the emulator alone, {environments} environments")
            work = (_measure_emulator, game, protocol, environments, threads, repeats)
            (emulator[environments],) = _in_processes(1, signals, *work)
        for number, job in enumerate(jobs, 1):
            tell(f"measuring {number} of {len(jobs)}: {job}")
            with shared_gpus([device] * job.at_once, tell=tell):
                measured.append(_measure_together(job, signals))
    return Bench(emulator, tuple(measured), len(jobs))


def busy_percent(seconds: float = 2.0) -> float:
    """How much of the machine others use now, in per cent of all its cores; waits `seconds`."""
    return psutil.cpu_percent(interval=seconds)


def _learns_from_replay(baseline: str) -> bool:
    from baselines.registry import describe

    return "replay_transitions" in describe(baseline).values


def _in_processes(count: int, signals: StopSignals, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`in_processes`, which meet at `_barrier`."""
    meeting = (SPAWN.Barrier(count),)
    return in_processes(count, signals, function, *arguments, begin=_meet_at, begin_with=meeting)


def _measure_together(job: Job, signals: StopSignals) -> Measured:
    """Measures `job.at_once` agents at the same time: what they get done together while all of them train."""
    found = _in_processes(job.at_once, signals, _measure, job)
    return dataclasses.replace(
        found[0][0], loop=tuple(_joint_speed(at_a_time) for at_a_time in zip(*(loop for _, loop in found), strict=True))
    )


def _joint_speed(stretches: Sequence[Stretch]) -> float:
    """Agent steps a second of all, from when the first began until the last had ended."""
    seconds = max(stretch.ended for stretch in stretches) - min(stretch.began for stretch in stretches)
    return sum(stretch.agent_steps for stretch in stretches) / seconds


_barrier: Barrier  # of a process that `_in_processes` started


def _meet_at(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _measure_emulator(game: str, protocol: str, environments: int, threads: int, repeats: int) -> tuple[float, ...]:
    from baselines.speed import measure_emulator

    config = load_protocol(protocol).environment
    return measure_emulator(GAMES[game].envpool_id, config, environments, threads, repeats)


def _measure(job: Job) -> tuple[Measured, tuple[Stretch, ...]]:
    try:
        with prints_aside():  # this process writes to the same stdout as the one that prints the measurement
            return _measure_one(job)
    except BaseException:
        _barrier.abort()  # or the others would wait for this one
        raise


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _measure_one(job: Job) -> tuple[Measured, tuple[Stretch, ...]]:
    import torch

    from baselines.agent import Task, environment_groups
    from baselines.emulator.group_choice import groups_of_few
    from baselines.registry import add_own, load_pinned, make_agent
    from baselines.speed import measure
    from suite.machine import prepare, thread_share
    from suite.opening import chosen_groups
    from suite.run_messages import RunOptions

    device = torch.device(job.device)
    torch_threads, emulator_threads = thread_share(job.device, threads=job.threads, jobs=1, cores=job.threads)
    options = RunOptions(job.device, torch_threads, emulator_threads, jobs=job.at_once, plain=job.path != FAST)
    prepared = prepare(device, threads=torch_threads, plain=options.plain)
    for file in job.own:
        add_own(file)
    pinned = load_pinned(job.baseline)
    config, frames = pinned.config.for_measuring(
        on_gpu=device.type == "cuda", environments=1 if job.path == SINGLE else None
    )
    task = Task(
        GAMES[job.game].envpool_id,
        load_protocol(job.protocol).environment,
        budget_frames=frames,
        seed=0,
        device=device,
        emulator_threads=emulator_threads,
        plain=options.plain,
        groups=chosen_groups(options, None, groups_of_few(config)),
    )
    agent = make_agent(dataclasses.replace(pinned, config=config), task)
    speed = measure(agent, job.repeats, together=_barrier.wait)
    agent.close()
    peak = _peak_bytes()
    on_device = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
    paths = prepared + agent.paths
    cpu = statistics.median(stretch.cpu_seconds / stretch.agent_steps for stretch in speed.loop)
    return (
        Measured(
            job,
            (),
            speed.acting,
            speed.learning,
            speed.shares,
            paths.taken,
            paths.missed,
            peak,
            on_device,
            environment_groups(agent),
            dict(getattr(agent, "group_speeds", {})),
            cpu,
        ),
        speed.loop,
    )
