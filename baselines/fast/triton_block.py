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
    import triton.language as tl
except ImportError:  # torch for a CPU comes without
    triton = None

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
        _backward_kernel[(programs,)](
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
    _forward_kernel[(placed.images * rows * rows,)](
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


# Sizes of images are not specialised on: a kernel that was proven on small images is the very one that trains.
if triton is not None:

    @triton.jit
    def _gate(y, NORMED: tl.constexpr):
        """What GELU multiplies y by: the tanh form of the pixel norm, the exact one of the image norm."""
        if NORMED:
            return 0.5 * (1.0 + tl.erf(y * 0.7071067811865476))
        return 1.0 / (1.0 + tl.exp(y * (1.0 + 0.044715 * y * y) * -1.5957691216057308))  # 2 sqrt(2 / pi)

    @triton.jit
    def _slope(y, gate, NORMED: tl.constexpr):
        """The derivative of GELU."""
        if NORMED:
            return gate + y * tl.exp(-0.5 * y * y) * 0.3989422804014327
        return gate + y * gate * (1.0 - gate) * (1.0 + 3.0 * 0.044715 * y * y) * 1.5957691216057308

    @triton.jit
    def _normed(x, epsilon, C: tl.constexpr, NORMED: tl.constexpr):
        """[pixels, C] to mean 0 and variance 1 over channels, and the inverse deviation [pixels, 1]."""
        if NORMED:
            return x, tl.full((x.shape[0], 1), 1.0, tl.float32)
        x -= tl.sum(x, axis=1, keep_dims=True) / C
        inverse = 1.0 / tl.sqrt(tl.sum(x * x, axis=1, keep_dims=True) / C + epsilon)
        return x * inverse, inverse

    @triton.jit
    def _affine(scale_at, bias_at, channels, NORMED: tl.constexpr):
        if NORMED:
            return tl.full(channels.shape, 1.0, tl.float32), tl.full(channels.shape, 0.0, tl.float32)
        return tl.load(scale_at + channels).to(tl.float32), tl.load(bias_at + channels).to(tl.float32)

    @triton.jit(do_not_specialize=["height", "width", "rows", "padding"])
    def _forward_kernel(
        a_at,
        b_at,
        scale_a_at,
        bias_a_at,
        scale_b_at,
        bias_b_at,
        out_at,
        argmax_at,
        height,
        width,
        rows,
        padding,
        epsilon,
        SIZE: tl.constexpr,
        STRIDE: tl.constexpr,
        WINDOW: tl.constexpr,
        C: tl.constexpr,
        PITCH: tl.constexpr,
        SHARE: tl.constexpr,
        NORMED: tl.constexpr,
        KEEP_ARGMAX: tl.constexpr,
    ):
        """One pooling window a program."""
        window = tl.program_id(0)
        image = window // (rows * rows)
        place = window % (rows * rows)
        k = tl.arange(0, WINDOW)[:, None]
        channels = tl.arange(0, C)[None, :]
        y = (place // rows) * STRIDE - padding + k // SIZE
        x = (place % rows) * STRIDE - padding + k % SIZE
        inside = (k < SIZE * SIZE) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        at = image.to(tl.int64) * (height * width * C * SHARE) + (y * width + x) * PITCH + channels
        a, _ = _normed(tl.load(a_at + at, mask=inside, other=0.0).to(tl.float32), epsilon, C, NORMED)
        b, _ = _normed(tl.load(b_at + at, mask=inside, other=0.0).to(tl.float32), epsilon, C, NORMED)
        scale_a, bias_a = _affine(scale_a_at, bias_a_at, channels, NORMED)
        scale_b, bias_b = _affine(scale_b_at, bias_b_at, channels, NORMED)
        a = a * scale_a + bias_a
        b = b * scale_b + bias_b
        product = tl.where(inside, a * _gate(a, NORMED) * b * _gate(b, NORMED), float("-inf"))
        best, where = tl.max(product, axis=0, return_indices=True, return_indices_tie_break_left=True)
        to = window.to(tl.int64) * C + tl.arange(0, C)
        tl.store(out_at + to, best)
        if KEEP_ARGMAX:
            tl.store(argmax_at + to, where.to(tl.uint8))

    @triton.jit(do_not_specialize=["pixels", "tiles_each", "programs", "height", "width", "rows", "padding"])
    def _backward_kernel(
        a_at,
        b_at,
        scale_a_at,
        bias_a_at,
        scale_b_at,
        bias_b_at,
        gradient_at,
        argmax_at,
        grad_a_at,
        grad_b_at,
        sums_at,
        pixels,
        tiles_each,
        programs,
        height,
        width,
        rows,
        padding,
        epsilon,
        SIZE: tl.constexpr,
        STRIDE: tl.constexpr,
        REACH: tl.constexpr,  # windows over a pixel along one axis, at most
        C: tl.constexpr,
        PITCH: tl.constexpr,
        SHARE: tl.constexpr,
        PIXELS: tl.constexpr,
        NORMED: tl.constexpr,
    ):
        """Some tiles of pixels a program."""
        program = tl.program_id(0)
        channels = tl.arange(0, C)[None, :]
        scale_a, bias_a = _affine(scale_a_at, bias_a_at, channels, NORMED)
        scale_b, bias_b = _affine(scale_b_at, bias_b_at, channels, NORMED)
        sum_scale_a = tl.zeros((PIXELS, C), tl.float32)
        sum_bias_a = tl.zeros((PIXELS, C), tl.float32)
        sum_scale_b = tl.zeros((PIXELS, C), tl.float32)
        sum_bias_b = tl.zeros((PIXELS, C), tl.float32)
        for tile in range(tiles_each):
            pixel = (tile * programs + program) * PIXELS + tl.arange(0, PIXELS)[:, None]
            there = pixel < pixels
            image = pixel // (height * width)
            y = pixel // width % height + padding
            x = pixel % width + padding
            came = tl.zeros((PIXELS, C), tl.float32)
            for back_y in tl.static_range(REACH):
                oy = y // STRIDE - back_y
                dy = y - oy * STRIDE
                for back_x in tl.static_range(REACH):
                    ox = x // STRIDE - back_x
                    dx = x - ox * STRIDE
                    valid = there & (oy >= 0) & (oy < rows) & (dy < SIZE) & (ox >= 0) & (ox < rows) & (dx < SIZE)
                    at = ((image.to(tl.int64) * rows + oy) * rows + ox) * C + channels
                    where = tl.load(argmax_at + at, mask=valid, other=255).to(tl.int32)
                    sent = tl.load(gradient_at + at, mask=valid, other=0.0).to(tl.float32)
                    came += tl.where(valid & (where == dy * SIZE + dx), sent, 0.0)
            if PITCH == C * SHARE:  # images follow each other without a gap
                at = pixel.to(tl.int64) * PITCH + channels
            else:
                place = pixel % (height * width)
                at = image.to(tl.int64) * (height * width * C * SHARE) + place * PITCH + channels
            a, inverse_a = _normed(tl.load(a_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C, NORMED)
            b, inverse_b = _normed(tl.load(b_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C, NORMED)
            in_a = a * scale_a + bias_a
            in_b = b * scale_b + bias_b
            gate_a = _gate(in_a, NORMED)
            gate_b = _gate(in_b, NORMED)
            to_a = came * in_b * gate_b * _slope(in_a, gate_a, NORMED)
            to_b = came * in_a * gate_a * _slope(in_b, gate_b, NORMED)
            if NORMED:
                tl.store(grad_a_at + at, to_a, mask=there)
                tl.store(grad_b_at + at, to_b, mask=there)
            else:
                sum_scale_a += to_a * a
                sum_bias_a += to_a
                sum_scale_b += to_b * b
                sum_bias_b += to_b
                to_a *= scale_a
                to_b *= scale_b
                mean_a = tl.sum(to_a, axis=1, keep_dims=True) / C
                mean_b = tl.sum(to_b, axis=1, keep_dims=True) / C
                along_a = tl.sum(to_a * a, axis=1, keep_dims=True) / C
                along_b = tl.sum(to_b * b, axis=1, keep_dims=True) / C
                tl.store(grad_a_at + at, inverse_a * (to_a - mean_a - a * along_a), mask=there)
                tl.store(grad_b_at + at, inverse_b * (to_b - mean_b - b * along_b), mask=there)
        if not NORMED:
            to = sums_at + program * 4 * C + tl.arange(0, C)
            tl.store(to, tl.sum(sum_scale_a, axis=0))
            tl.store(to + C, tl.sum(sum_bias_a, axis=0))
            tl.store(to + 2 * C, tl.sum(sum_scale_b, axis=0))
            tl.store(to + 3 * C, tl.sum(sum_bias_b, axis=0))
