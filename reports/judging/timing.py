"""What a frame of a run took, and which runs may be compared in it.

On a CPU it is processor time, which a run beside other work has the same of; on a GPU, or where processor time was not
kept, it is wall time, of runs that had the machine to themselves. Times are compared on one machine, by one clock, and
between runs that took the same fast paths, a path aside that one of the two baselines does not have at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.processors import processor

# A fast path that every baseline has, by its name in manifests. A run whose manifest names it neither among those taken
# nor among those missed is older than the name: nobody knows which way it ran, and it made runs up to twice as slow.
ALLOCATOR = "freed memory kept"
PROCESSOR, WALL = "processor time", "wall time"
# What a manifest says of the machine that times depend on. A run that went on with another took some time on either.
_MACHINE = ("cpu", "instructions", "cores", "torch_threads", "device", "gpu")


@dataclass(frozen=True)
class Timing:
    """What a frame of a run took."""

    seconds_per_frame: float  # emulator frames
    clock: str  # PROCESSOR or WALL
    machine: str
    taken: frozenset[str] = frozenset()  # fast paths
    missed: frozenset[str] = frozenset()  # those that the baseline has, and this run did without
    is_gpu: bool = False

    @property
    def place(self) -> str:
        """Times are comparable within one."""
        return f"{self.machine}, {self.clock}"

    @property
    def where(self) -> str:
        return f"{self.place}, {paths_text([self])}"

    def is_like(self, other: Timing) -> bool:
        """Whether both took the same of the fast paths that both have."""
        ours, theirs = self.taken | self.missed, other.taken | other.missed
        return self.taken & theirs == other.taken & ours


def paths_text(timings: list[Timing]) -> str:
    """Which paths runs took, in words."""
    if not any(timing.missed for timing in timings):
        return "fast path"
    taken = sorted(frozenset[str]().union(*(timing.taken for timing in timings)))
    return f"fast in part ({', '.join(taken)})" if taken else "plain path"


def timing_of(manifest: Mapping[str, Any]) -> tuple[Timing | None, str]:
    """The timing of a run, or None, and why it can't be compared with another's ("" where it can).

    A timing with such a reason is good for an estimate all the same.
    """
    hardware, frames = manifest["hardware"], manifest["frames_done"]
    taken = frozenset(hardware.get("fast_paths") or ())
    missed = frozenset(entry.split(":")[0] for entry in hardware.get("fast_paths_missed") or ())
    if ALLOCATOR not in taken | missed:
        return None, "not timed: the manifest does not say whether freed memory was kept"
    if not frames:
        return None, "not timed: nothing was trained"
    changes = [change for interruption in manifest["interruptions"] for change in interruption["changed"]]
    if moved := [change for change in changes if change.split(":")[0] in _MACHINE]:
        return None, f"not timed: it went on with another machine or share of it ({moved[0]})"
    is_gpu, doubt = bool(hardware.get("gpu")), ""
    if is_gpu:
        machine = str(hardware["gpu"])
    else:
        if not hardware.get("instructions"):
            doubt = "not timed: the manifest does not say which vector instructions the processor had"
        threads = hardware.get("torch_threads")
        machine = f"{processor(hardware)}, {hardware.get('cores')} cores, {threads} thread{'s' * (threads != 1)}"
        if manifest.get("cpu_seconds"):
            return Timing(manifest["cpu_seconds"] / frames, PROCESSOR, machine, taken, missed), doubt
    if hardware.get("jobs") != 1 or not manifest["wall_seconds"]:
        return None, "not timed: other runs went on beside it, and the wall time is theirs too"
    return Timing(manifest["wall_seconds"] / frames, WALL, machine, taken, missed, is_gpu), doubt
