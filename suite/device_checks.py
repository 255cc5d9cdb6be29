"""Checks of what computes: the CUDA that torch was built for, the driver, and every fast path, proven on the device."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from suite.preflight import Check

_BUILDS = "https://pytorch.org/get-started/locally"


def check_cuda() -> Check:
    """Which CUDA torch was built for, and up to which one the driver goes; what to do where they do not fit."""
    import torch

    built, driver = torch.version.cuda, driver_cuda()
    torch_is = f"torch {torch.__version__} is built for {f'CUDA {built}' if built else 'the CPU alone'}"
    driver_is = f"the NVIDIA driver goes up to CUDA {driver}" if driver else "no NVIDIA driver is here"
    found = f"{torch_is}; {driver_is}"
    if built and driver and not torch.cuda.is_available():
        if _numbers(driver) < _numbers(built):
            advice = f"update the driver, or install a torch for CUDA {driver} or older ({_BUILDS})"
        else:
            advice = "no GPU can be used; check CUDA_VISIBLE_DEVICES and nvidia-smi"
        return Check("cuda", False, f"{found}: {advice}")
    if built and not driver:
        return Check("cuda", True, f"{found}: to train on a GPU, install its driver")
    if driver and not built:
        return Check("cuda", True, f"{found}: to train on the GPU, install a torch for CUDA ({_BUILDS})")
    return Check("cuda", True, found)


def driver_cuda() -> str | None:
    """The newest CUDA that the driver here knows, as "12.8"; None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0 or version.value == 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def check_paths(device: str) -> Iterator[Check]:
    """A row a fast path: proven on this device and how many times faster, or why the plain one is used.

    Without any of them everything works, only slower: no row fails, but for one that ends the trials because the GPU
    is full, or broken by a path.
    """
    import torch

    from baselines.fast.names import DeviceLost
    from baselines.path_trials import trials
    from suite.machine import use_gpu

    where = torch.device(device)
    if where.type == "cuda":
        use_gpu(where)
    number = 0
    try:
        for number, trial in enumerate(trials(where), 1):
            if trial.why_not is not None:
                found = f"the plain one is used, slower: {trial.why_not}"
            else:
                found = "proven" + (f", {trial.speed_up:.1f} times the plain one's speed" if trial.speed_up else "")
                found += f"; its speed could not be measured: {trial.why_untimed}" if trial.why_untimed else ""
            yield Check(f"fast path {number}", True, f"{trial.name}: {found}")
    except (torch.OutOfMemoryError, DeviceLost) as error:
        yield Check(f"fast path {number + 1}", False, " ".join(str(error).split()))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
