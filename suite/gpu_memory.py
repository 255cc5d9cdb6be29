"""Whether as many runs as are asked for fit onto the GPUs, told before any of them starts."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence

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


def refuse_crowded_gpus(
    specs: Sequence[RunSpec], devices: Sequence[str], *, free: Callable[[str], int | None] = free_bytes
) -> None:
    """Refuses more runs at once than fit.

    Args:
        specs: the runs; any of them may meet any other, so the largest count.
        devices: what each job computes on, one entry a job.
    Raises: UserError with the number of jobs that fits. A GPU whose free memory can't be learned is let pass.
    """
    needs = sorted((device_bytes(spec) for spec in specs), reverse=True)
    at_once = Counter(device for device in devices if device.startswith("cuda"))
    for device, jobs in at_once.items():
        needed = sum(needs[:jobs])
        available = free(device)
        if available is None or needed <= available:
            continue
        fit = max(count for count in range(jobs) if sum(needs[:count]) <= available)
        of_them = display.plural(min(jobs, len(needs)), "run")
        crowded = f"{device}: {of_them} at once need about {display.size(needed)}, {display.size(available)} are free"
        if fit == 0:
            raise UserError(f"{crowded}; not even the largest run alone fits: free that GPU, or take another --device")
        raise UserError(f"{crowded}; {fit} fit: give --jobs {fit * len(at_once)}")
