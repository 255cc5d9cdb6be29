"""What a plan would run, and what that needs, without running it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results.schema import format_frames
from results.store import scan
from suite import display
from suite.cores import available_cores
from suite.estimate import Estimate, estimate, measured_speeds
from suite.gpu_memory import GpuNeed
from suite.host_memory import HostNeed, free_bytes, host_need
from suite.plan import STATES, RunState
from suite.run_queue import plan_seconds


@dataclass(frozen=True)
class DryRun:
    """A plan with its needs, whole and by baseline."""

    states: Sequence[RunState]
    results: Path
    jobs: int
    device: str  # "cpu" or "cuda"
    needed: Estimate
    by_baseline: dict[str, Estimate]
    disk_free_bytes: int
    memory: HostNeed | None  # None for a cluster
    gpus: Sequence[GpuNeed] = ()
    nodes: int | None = None  # of a cluster that are fit; None for this machine
    cluster_seconds: float | None = None  # the plan's time there, in the order of its queue

    @classmethod
    def of(
        cls,
        states: Sequence[RunState],
        results: Path,
        *,
        jobs: int,
        device: str,
        gpus: Sequence[GpuNeed] = (),
        nodes: int | None = None,
    ) -> DryRun:
        found = list(scan(results))
        names = dict.fromkeys(state.spec.baseline for state in states if state.spec)
        left = [state.spec for state in states if state.spec and state.state not in ("done", "running")]

        def needs(some: Sequence[RunState]) -> Estimate:
            return estimate(some, found, jobs=jobs, device=device)

        return cls(
            states,
            results,
            jobs,
            device,
            needs(states),
            {name: needs([s for s in states if s.spec and s.spec.baseline == name]) for name in names},
            shutil.disk_usage(_existing(results)).free,
            host_need(left, jobs, on_gpu=device != "cpu") if nodes is None else None,
            gpus,
            nodes,
            None if nodes is None else plan_seconds(states, measured_speeds(found, device), jobs),
        )

    def as_json(self) -> str:
        facts = {
            "runs": [state.as_row() for state in self.states],
            "left": self.needed.runs,
            "jobs": self.jobs,
            "device": self.device,
            "disk_bytes": self.needed.disk_bytes,
            "disk_free_bytes": self.disk_free_bytes,
            "memory_bytes": self.needed.memory_bytes,
            "memory_free_bytes": self.memory and self.memory.free,
            "gpus": [dataclasses.asdict(gpu) for gpu in self.gpus],
            "seconds": None if self.needed.unmeasured else self._seconds,
            "seconds_measured": self._seconds,
            "nodes": self.nodes,
            "frames_per_second": dict(self.needed.speeds),
            "unmeasured": list(self.needed.unmeasured),
            "baselines": {
                name: {
                    "left": needed.runs,
                    "frames": needed.frames,
                    "seconds": needed.seconds,
                    "disk_bytes": needed.disk_bytes,
                }
                for name, needed in self.by_baseline.items()
            },
        }
        return json.dumps(facts, indent=2)

    def as_text(self, *, rows: bool) -> str:
        """A line a baseline and the sums; with `rows`, a line a run before them."""
        counts = {state: sum(s.state == state for s in self.states) for state in STATES}
        stands = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
        needed = self.needed
        return "\n".join(
            [
                *([self._rows(), ""] if rows else []),
                self._summary(),
                "",
                f"{display.plural(len(self.states), 'run')} ({stands}), {needed.runs} left to do on {self.device}, "
                f"{self.jobs} at once{self._hint()}{self._cluster()}",
                f"disk:   at most {display.size(needed.disk_bytes)} in {self.results} "
                f"({display.size(self.disk_free_bytes)} free)",
                f"memory: {self._memory()}",
                *(f"GPU:    {gpu}{' (the command would be refused)' * gpu.is_crowded}" for gpu in self.gpus),
                f"time:   {self._time() if needed.runs else 'none'}",
                *([] if rows else ["every run by itself: add --rows, or --json"]),
            ]
        )

    def _summary(self) -> str:
        return display.table(
            ("baseline", "runs", "left", "frames left", "time", "disk"),
            [
                (
                    name,
                    display.count(sum(s.spec is not None and s.spec.baseline == name for s in self.states)),
                    display.count(needed.runs),
                    display.count(needed.frames),
                    "unknown" if needed.seconds is None and needed.runs else display.duration(needed.seconds or 0),
                    display.size(needed.disk_bytes),
                )
                for name, needed in self.by_baseline.items()
            ],
        )

    def _rows(self) -> str:
        return display.table(
            ("baseline", "game", "frames", "seed", "state", "done"),
            [
                (
                    spec.baseline,
                    spec.game,
                    format_frames(spec.frames),
                    str(spec.seed),
                    state.state,
                    display.percent(state.fraction),
                )
                for state in self.states
                if (spec := state.spec)
            ],
        )

    def _hint(self) -> str:
        """How many runs the memory is enough for, where more would go at once on this machine's cores."""
        if self.device != "cpu" or self.nodes is not None or not self.needed.runs:
            return ""
        of_one = self.needed.memory_bytes / min(self.jobs, self.needed.runs)
        room = int(min(free_bytes() / of_one, available_cores(), self.needed.runs))
        return f" (cores and memory are enough for --jobs {room})" if room > self.jobs else ""

    def _memory(self) -> str:
        if self.memory is None:
            return f"about {display.size(self.needed.memory_bytes)}"
        if self.memory.is_hopeless:
            return f"{self.memory} (the command would be refused: {self.memory.advice})"
        return f"{self.memory}{f': {self.memory.advice}' * self.memory.is_short}"

    def _cluster(self) -> str:
        return "" if self.nodes is None else f" on the {display.plural(self.nodes, 'node')} that the cluster has now"

    @property
    def _seconds(self) -> float | None:
        return self.needed.seconds if self.nodes is None else self.cluster_seconds

    def _time(self) -> str:
        needed = self.needed
        measured = ", ".join(f"{name} {display.count(speed)} frames/s" for name, speed in needed.speeds.items())
        lacking = f"no run of {', '.join(needed.unmeasured)} on {self.device} has measured its speed yet"
        if self._seconds is None:
            return f"unknown: {lacking}"
        known = f"at the speeds of runs already there: {measured}"
        if not needed.unmeasured:
            return f"about {display.duration(self._seconds)}, {known}"
        rest = needed.runs_unmeasured
        return (
            f"about {display.duration(self._seconds)} for {needed.runs - rest} of the runs, {known}; "
            f"unknown for the other {rest}: {lacking}"
        )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
