"""Runs the Triton kernels in Triton's interpreter, on the CPU; exits with the number of cases that differ.

A program of its own: the interpreter is chosen by TRITON_INTERPRET before triton is imported.
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3])]

from block_cases import SMALL, block, exact, inputs, largest_difference, with_gradients  # noqa: E402

from baselines.fast.triton_block import triton_block  # noqa: E402

# The interpreter cuts bfloat16 off where a GPU rounds: twice the error.
ALLOWED = {torch.float32: 5e-5, torch.bfloat16: 8e-3}

failed = 0
for case in SMALL:
    for dtype, allowed in ALLOWED.items():
        tensors = inputs(case, dtype=dtype, images=2)
        found = with_gradients(block(triton_block, case, tensors), tensors)
        difference = largest_difference(found, exact(case, tensors))
        with torch.no_grad():
            without = block(triton_block, case, tensors)
        problems = [
            *(["too far"] if not difference < allowed else []),
            *(["other types"] if {tensor.dtype for tensor in (*found, without)} != {dtype} else []),
            *(["other values without gradients"] if not torch.equal(without, found[0]) else []),
        ]
        print(f"{case} {dtype}: {difference:.1e} {', '.join(problems)}")
        failed += bool(problems)
sys.exit(failed)
