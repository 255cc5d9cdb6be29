"""Which fast paths runs would do without on this machine, told before any of them starts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from suite.fresh_processes import Stopped, in_processes
from suite.stop_signals import StopSignals


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
        with StopSignals() as signals:
            (lines,) = in_processes(1, signals, _tried, device, baselines, own)
        return lines
    except Stopped:
        raise KeyboardInterrupt from None
    except Exception as error:  # a note is worth no run: every run tries its paths itself
        return [f"paths could not be tried before the runs: {type(error).__name__}: {error}"]


def _tried(device: str, baselines: Collection[str], own: Collection[Path]) -> list[str]:
    import torch

    from baselines.path_trials import missing_paths as missing
    from baselines.registry import add_own
    from suite.machine import use_gpu

    for file in own:
        add_own(file)

    if device.startswith("cuda"):
        use_gpu(torch.device(device))
    return missing(device, baselines)
