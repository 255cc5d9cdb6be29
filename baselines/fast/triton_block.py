"""The Hadamax block on a GPU: one Triton kernel forward, one backward; see `fused_block`.

The forward kernel takes whole pooling windows, so that no product ever reaches memory; where windows overlap, a pixel
is computed once for each of its windows. The backward kernel takes pixels, and gathers what the windows over each of
them send. Parameter gradients are summed by each program and then, in a fixed order, over programs.

The norm per image is torch's, in float32 whatever the branches are: rounded to bfloat16 before the pooling, other
pixels would win.

The branches come as two tensors, or as the two halves of one: what a single convolution with the weights of both gives.
The kernels read either where it lies, and write gradients of the same form. A block without a product has one branch;
whatever stands for the other is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
_most_programs = 4096  # of a backward kernel, whose partial sums are kept


def why_not() -> str | None:
    """Why there is no Triton kernel, in words; None if there is."""
    return None if triton is not None else "the package triton is not installed"


def triton_block(
    branch_a: Tensor,
    branch_b: Tensor | None,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
) -> Tensor:
    """As `fused_block.fused_block`."""
    a, b = _rows(branch_a, norm), None if branch_b is None else _rows(branch_b, norm)
    return _block(a, b, norm_a, norm_b, norm, pooling, branch_a.dtype)


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
    return _block(halves, None, norm_a, norm_b, norm, pooling, both.dtype, joint=True)


def _block(
    a: Tensor,
    b: Tensor | None,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
    dtype: torch.dtype,
    *,
    joint: bool = False,
) -> Tensor:
    """`a`, `b`, `joint`: as `_placed` takes them."""
    learned = (*(norm_a or (None, None)), *(norm_b or (None, None)))
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (a, b, *learned)):
        return _Block.apply(a, b, *learned, norm, pooling, dtype, joint)
    return _forward(_placed(a, b, joint=joint), learned, norm, pooling, dtype, argmax=None)


def _rows(images: Tensor, norm: Norm) -> Tensor:
    """[B, C, H, W] in channels_last memory; of the norm per image, float32 of mean 0 and variance 1 over an image."""
    if not norm.per_image:
        return images.contiguous(memory_format=torch.channels_last)
    rows = images.permute(0, 2, 3, 1).float()
    normed = F.layer_norm(rows, rows.shape[1:], eps=norm.epsilon)
    return normed.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


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
    single: bool = False  # there is no branch b, and a stands in

    def fixed(self, norm: Norm) -> dict[str, int]:
        """What the kernels are compiled for."""
        lie = {"C": self.channels, "PITCH": self.pitch, "SHARE": self.share}
        return {**lie, "NORMED": norm.per_image, "RECTIFIED": norm.rectified, "SINGLE": self.single}


def _placed(a: Tensor, b: Tensor | None, *, joint: bool) -> _Placed:
    """One or two branches [B, C, H, W]; or `joint`: one tensor of both, [B, 2C, H, W] or [B, 2, H, W, C] contiguous.

    Four axes mean channels_last memory.
    """
    if not joint:
        images, channels, height, width = a.shape
        other = a if b is None else b
        return _Placed(a, other, images, channels, height, width, pitch=channels, share=1, single=b is None)
    if a.ndim == 5:
        images, _, height, width, channels = a.shape
        return _Placed(a[:, 0], a[:, 1], images, channels, height, width, pitch=channels, share=2)
    images, channels, height, width = a.shape
    half = channels // 2
    return _Placed(a, a[:, half:], images, half, height, width, pitch=channels, share=2)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, *rest: Any) -> Tensor:
        *learned, norm, pooling, dtype, joint = rest
        placed = _placed(a, b, joint=joint)
        shape = (placed.images, pooling.rows, pooling.rows, placed.channels)
        argmax = torch.empty(shape, dtype=torch.uint8, device=a.device)
        ctx.save_for_backward(a, b, argmax, *learned)
        ctx.norm, ctx.pooling, ctx.joint = norm, pooling, joint
        return _forward(placed, learned, norm, pooling, dtype, argmax)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        a, b, argmax, *learned = ctx.saved_tensors
        pooling, placed = ctx.pooling, _placed(a, b, joint=ctx.joint)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        grad_a, grad_b = torch.empty_like(a), None if b is None else torch.empty_like(b)
        to = _placed(grad_a, grad_b, joint=ctx.joint)
        pixels = placed.images * placed.height * placed.width
        at_once = backward_pixels(placed.channels)
        tiles = triton.cdiv(pixels, at_once)
        programs = backward_programs(tiles)
        shape = (programs, 2 if placed.single else 4, placed.channels)
        sums = None if ctx.norm.per_image else torch.empty(shape, device=a.device)
        backward_kernel[(programs,)](
            *(placed.a, placed.b, *_or_any(learned, a), gradient, argmax, to.a, to.b, a if sums is None else sums),
            *(pixels, triton.cdiv(tiles, programs), programs, placed.height, placed.width),
            *(pooling.rows, pooling.padding, ctx.norm.epsilon),
            SIZE=pooling.size,
            STRIDE=pooling.stride,
            REACH=triton.cdiv(pooling.size, pooling.stride),
            PIXELS=at_once,
            num_warps=BACKWARD_WARPS,
            **placed.fixed(ctx.norm),
            **OPTIONS,
        )
        totals = [] if sums is None else sums.sum(dim=0).unbind()
        found = [total.to(of.dtype) for total, of in zip(totals, learned, strict=False)]
        return grad_a, grad_b, *found, *[None] * (4 - len(found)), None, None, None, None


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
        KEEP_ARGMAX=argmax is not None,
        num_warps=forward_warps(window, placed.channels),
        **placed.fixed(norm),
        **OPTIONS,
    )
    return out


def forward_warps(window: int, channels: int) -> int:
    """Of a program of the forward kernel: a thread has 16 numbers of each branch."""
    return 1 if window * channels <= 512 else 2


def backward_pixels(channels: int) -> int:
    """That a program of the backward kernel takes at a time."""
    return BACKWARD_ELEMENTS // channels


def backward_programs(tiles: int) -> int:
    """Programs of a backward kernel that share so many tiles; the first ones have one more where they do not divide."""
    return min(tiles, _most_programs)


@contextmanager
def few_programs(most: int = 5) -> Iterator[None]:
    """Gives a program of a backward kernel several tiles, as a minibatch does, on as few pixels as a proof has."""
    global _most_programs  # a context variable would not reach autograd's own thread
    before, _most_programs = _most_programs, most
    try:
        yield
    finally:
        _most_programs = before


def _or_any(learned: Any, stand_in: Tensor) -> list[Tensor]:
    """Kernels take no None: a tensor that they never read stands in."""
    return [stand_in if tensor is None else tensor for tensor in learned]
