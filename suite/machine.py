"""What a process sets once, before an agent is made: threads, the GPU, number formats, the allocator."""

from __future__ import annotations

import torch

from baselines.fast.paths import Paths, keep_freed_memory


def prepare(device: torch.device, *, threads: int, plain: bool) -> Paths:
    """Prepares this process to train on `device`, with `threads` of torch on the CPU.

    Returns: the fast paths that belong to the process rather than to an agent.
    """
    torch.set_num_threads(threads)
    if device.type == "cuda":
        use_gpu(device)
    return keep_freed_memory(plain=plain)


def use_gpu(device: torch.device) -> None:
    """Makes `device` the GPU that this process computes on, in the number formats that runs have."""
    if device.index is not None:
        torch.cuda.set_device(device)  # streams, graphs and Triton go to the current device
    torch.set_float32_matmul_precision("high")  # TF32, what float32 means on the paper's GPU
    # torch lets cuBLAS round partial sums to bfloat16; in bf16 every sum runs in float32, as it does on a CPU.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def thread_share(device: str, *, threads: int | None, jobs: int, cores: int) -> tuple[int, int]:
    """CPU threads of torch, and of the emulators, for each of `jobs` runs at once; `threads`: as the user asked for.

    On a CPU the runs share the cores out. With the learner on a GPU torch needs one thread, and more would spin beside
    the emulators; every run's emulators may use all cores, for while one run learns another one emulates.
    """
    if device.startswith("cuda"):
        return 1, threads or cores
    share = threads or max(1, cores // jobs)
    return share, share
