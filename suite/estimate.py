"""What a plan will need: disk, memory and, once there are measured speeds, time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from baselines.emulator.envs import FRAME_SKIP
from baselines.families import BASELINES
from baselines.memory_plan import parameter_count
from baselines.registry import load_pinned
from baselines.replay.schedule import ReplayConfig
from results.schema import RunSpec
from results.store import BrokenRun, Run
from suite.cores import available_cores
from suite.host_memory import free_bytes, host_bytes
from suite.plan import RunState

# Upper bounds, rounded up from measured runs.
_SPARE_CHECKPOINTS = 2  # while a run trains: the one before, and the one that is being written
_TABLES_BYTES = 5_000_000  # episodes, metrics and timing of a 40M run
_PQN_CHECKPOINT_BYTES = 60_000_000  # Hadamax-PQN: 4.1 M weights with two moments each
_PQN_BYTES_PER_WEIGHT, _REPLAY_BYTES_PER_WEIGHT = 13, 17  # float32: itself, two moments, a target copy
_REPLAY_CHECKPOINT_BYTES = 150_000_000  # Rainbow: 7.5 M weights, a target copy, two moments each


@dataclass(frozen=True)
class Estimate:
    """For the runs that are left to do."""

    runs: int
    frames: int  # of emulator, still to be played
    disk_bytes: int  # at most; of all runs together, while the last of them train
    memory_bytes: int  # of the machine, not of its GPUs; of as many runs at once as there are jobs, the largest
    seconds: float | None  # of the runs whose baseline has a measured speed; None where none has
    speeds: Mapping[str, float]  # baseline -> measured frames/s, the median of runs on the same kind of device
    unmeasured: tuple[str, ...]  # baselines without one
    runs_unmeasured: int  # of `runs`, theirs


def estimate(states: Sequence[RunState], found: Iterable[Run | BrokenRun], *, jobs: int, device: str) -> Estimate:
    """What `states` still need on `device` ("cpu" or "cuda"), by the speeds of the runs `found` in the results."""
    left = [(state, state.spec) for state in states if state.state not in ("done", "running") and state.spec]
    baselines = tuple(dict.fromkeys(spec.baseline for _, spec in left))
    speeds = measured_speeds(found, device)
    timed = [(state, spec) for state, spec in left if spec.baseline in speeds]
    work = [(spec.frames - state.frames_done) / speeds[spec.baseline] for state, spec in timed]
    at_once = sorted((host_bytes(spec, on_gpu=device != "cpu") for _, spec in left), reverse=True)[:jobs]
    spare = sorted((_SPARE_CHECKPOINTS * checkpoint_bytes(spec) for _, spec in left), reverse=True)
    return Estimate(
        runs=len(left),
        frames=sum(spec.frames - state.frames_done for state, spec in left),
        disk_bytes=sum(disk_bytes(spec) for _, spec in left) + sum(spare[:jobs]),
        memory_bytes=sum(at_once),
        # Jobs work side by side, and a run is never split.
        seconds=max(sum(work) / jobs, max(work)) if work else None,
        speeds={name: speeds[name] for name in baselines if name in speeds},
        unmeasured=tuple(name for name in baselines if name not in speeds),
        runs_unmeasured=len(left) - len(timed),
    )


def measured_speeds(found: Iterable[Run | BrokenRun], device: str) -> dict[str, float]:
    """Baseline -> median frames/s of runs on that kind of device, whatever the machine was."""
    by_baseline: dict[str, list[float]] = {}
    for run in found:
        if isinstance(run, Run) and run.manifest["hardware"].get("device") == device and (speed := _speed(run)):
            by_baseline.setdefault(run.spec.baseline, []).append(speed)
    return {name: statistics.median(speeds) for name, speeds in by_baseline.items()}


def _speed(run: Run) -> float | None:
    """Frames/s: on a CPU by the less of wall time and processor time, for wall time has other work in it too."""
    wall, processor = run.manifest["frames_per_second"], run.manifest.get("cpu_seconds")
    if not wall or not processor or run.manifest["hardware"].get("device") != "cpu":
        return wall
    return max(wall, run.frames_done / processor)


def disk_bytes(spec: RunSpec) -> int:
    """At most what a run leaves on disk: an action log of one byte a step, a checkpoint, tables."""
    config = load_pinned(spec.baseline).config
    train, greedy = getattr(config, "train_environments", 1), getattr(config, "greedy_environments", 0)
    log = spec.frames / FRAME_SKIP * (train + greedy) / train
    return int(log) + checkpoint_bytes(spec) + _TABLES_BYTES


def checkpoint_bytes(spec: RunSpec) -> int:
    """At most what one checkpoint of a run has."""
    config = load_pinned(spec.baseline).config
    replays = isinstance(config, ReplayConfig)
    usual = _REPLAY_CHECKPOINT_BYTES if replays else _PQN_CHECKPOINT_BYTES
    if spec.baseline in BASELINES:
        return usual
    return max(usual, parameter_count(config) * (_REPLAY_BYTES_PER_WEIGHT if replays else _PQN_BYTES_PER_WEIGHT))


def at_once(specs: Sequence[RunSpec], devices: Sequence[str], *, threads: int | None) -> int:
    """How many runs go at once where nobody says it: one a GPU, on a CPU as many as cores and memory are enough for.

    On a CPU runs of one thread get more done together than one run on all cores, whose threads wait for each other.

    Args:
        devices: names as torch has them.
        threads: CPU threads of each run, if the user said.
    """
    if devices[0] != "cpu" or not specs:
        return len(devices)
    room = free_bytes() // max(host_bytes(spec, on_gpu=False) for spec in specs)
    return max(1, min(len(specs), available_cores() // (threads or 1), room))
