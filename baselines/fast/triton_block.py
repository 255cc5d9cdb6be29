"""The Hadamax block on a GPU: one Triton kernel forward, one backward; see `fused_block`.

The forward kernel takes whole pooling windows, so that no product ever reaches memory; where windows overlap, a pixel
is computed once for each of its windows. The backward kernel takes pixels, and gathers what the windows over each of
them send. Parameter gradients are summed by each program and then, in a fixed order, over programs.

The norm per image is torch's, in float32 whatever the branches are: rounded to bfloat16 before the pooling, other
pixels would win.

The branches come as two tensors, or as the two halves of one: what a single convolution with the weights of both gives.
The kernels read either where it lies, and write gradients of the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.fast.block_shape import Norm, Pooling

try:
    import triton
except ImportError:  # torch for a CPU comes without
    triton = None
else:
    from baselines.fast.triton_block_kernels import backward_kernel, forward_kernel

BACKWARD_WARPS = 4
BACKWARD_ELEMENTS = 512  # that a program takes at a time: with more, its numbers no longer fit into the registers
OPTIONS = {"enable_fp_fusion": True}  # said, for Triton's default changes: a product and a sum may round once
MAX_BACKWARD_PROGRAMS = 4096  # whose partial sums are kept


def why_not() -> str | None:
    """Why there is no Triton kernel, in words; None if there is."""
    return None if triton is not None else "the package triton is not installed"


def triton_block(
    branch_a: Tensor,
    branch_b: Tensor,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
) -> Tensor:
    """As `fused_block.fused_block`."""
    dtype = branch_a.dtype
    if norm.per_image:
        branch_a, branch_b = (_image_norm(images, norm.epsilon) for images in (branch_a, branch_b))
    a, b = (images.contiguous(memory_format=torch.channels_last) for images in (branch_a, branch_b))
    return _block(a, b, norm_a, norm_b, norm, pooling, dtype)


def triton_joint_block(
    both: Tensor,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
) -> Tensor:
    """As `fused_block.joint_block`."""
    if norm.per_image:
        halves = _joint_image_norm(both, norm.epsilon)
    else:
        halves = both.contiguous(memory_format=torch.channels_last)
    return _block(halves, None, norm_a, norm_b, norm, pooling, both.dtype)


def _block(
    a: Tensor,
    b: Tensor | None,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
    dtype: torch.dtype,
) -> Tensor:
    """`a`, `b`: as `_placed` takes them."""
    learned = (*(norm_a or (None, None)), *(norm_b or (None, None)))
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (a, b, *learned)):
        return _Block.apply(a, b, *learned, norm, pooling, dtype)
    return _forward(_placed(a, b), learned, norm, pooling, dtype, argmax=None)


def _image_norm(images: Tensor, epsilon: float) -> Tensor:
    """[B, C, H, W] -> float32 of mean 0 and variance 1 over all of an image; channels_last memory is not copied."""
    rows = images.permute(0, 2, 3, 1).float()
    return F.layer_norm(rows, rows.shape[1:], eps=epsilon).permute(0, 3, 1, 2)


def _joint_image_norm(both: Tensor, epsilon: float) -> Tensor:
    """[B, 2C, H, W] -> [B, 2, H, W, C] float32, every half of an image with mean 0 and variance 1."""
    halves = both.permute(0, 2, 3, 1).unflatten(3, (2, -1)).permute(0, 3, 1, 2, 4)
    halves = halves.to(torch.float32, memory_format=torch.contiguous_format)  # one copy: torch's norm wants it
    return F.layer_norm(halves, halves.shape[2:], eps=epsilon)


@dataclass(frozen=True)
class _Placed:
    """Both branches, and how they lie in memory."""

    a: Tensor  # whatever its shape: the kernels take its first number's address
    b: Tensor
    images: int
    channels: int
    height: int
    width: int
    pitch: int  # numbers from a pixel to the next one
    share: int  # of an image's memory one branch is 1 / share

    @property
    def fixed(self) -> dict[str, int]:
        """What the kernels are compiled for."""
        return {"C": self.channels, "PITCH": self.pitch, "SHARE": self.share}


def _placed(a: Tensor, b: Tensor | None) -> _Placed:
    """Two branches [B, C, H, W]; or, with no `b`, one tensor of both: [B, 2C, H, W], or [B, 2, H, W, C] contiguous.

    Four axes mean channels_last memory.
    """
    if b is not None:
        images, channels, height, width = a.shape
        return _Placed(a, b, images, channels, height, width, pitch=channels, share=1)
    if a.ndim == 5:
        images, _, height, width, channels = a.shape
        return _Placed(a[:, 0], a[:, 1], images, channels, height, width, pitch=channels, share=2)
    images, channels, height, width = a.shape
    half = channels // 2
    return _Placed(a, a[:, half:], images, half, height, width, pitch=channels, share=2)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, *rest: Any) -> Tensor:
        *learned, norm, pooling, dtype = rest
        placed = _placed(a, b)
        shape = (placed.images, pooling.rows, pooling.rows, placed.channels)
        argmax = torch.empty(shape, dtype=torch.uint8, device=a.device)
        ctx.save_for_backward(a, b, argmax, *learned)
        ctx.norm, ctx.pooling = norm, pooling
        return _forward(placed, learned, norm, pooling, dtype, argmax)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        a, b, argmax, *learned = ctx.saved_tensors
        pooling, placed = ctx.pooling, _placed(a, b)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        grad_a, grad_b = torch.empty_like(a), None if b is None else torch.empty_like(b)
        to = _placed(grad_a, grad_b)
        pixels = placed.images * placed.height * placed.width
        at_once = backward_pixels(placed.channels)
        tiles = triton.cdiv(pixels, at_once)
        programs = min(tiles, MAX_BACKWARD_PROGRAMS)
        normed = ctx.norm.per_image
        sums = None if normed else torch.empty((programs, 4, placed.channels), device=a.device)
        backward_kernel[(programs,)](
            *(placed.a, placed.b, *_or_any(learned, a), gradient, argmax, to.a, to.b, a if sums is None else sums),
            *(pixels, triton.cdiv(tiles, programs), programs, placed.height, placed.width),
            *(pooling.rows, pooling.padding, ctx.norm.epsilon),
            SIZE=pooling.size,
            STRIDE=pooling.stride,
            REACH=triton.cdiv(pooling.size, pooling.stride),
            PIXELS=at_once,
            NORMED=normed,
            num_warps=BACKWARD_WARPS,
            **placed.fixed,
            **OPTIONS,
        )
        if sums is None:
            return grad_a, grad_b, None, None, None, None, None, None, None
        totals = sums.sum(dim=0)
        return grad_a, grad_b, *(totals[i].to(learned[i].dtype) for i in range(4)), None, None, None


def _forward(
    placed: _Placed, learned: Any, norm: Norm, pooling: Pooling, dtype: torch.dtype, argmax: Tensor | None
) -> Tensor:
    rows, a = pooling.rows, placed.a
    shape = (placed.images, placed.channels, rows, rows)
    out = torch.empty(shape, dtype=dtype, device=a.device, memory_format=torch.channels_last)
    window = triton.next_power_of_2(pooling.size**2)
    forward_kernel[(placed.images * rows * rows,)](
        *(a, placed.b, *_or_any(learned, a), out, out if argmax is None else argmax),
        *(placed.height, placed.width, rows, pooling.padding, norm.epsilon),
        SIZE=pooling.size,
        STRIDE=pooling.stride,
        WINDOW=window,
        NORMED=norm.per_image,
        KEEP_ARGMAX=argmax is not None,
        num_warps=forward_warps(window, placed.channels),
        **placed.fixed,
        **OPTIONS,
    )
    return out


def forward_warps(window: int, channels: int) -> int:
    """Of a program of the forward kernel: a thread has 16 numbers of each branch."""
    return 1 if window * channels <= 512 else 2


def backward_pixels(channels: int) -> int:
    """That a program of the backward kernel takes at a time."""
    return BACKWARD_ELEMENTS // channels


def _or_any(learned: Any, stand_in: Tensor) -> list[Tensor]:
    """Kernels take no None: a tensor that they never read stands in."""
    return [stand_in if tensor is None else tensor for tensor in learned]
