import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from block_cases import ABLATIONS, CASES, INTERPRETED, block, exact, inputs, largest_difference, with_gradients

from baselines.fast import triton_block
from baselines.fast.fused_block import fused_block


def release(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(package).split(".")[:2])


def test_the_kernels_give_the_plain_composition_in_tritons_interpreter():
    if triton_block.why_not() is not None:
        pytest.skip(triton_block.why_not())
    if release("triton") < (3, 7) and release("numpy") >= (2, 4):
        pytest.skip("Triton's interpreter before 3.7 makes numbers of arrays, which numpy refuses since 2.4")
    script = Path(__file__).parent / "interpreted_triton.py"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("two tensors") == 2 * len(INTERPRETED) == 18  # in both types
    assert done.stdout.count("one tensor") == 2 * sum(not case.single for case in INTERPRETED)
    assert done.stdout.count("trial of") == 6


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 5e-5), (torch.bfloat16, 5e-3)], ids=str)
@pytest.mark.parametrize("case", [*CASES, *ABLATIONS], ids=str)
def test_the_kernels_give_the_plain_composition_on_a_gpu(cuda, case, dtype, allowed):
    tensors = inputs(case, dtype=dtype)
    expected = exact(case, tensors)
    there = [tensor.detach().to(cuda).requires_grad_() for tensor in tensors]
    assert largest_difference(with_gradients(block(fused_block, case, there), there), expected) < allowed
