"""Measures how fast every baseline trains on this machine, plain and fast side by side.

Each baseline and path has a process of its own, one after the other, so that none inherits another's allocator or
threads. Ratios are of medians of one run of this module; absolute numbers are this machine's, at this moment.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from baselines.agent import FRAME_SKIP
from results.games import GAMES
from suite.protocol import PAPER, load_protocol

FAST, PLAIN, SINGLE = "fast", "plain", "one environment"


@dataclass(frozen=True)
class Job:
    """What one process measures."""

    baseline: str
    path: str  # FAST, PLAIN, or SINGLE: plain, and a replay agent with one environment, as its papers have it
    game: str
    device: str
    threads: int
    repeats: int

    def __str__(self) -> str:
        return f"{self.baseline}, {self.path}"


@dataclass(frozen=True)
class Measured:
    """Agent steps a second, a number a repeat."""

    job: Job
    loop: tuple[float, ...]
    acting: tuple[float, ...]
    learning: tuple[float, ...]
    shares: dict[str, float]  # of the loop's time
    fast_paths: tuple[str, ...]
    missed: tuple[str, ...]
    peak_bytes: int  # of the process


@dataclass(frozen=True)
class Bench:
    """Everything one run of the benchmark found."""

    emulator: dict[int, tuple[float, ...]]  # number of environments -> agent steps a second, a number a repeat
    measured: tuple[Measured, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row a baseline and path: medians, spread, and the ratios that the goals are stated in."""
        rows = []
        plain = {m.job.baseline: statistics.median(m.loop) for m in self.measured if m.job.path == PLAIN}
        single = {m.job.baseline: statistics.median(m.loop) for m in self.measured if m.job.path == SINGLE}
        fastest = max(statistics.median(speeds) for speeds in self.emulator.values())
        for m in self.measured:
            loop, learning = statistics.median(m.loop), statistics.median(m.learning)
            rows.append(
                {
                    "baseline": m.job.baseline,
                    "path": m.job.path,
                    "agent_steps_per_second": loop,
                    "slowest": min(m.loop),
                    "fastest": max(m.loop),
                    "frames_per_second": loop * FRAME_SKIP,
                    "acting_alone": statistics.median(m.acting),
                    "learning_alone": learning,
                    "share_of_emulator": loop / fastest,
                    "share_of_learning_alone": loop / learning,
                    "over_plain": loop / plain[m.job.baseline] if m.job.baseline in plain else None,
                    "over_one_environment": loop / single[m.job.baseline] if m.job.baseline in single else None,
                    "time_shares": m.shares,
                    "fast_paths": list(m.fast_paths),
                    "missed": list(m.missed),
                    "peak_bytes": m.peak_bytes,
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
    tell: Callable[[str], None],
) -> Bench:
    """Measures every baseline on every path, and the emulator alone; `tell` hears what is measured next."""
    jobs = [Job(name, path, game, device, threads, repeats) for name in baselines for path in paths]
    jobs = [job for job in jobs if job.path != SINGLE or _learns_from_replay(job.baseline)]
    emulator, measured = {}, []
    for environments in (136, 16):
        tell(f"the emulator alone, {environments} environments")
        emulator[environments] = _in_a_process(_measure_emulator, game, environments, threads, repeats)
    for number, job in enumerate(jobs, 1):
        tell(f"{number} of {len(jobs)}: {job}")
        measured.append(_in_a_process(_measure, job))
    return Bench(emulator, tuple(measured))


def _learns_from_replay(baseline: str) -> bool:
    from baselines.registry import describe

    return "replay_transitions" in describe(baseline).values


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _measure_emulator(game: str, environments: int, threads: int, repeats: int) -> tuple[float, ...]:
    from baselines.speed import measure_emulator

    environment = load_protocol(PAPER).environment
    return measure_emulator(GAMES[game].envpool_id, environment, environments, threads, repeats)


def _measure(job: Job) -> Measured:
    import dataclasses
    import resource

    import torch

    from baselines.fast import keep_freed_memory
    from baselines.registry import load_pinned, make_agent
    from baselines.speed import measure, shortened

    torch.set_num_threads(job.threads)
    if job.path == FAST:
        keep_freed_memory()
    if job.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    pinned = load_pinned(job.baseline)
    config, frames = shortened(pinned.config, environments=1 if job.path == SINGLE else None)
    agent: Any = make_agent(
        dataclasses.replace(pinned, config=config),
        load_protocol(PAPER).environment,
        GAMES[job.game].envpool_id,
        budget_frames=frames,
        seed=0,
        device=torch.device(job.device),
        emulator_threads=job.threads,
        plain=job.path != FAST,
    )
    speed = measure(agent, job.repeats)
    agent.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(
        job, speed.loop, speed.acting, speed.learning, speed.shares, agent.paths.taken, agent.paths.missed, peak
    )
