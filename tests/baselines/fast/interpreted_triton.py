"""Runs the Triton kernels in Triton's interpreter, on the CPU; exits with the number of cases that differ.

A program of its own: the interpreter is chosen by TRITON_INTERPRET before triton is imported.
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from block_cases import SMALL, block, exact, inputs, largest_difference, with_gradients  # noqa: E402

from baselines.fast.triton_block import triton_block  # noqa: E402
from baselines.networks.pqn_encoders import F  # noqa: E402


def normed_first(a, b, norm_a, norm_b, norm, pooling):
    if norm.per_image:  # as `fused_block` does on a GPU
        a, b = (F.layer_norm(images, images.shape[1:], eps=norm.epsilon) for images in (a, b))
    return triton_block(a, b, norm_a, norm_b, norm, pooling)


failed = 0
for case in SMALL:
    tensors = inputs(case, images=2)
    difference = largest_difference(with_gradients(block(normed_first, case, tensors), tensors), exact(case, tensors))
    with torch.no_grad():
        without = block(normed_first, case, tensors)
    same = torch.equal(without, block(normed_first, case, tensors).detach())
    print(f"{case}: {difference:.1e}{'' if same else ', other values without gradients'}")
    failed += difference > 5e-5 or not same
sys.exit(failed)
