"""Cases of the Hadamax block that every fused version meets: the paper's three layers of both variants, and edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.fast.block_shape import Norm, Pooling
from baselines.networks.distribution_network import image_norm
from baselines.networks.pqn_encoders import channel_norm, gelu_tanh, hadamax_block, same_max_pool

PIXEL_NORM = Norm(per_image=False, epsilon=1e-6)
IMAGE_NORM = Norm(per_image=True, epsilon=1e-5)
RECTIFIED = Norm(per_image=False, epsilon=1e-6, rectified=True)


@dataclass(frozen=True)
class Case:
    channels: int
    height: int
    size: int
    stride: int
    norm: Norm
    padding: int = 0  # of the image norm's pooling alone; the other pads SAME
    single: bool = False  # one branch, and no product

    @property
    def branches(self) -> int:
        return 1 if self.single else 2

    @property
    def pooling(self) -> Pooling:
        if self.norm.per_image:
            return Pooling.symmetric(self.height, self.size, self.stride, self.padding)
        return Pooling.same(self.height, self.size, self.stride)

    def __str__(self) -> str:
        kind = "image" if self.norm.per_image else "relu" if self.norm.rectified else "pixel"
        kind = "single" if self.single else kind
        return f"{kind}-{self.channels}x{self.height}-pool{self.size}/{self.stride}"


CASES = [
    Case(32, 84, 4, 4, PIXEL_NORM),
    Case(64, 21, 2, 2, PIXEL_NORM),
    Case(64, 11, 3, 1, PIXEL_NORM),
    Case(32, 9, 4, 4, PIXEL_NORM),  # windows hang over by an odd number
    Case(32, 7, 3, 2, PIXEL_NORM),
    Case(64, 5, 3, 1, PIXEL_NORM),  # the third layer's windows, which overlap
    Case(64, 1, 3, 1, PIXEL_NORM),
    Case(32, 85, 4, 4, IMAGE_NORM),
    Case(64, 22, 2, 2, IMAGE_NORM),
    Case(64, 11, 3, 1, IMAGE_NORM, padding=1),
    Case(64, 5, 3, 1, IMAGE_NORM, padding=1),
    Case(32, 6, 4, 4, IMAGE_NORM),  # two rows in no window
]
ABLATIONS = [  # of the paper: with ReLU, without the product, without pooling
    Case(32, 84, 4, 4, RECTIFIED),
    Case(64, 21, 2, 2, RECTIFIED),
    Case(64, 11, 3, 1, RECTIFIED),
    Case(32, 9, 4, 4, RECTIFIED),
    Case(32, 84, 4, 4, PIXEL_NORM, single=True),
    Case(64, 21, 2, 2, PIXEL_NORM, single=True),
    Case(64, 11, 3, 1, PIXEL_NORM, single=True),
    Case(32, 9, 4, 4, PIXEL_NORM, single=True),
    Case(32, 21, 1, 1, PIXEL_NORM),
    Case(64, 11, 1, 1, PIXEL_NORM),
    Case(32, 5, 1, 1, PIXEL_NORM),
]
SMALL = [case for case in (*CASES, *ABLATIONS) if case.height <= 11]
INTERPRETED = [case for case in SMALL if case.height < 11]  # the interpreter is slow


def inputs(case: Case, *, dtype: torch.dtype = torch.float32, images: int = 3, seed: int = 0) -> list[Tensor]:
    """Branches, or one, and scales and biases (none for the image norm), all of `dtype`, all wanting gradients.

    Every window of theirs has a largest product that rounding does not turn into the second largest.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    shape = (images, case.channels, case.height, case.height)
    found = [(2 * normal(*shape) + 0.5).contiguous(memory_format=torch.channels_last) for _ in "ab"[: case.branches]]
    if not case.norm.per_image:
        found += [0.3 * normal(case.channels) + (1 - k % 2) for k in range(2 * case.branches)]
    found = [tensor.to(dtype) for tensor in found]
    while (near := near_ties(case, found)).any():
        for image in found[: case.branches]:
            image += (near * 0.25 * normal(*shape)).to(dtype)
    return [tensor.requires_grad_() for tensor in found]


def near_ties(case: Case, tensors: list[Tensor], margin: float = 1e-5) -> Tensor:
    """[N, C, H, W] bool: pixels with the largest product of a window whose second largest is within `margin`."""
    alone = replace(case, size=1, stride=1, padding=0)
    products = plain(alone, [tensor.detach().double() for tensor in tensors])
    near, pooling = torch.zeros_like(products, dtype=torch.bool), case.pooling
    if pooling.size == 1:
        return near
    after = max(0, (pooling.rows - 1) * pooling.stride + pooling.size - case.height - pooling.padding)
    padded = F.pad(products, [pooling.padding, after] * 2, value=-math.inf)
    windows = padded.unfold(2, pooling.size, pooling.stride).unfold(3, pooling.size, pooling.stride).flatten(-2)
    best, place = windows.topk(2)
    tied = best[..., 0] - best[..., 1] < margin * best[..., 0].abs().clamp(min=1)
    if case.norm.rectified:
        tied &= best[..., 0] > 0  # a product of 0 sends nothing back
    n, c, row, column = tied.nonzero(as_tuple=True)
    inside = place[..., 0][tied]
    rows = row * pooling.stride - pooling.padding + inside // pooling.size
    columns = column * pooling.stride - pooling.padding + inside % pooling.size
    near[n, c, rows, columns] = True
    return near


def block(function: Any, case: Case, tensors: list[Tensor]) -> Tensor:
    """`function` called as `fused_block` is."""
    if case.single:
        a, *learned = tensors
        return function(a, None, tuple(learned), None, case.norm, case.pooling)
    a, b, *learned = tensors
    norms = (tuple(learned[:2]), tuple(learned[2:])) if learned else (None, None)
    return function(a, b, *norms, case.norm, case.pooling)


def plain(case: Case, tensors: list[Tensor]) -> Tensor:
    """The composition that the fused versions are held to."""
    if case.single or case.norm.rectified:
        activation = F.relu if case.norm.rectified else gelu_tanh
        images, learned = tensors[: case.branches], tensors[case.branches :]
        normed = [channel_norm(image, *learned[2 * i : 2 * i + 2]) for i, image in enumerate(images)]
        product = math.prod(map(activation, normed[1:]), start=activation(normed[0]))
        return same_max_pool(product, case.size, case.stride)
    a, b, *learned = tensors
    if case.norm.per_image:
        return F.max_pool2d(F.gelu(image_norm(a)) * F.gelu(image_norm(b)), case.size, case.stride, case.padding)
    norms = tuple(learned[:2]), tuple(learned[2:])
    return hadamax_block(a, b, *norms, case.size, case.stride)


def with_gradients(output: Tensor, tensors: list[Tensor], seed: int = 1) -> list[Tensor]:
    """The output, and what it sends back to `tensors` for a gradient drawn from `seed`."""
    # bfloat16 numbers, so that every type gets the same ones
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).bfloat16()
    found = torch.autograd.grad(output, tensors, gradient.to(output))
    return [output.detach(), *found]


def exact(case: Case, tensors: list[Tensor]) -> list[Tensor]:
    """`with_gradients` of the plain composition in float64."""
    doubles = [tensor.detach().cpu().double().requires_grad_() for tensor in tensors]
    return with_gradients(plain(case, doubles), doubles)


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest |found - expected| / max(1, |expected|); nan where any is."""
    assert [tensor.shape for tensor in found] == [tensor.shape for tensor in expected]
    differences = [
        ((got.cpu().double() - want).abs() / want.abs().clamp(min=1)).max()
        for got, want in zip(found, expected, strict=True)
    ]
    return float(torch.stack(differences).max())  # Python's max would lose a nan that is not the first
