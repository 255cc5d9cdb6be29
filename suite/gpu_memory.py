"""Whether as many runs as are asked for fit onto the GPUs, told before any of them starts."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from baselines.memory_plan import memory_plan
from baselines.registry import load_pinned
from results.schema import RunSpec
from suite import display
from suite.errors import UserError

_ASK_SECONDS = 120


def free_bytes(device: str) -> int | None:
    """Free memory of a GPU; None where that can't be learned.

    Asked by a process of its own: a process that asks keeps half a gigabyte of the GPU until it ends.
    """
    question = f"import torch; print(torch.cuda.mem_get_info({device!r})[0])"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question], capture_output=True, text=True, check=True, timeout=_ASK_SECONDS
        )
        return int(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def device_bytes(spec: RunSpec) -> int:
    """What a run takes of a GPU, roughly."""
    return memory_plan(load_pinned(spec.baseline).config, spec.frames).on_device


@dataclass(frozen=True)
class GpuNeed:
    """What the runs that may meet on one GPU need of it, against what is free there."""

    device: str
    jobs: int  # at once on this GPU
    needed: int  # bytes, by the largest runs: any may meet any other
    free: int | None  # bytes; None where that can't be learned
    fit: int | None  # of the largest runs, at most how many there are

    @property
    def is_crowded(self) -> bool:
        return self.free is not None and self.needed > self.free

    def __str__(self) -> str:
        runs = f"{self.device}: {display.plural(self.jobs, 'run')} at once need about {display.size(self.needed)}"
        if self.free is None:
            return f"{runs}; how much is free could not be learned"
        return f"{runs}, {display.size(self.free)} are free; {self.fit} fit"


def gpu_needs(
    specs: Sequence[RunSpec], devices: Sequence[str], *, free: Callable[[str], int | None] = free_bytes
) -> list[GpuNeed]:
    """What runs need of every GPU among `devices`.

    Args:
        specs: the runs that are left to do.
        devices: what each job computes on, one entry a job.
    """
    needs = sorted((device_bytes(spec) for spec in specs), reverse=True)
    found = []
    for device, jobs in Counter(device for device in devices if device.startswith("cuda")).items():
        at_once = min(jobs, len(needs))
        if at_once == 0:
            continue
        available = free(device)
        fit = None if available is None else max(n for n in range(len(needs) + 1) if sum(needs[:n]) <= available)
        found.append(GpuNeed(device, at_once, sum(needs[:at_once]), available, fit))
    return found


def refuse_crowded_gpus(
    specs: Sequence[RunSpec], devices: Sequence[str], *, free: Callable[[str], int | None] = free_bytes
) -> None:
    """Refuses more runs at once than fit.

    Args: as of `gpu_needs`.
    Raises: UserError with the number of jobs that fits. A GPU whose free memory can't be learned is let pass.
    """
    needs = gpu_needs(specs, devices, free=free)
    for need in needs:
        if not need.is_crowded:
            continue
        if not need.fit:
            raise UserError(f"{need}; not even the largest run alone fits: free that GPU, or take another --device")
        raise UserError(f"{need}: give --jobs {need.fit * len(needs)}")
