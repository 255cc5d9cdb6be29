"""Which fast paths runs would do without on this machine, told before any of them starts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def missing_paths(device: str, baselines: Collection[str], own: Collection[Path] = ()) -> list[str]:
    """A line for every path that a run of `baselines` would leave out on `device`, with its reason.

    A GPU is asked by a process of its own, which keeps half a gigabyte of it only until it ends. What the process
    compiled lies in the cache then, so that runs that start together do not compile it all at once.

    Args:
        own: files of baselines of the user's own.
    """
    if not device.startswith("cuda"):
        return _tried(device, baselines, own)
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_tried, device, baselines, own).result()
    except Exception as error:  # a note is worth no run: every run tries its paths itself
        return [f"paths could not be tried before the runs: {type(error).__name__}: {error}"]


def slow_precision(device: str, baselines: Collection[str]) -> str:
    """What a user should know of baselines that this device computes in software; "" where there are none."""
    import torch

    from baselines.networks.precision import computes_bf16_in_software
    from baselines.registry import describe

    slow = sorted(name for name in baselines if describe(name).values.get("precision") == "bf16")
    if not slow or not computes_bf16_in_software(torch.device(device)):
        return ""
    return (
        f"this processor has no bfloat16 instructions, so that {', '.join(slow)} will be several times slower than "
        "float32; train the baseline without -bf16 here, or these on another machine"
    )


def _tried(device: str, baselines: Collection[str], own: Collection[Path]) -> list[str]:
    import torch

    from baselines.path_trials import missing_paths as missing
    from baselines.registry import add_own

    for file in own:
        add_own(file)

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    return missing(device, baselines)
