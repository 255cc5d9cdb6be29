"""Plants faults in copies of the Triton kernels, in what only a program's second tile shows; do the proofs see them?

A program of its own, as `interpreted_triton`, whose interpreter it needs. Exits with the number of wrong verdicts.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[3])]

import torch.nn.functional as F  # noqa: E402

from baselines.fast import triton_block, triton_block_kernels, triton_norm  # noqa: E402
from baselines.fast.trials import why_not_fused, why_not_fused_norm, why_not_one_convolution  # noqa: E402
from baselines.networks import pqn_encoders  # noqa: E402
from baselines.networks.pqn_encoders import ConvNormRelu, DenseNorm, HadamaxConv  # noqa: E402

CPU, FLOAT32 = torch.device("cpu"), torch.float32
BLOCK_FAULTS = [  # what is there, and what is put in its place
    ("", ""),
    ("(tile * programs + program) * PIXELS", "(tile + program) * PIXELS"),
    ("sum_bias_a += to_a", "sum_bias_a = to_a"),
]
NORM_FAULTS = [
    ("", ""),
    ("(tile * programs + program) * ROWS", "(tile + program) * ROWS"),
    ("sum_scale += came * x", "sum_scale = came * x"),
]


def with_fault(module, there, instead):
    """A copy of a module with a fault in it."""
    source = Path(module.__file__).read_text()
    assert there in source, f"{module.__name__} has no {there!r} any more"
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:  # Triton reads it when it is called
        file.write(source.replace(there, instead))
    spec = importlib.util.spec_from_file_location(Path(file.name).stem, file.name)
    copy = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = copy
    spec.loader.exec_module(copy)
    return copy


wrong = 0


def tell(what, fault, why_not):
    global wrong
    wrong += bool(fault) is (why_not is None)
    print(f"{what} with {fault or 'no fault'!r}: {why_not or 'proven'}")


for there, instead in BLOCK_FAULTS:
    triton_block.backward_kernel = with_fault(triton_block_kernels, there, instead).backward_kernel
    pqn_encoders.fused_block = triton_block.triton_block  # of a tensor on the CPU it would be C++
    layer = HadamaxConv(4, 64, kernel_size=3, pool_size=2, pool_stride=2)
    tell("a block", instead, why_not_fused(layer, CPU, FLOAT32))
    tell("one convolution", instead, why_not_one_convolution(layer, CPU, FLOAT32))
for there, instead in NORM_FAULTS:
    pqn_encoders.norm_relu = with_fault(triton_norm, there, instead).norm_relu
    tell("a norm", instead, why_not_fused_norm(ConvNormRelu(4, 32, kernel_size=3, stride=1), CPU, FLOAT32))
    tell("a dense norm", instead, why_not_fused_norm(DenseNorm(7, 512, F.relu), CPU, FLOAT32))
sys.exit(wrong)
