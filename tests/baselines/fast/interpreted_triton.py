"""Runs the Triton kernels in Triton's interpreter, on the CPU; exits with the number of cases that differ.

A program of its own: the interpreter is chosen by TRITON_INTERPRET before triton is imported.
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3])]

import torch.nn.functional as F  # noqa: E402
from block_cases import INTERPRETED, block, exact, inputs, largest_difference, with_gradients  # noqa: E402

from baselines.fast import triton_norm  # noqa: E402
from baselines.fast.trials import why_not_fused_norm, why_not_one_convolution, why_not_scaled  # noqa: E402
from baselines.fast.triton_block import triton_block, triton_joint_block  # noqa: E402
from baselines.networks.distribution_network import HadamaxC51Conv  # noqa: E402
from baselines.networks.encoder import scaled_images  # noqa: E402
from baselines.networks.pqn_encoders import ConvNormRelu, DenseNorm, HadamaxConv  # noqa: E402

CPU = torch.device("cpu")
# The interpreter cuts bfloat16 off where a GPU rounds: twice the error.
ALLOWED = {torch.float32: 5e-5, torch.bfloat16: 8e-3}
failed = 0


def tell(what: str, problems: list[str]) -> None:
    global failed
    print(f"{what}: {', '.join(problems) or 'as it should be'}")
    failed += bool(problems)


def problems_of(found: list, without: torch.Tensor, expected: list, dtype: torch.dtype) -> list[str]:
    difference = largest_difference(found, expected)
    return [
        *([f"too far, {difference:.1e}"] if not difference < ALLOWED[dtype] else []),
        *(["other types"] if {tensor.dtype for tensor in (*found, without)} != {dtype} else []),
        *(["other values without gradients"] if not torch.equal(without, found[0]) else []),
    ]


def joint(a, b, *rest):
    """The block of one tensor that holds both branches."""
    return triton_joint_block(torch.cat((a, b), dim=1), *rest)


for case in INTERPRETED:
    for dtype in ALLOWED:
        tensors = inputs(case, dtype=dtype, images=2)
        expected = exact(case, tensors)
        forms = [("two tensors", triton_block), *([] if case.single else [("one tensor", joint)])]
        for form, function in forms:
            found = with_gradients(block(function, case, tensors), tensors)
            with torch.no_grad():
                without = block(function, case, tensors)
            tell(f"block {case} {form} {dtype}", problems_of(found, without, expected, dtype))


def norm_inputs(shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = 3 * torch.randn(shape, generator=generator) + 1
    learned = [torch.randn(shape[-1], generator=generator) + 1 - k for k in range(2)]
    return [tensor.to(dtype).requires_grad_() for tensor in (rows, *learned)]


def plain_norm(rows, scale, bias):
    return F.relu(F.layer_norm(rows, scale.shape, scale, bias, 1e-6))


for shape in ((37, 32), (2, 5, 5, 64), (3, 512), (1, 1024), (1, 1)):  # tiles that are not full, rows that are alone
    for dtype in ALLOWED:
        tensors = norm_inputs(shape, dtype)
        found = with_gradients(triton_norm.norm_relu(*tensors, 1e-6), tensors)
        with torch.no_grad():
            without = triton_norm.norm_relu(*tensors, 1e-6)
        doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
        tell(f"norm {shape} {dtype}", problems_of(found, without, with_gradients(plain_norm(*doubles), doubles), dtype))

every_byte = torch.arange(256, dtype=torch.uint8).repeat(3, 4, 1).reshape(3, 4, 16, 16)
every_byte[1] += 7
for images in (every_byte, torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8).permute(0, 1, 3, 2)):
    found, expected = triton_norm.scaled_images(images, torch.float32), scaled_images(images, torch.float32)
    same = torch.equal(found, expected) and found.is_contiguous(memory_format=torch.channels_last)
    tell(f"scaled {tuple(images.shape)}", [] if same else ["other numbers or memory"])

# What is tried out on a GPU before a path is taken, tried out here.
hadamax = [HadamaxConv(4, 32, kernel_size=8, pool_size=4, pool_stride=4)]
hadamax += [HadamaxC51Conv(32, 64, kernel_size=4, padding=2, pool=(2, 2, 0))]
hadamax += [HadamaxConv(4, 32, kernel_size=8, pool_size=4, pool_stride=4, rectified=True)]
rectified = [ConvNormRelu(4, 32, kernel_size=8, stride=4), DenseNorm(7, 512, F.relu)]
float32 = torch.float32
for layer in hadamax:
    # The block of two tensors is C++ here and no kernel: in one precision the comparison still tells halves apart.
    layer.fused = False
    tell(f"trial of {type(layer).__name__}", list(filter(None, [why_not_one_convolution(layer, CPU, float32)])))
for layer in rectified:
    tell(f"trial of {type(layer).__name__}", list(filter(None, [why_not_fused_norm(layer, CPU, float32)])))
tell("trial of scaled images", [reason for reason in [why_not_scaled(CPU, float32)] if reason])
sys.exit(failed)
