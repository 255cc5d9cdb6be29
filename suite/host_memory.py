"""Whether as many runs as are asked for fit into this machine's memory, told before any of them starts.

A replay memory fills for an hour or more, and only then does the system kill the run that finds no room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import psutil

from baselines.registry import load_pinned
from results.schema import RunSpec
from suite import display
from suite.control_groups import memory_limits
from suite.errors import UserError


def free_bytes() -> int:
    """Memory that programs can have now; a container's limit, or a batch job's, counts."""
    left = (limit - used for limit, used in memory_limits())
    return max(0, min([psutil.virtual_memory().available, *left]))


def all_bytes() -> int:
    """Memory that programs could have if nothing else ran. Not what is swapped: no run trains out of that."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in memory_limits())])


def host_bytes(spec: RunSpec, *, on_gpu: bool) -> int:
    """Roughly what a run holds at its peak of the machine's memory; beside a GPU frames and learner lie there."""
    from baselines.memory_plan import memory_plan  # it imports torch

    plan = memory_plan(load_pinned(spec.baseline).config, spec.frames)
    return plan.bookkeeping + plan.process if on_gpu else plan.total


@dataclass(frozen=True)
class HostNeed:
    """What the runs that may meet need of memory, against what is free."""

    jobs: int  # at once
    needed: int  # bytes, by the largest runs: any may meet any other
    free: int  # bytes
    size: int  # bytes; all that there is
    fit: int  # of the largest runs, at most how many there are
    largest: int  # bytes of one run

    @property
    def is_short(self) -> bool:
        return self.needed > self.free

    @property
    def is_hopeless(self) -> bool:
        """Whether they would not fit if nothing else ran."""
        return self.needed > self.size

    @property
    def advice(self) -> str:
        """What to do where they do not fit."""
        if self.fit:
            return f"give --jobs {self.fit}"
        if self.largest > self.size:
            return "the largest run alone does not fit into this machine: take one with more memory"
        return "not even the largest run alone fits now: close other programs first"

    def __str__(self) -> str:
        runs = "1 run needs" if self.jobs == 1 else f"{display.plural(self.jobs, 'run')} at once need"
        return (
            f"{runs} about {display.size(self.needed)}, {display.size(self.free)} of {display.size(self.size)} are free"
        )


def host_need(specs: Sequence[RunSpec], jobs: int, *, on_gpu: bool) -> HostNeed:
    """What runs need of memory.

    Args:
        specs: the runs that are left to do.
        jobs: how many go at once.
    """
    needs = sorted((host_bytes(spec, on_gpu=on_gpu) for spec in specs), reverse=True)
    at_once, free = min(jobs, len(needs)), free_bytes()
    fit = sum(together <= free for together in accumulate(needs))
    return HostNeed(at_once, sum(needs[:at_once]), free, all_bytes(), fit, max(needs, default=0))


def tell_short_memory(specs: Sequence[RunSpec], jobs: int, *, on_gpu: bool, tell: Callable[[str], None]) -> None:
    """Tells in a line of runs that do not fit into what is free now, and what to do.

    Raises: UserError for runs that would not fit if nothing else ran.
    """
    need = host_need(specs, jobs, on_gpu=on_gpu)
    if need.is_hopeless:
        raise UserError(f"memory: {need}: {need.advice}")
    if need.is_short:
        tell(f"note: memory: {need}, and the system kills a run that finds no room: {need.advice}")
