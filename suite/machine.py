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
        torch.cuda.set_device(device)  # streams, graphs and Triton go to the current device
        torch.set_float32_matmul_precision("high")  # TF32, what float32 means on the paper's GPU
    return keep_freed_memory(plain=plain)
