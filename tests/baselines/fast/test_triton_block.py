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


def interpreted(script: str) -> str:
    """What a program beside this file prints; it must exit with 0."""
    if triton_block.why_not() is not None:
        pytest.skip(triton_block.why_not())
    if release("triton") < (3, 7) and release("numpy") >= (2, 4):
        pytest.skip("Triton's interpreter before 3.7 makes numbers of arrays, which numpy refuses since 2.4")
    program = [sys.executable, str(Path(__file__).parent / script)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_a_fault_that_only_a_second_tile_shows_is_seen_by_every_proof_of_a_backward_kernel():
    told = interpreted("planted_faults.py").splitlines()
    assert sum(line.endswith(": proven") for line in told) == 4
    assert sum("is off by" in line for line in told) == 8


def test_the_kernels_give_the_plain_composition_in_tritons_interpreter():
    told = interpreted("interpreted_triton.py")
    assert told.count("two tensors") == 2 * len(INTERPRETED) == 18  # in both types
    assert told.count("one tensor") == 2 * sum(not case.single for case in INTERPRETED)
    assert told.count("trial of") == 6


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 5e-5), (torch.bfloat16, 5e-3)], ids=str)
@pytest.mark.parametrize("case", [*CASES, *ABLATIONS], ids=str)
def test_the_kernels_give_the_plain_composition_on_a_gpu(cuda, case, dtype, allowed):
    tensors = inputs(case, dtype=dtype)
    expected = exact(case, tensors)
    there = [tensor.detach().to(cuda).requires_grad_() for tensor in tensors]
    assert largest_difference(with_gradients(block(fused_block, case, there), there), expected) < allowed
