"""PQN's encoder on a GPU: bytes to scaled numbers, and LayerNorm with ReLU, each one pass over memory.

The plain compositions are `encoder.scaled_images` and `pqn_encoders.channel_norm` with ReLU. In bfloat16 too everything
between input and output is float32. Gradients of scale and bias are summed by each program and then, in a fixed order,
over programs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.fast.triton_block import OPTIONS, backward_programs

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for a CPU comes without
    triton = None

ELEMENTS = 512  # that a program takes at a time: backward, more numbers would not fit into the registers
WARPS = 4
PIXELS = 512  # that a program scales
WIDEST = 1024  # channels; a row is held whole


def why_not() -> str | None:
    """Why there is no Triton kernel, in words; None if there is."""
    return None if triton is not None else "the package triton is not installed"


def why_not_width(channels: int) -> str | None:
    """Why rows of so many channels can't be normed by the kernel; None if they can."""
    if channels & (channels - 1) == 0 and channels <= WIDEST:
        return None
    return f"{channels} channels, and it is made for a power of two up to {WIDEST}"


def scaled_images(observations: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, F, H, W] uint8 -> 0..1 in `dtype`, channels_last memory. F must be a power of two."""
    observations = observations.contiguous()
    images, frames, height, width = observations.shape
    out = torch.empty(observations.shape, dtype=dtype, device=observations.device, memory_format=torch.channels_last)
    plane = height * width
    _scale_kernel[(triton.cdiv(images * plane, PIXELS),)](
        *(observations, out, images * plane, plane),
        FRAMES=frames,
        PIXELS=PIXELS,
        num_warps=WARPS,
        **OPTIONS,
    )
    return out


def norm_relu(inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """relu(layer_norm(inputs)) over the last axis.

    Args:
        inputs: [..., C] float32 or bfloat16, C as `why_not_width` says.
        scale, bias: [C].
    Returns: contiguous, in the shape and dtype of `inputs`.
    """
    inputs = inputs.contiguous()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, scale, bias)):
        return _NormRelu.apply(inputs, scale, bias, epsilon)
    return _forward(inputs, scale, bias, epsilon)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(inputs, scale, bias)
        ctx.epsilon = epsilon
        return _forward(inputs, scale, bias, epsilon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        inputs, scale, bias = ctx.saved_tensors
        channels = inputs.shape[-1]
        rows = inputs.numel() // channels
        at_once = rows_at_once(channels)
        tiles = triton.cdiv(rows, at_once)
        programs = backward_programs(tiles)
        to_inputs = torch.empty_like(inputs)
        sums = torch.empty((programs, 2, channels), device=inputs.device)
        _backward_kernel[(programs,)](
            *(inputs, scale, bias, gradient.contiguous(), to_inputs, sums),
            *(rows, triton.cdiv(tiles, programs), programs, ctx.epsilon),
            C=channels,
            ROWS=at_once,
            num_warps=WARPS,
            **OPTIONS,
        )
        totals = sums.sum(dim=0)
        return to_inputs, totals[0].to(scale.dtype), totals[1].to(bias.dtype), None


def _forward(inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    channels = inputs.shape[-1]
    rows, at_once = inputs.numel() // channels, rows_at_once(channels)
    out = torch.empty_like(inputs)
    _forward_kernel[(triton.cdiv(rows, at_once),)](
        *(inputs, scale, bias, out, rows, epsilon), C=channels, ROWS=at_once, num_warps=WARPS, **OPTIONS
    )
    return out


def rows_at_once(channels: int) -> int:
    """Rows that a program takes at a time."""
    return max(1, ELEMENTS // channels)


# Sizes of images are not specialised on: a kernel that was proven on small images is the very one that trains.
if triton is not None:

    @triton.jit(do_not_specialize=["pixels", "plane"])
    def _scale_kernel(bytes_at, out_at, pixels, plane, FRAMES: tl.constexpr, PIXELS: tl.constexpr):
        """Some pixels a program, read plane by plane and written pixel by pixel."""
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)[:, None]
        frame = tl.arange(0, FRAMES)[None, :]
        there = pixel < pixels
        at = (pixel // plane).to(tl.int64) * (plane * FRAMES) + frame * plane + pixel % plane
        value = tl.load(bytes_at + at, mask=there, other=0).to(tl.float32)
        scaled = tl.div_rn(value, tl.full(value.shape, 255.0, tl.float32))  # a plain / may be off in the last digits
        tl.store(out_at + pixel.to(tl.int64) * FRAMES + frame, scaled, mask=there)

    @triton.jit
    def _normed(x, epsilon, C: tl.constexpr):
        """[rows, C] to mean 0 and variance 1 over C, and the inverse deviation [rows, 1]."""
        x -= tl.sum(x, axis=1, keep_dims=True) / C
        inverse = 1.0 / tl.sqrt(tl.sum(x * x, axis=1, keep_dims=True) / C + epsilon)
        return x * inverse, inverse

    @triton.jit(do_not_specialize=["rows"])
    def _forward_kernel(x_at, scale_at, bias_at, out_at, rows, epsilon, C: tl.constexpr, ROWS: tl.constexpr):
        channels = tl.arange(0, C)[None, :]
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
        there = row < rows
        at = row.to(tl.int64) * C + channels
        x, _ = _normed(tl.load(x_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C)
        y = x * tl.load(scale_at + channels).to(tl.float32) + tl.load(bias_at + channels).to(tl.float32)
        tl.store(out_at + at, tl.where(y <= 0, 0.0, y), mask=there)  # what is not a number stays so

    @triton.jit(do_not_specialize=["rows", "tiles_each", "programs"])
    def _backward_kernel(
        x_at,
        scale_at,
        bias_at,
        gradient_at,
        grad_x_at,
        sums_at,
        rows,
        tiles_each,
        programs,
        epsilon,
        C: tl.constexpr,
        ROWS: tl.constexpr,
    ):
        """Some tiles of rows a program."""
        program = tl.program_id(0)
        channels = tl.arange(0, C)[None, :]
        scale = tl.load(scale_at + channels).to(tl.float32)
        bias = tl.load(bias_at + channels).to(tl.float32)
        sum_scale = tl.zeros((ROWS, C), tl.float32)
        sum_bias = tl.zeros((ROWS, C), tl.float32)
        for tile in range(tiles_each):
            row = (tile * programs + program) * ROWS + tl.arange(0, ROWS)[:, None]
            there = row < rows
            at = row.to(tl.int64) * C + channels
            x, inverse = _normed(tl.load(x_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C)
            came = tl.load(gradient_at + at, mask=there, other=0.0).to(tl.float32)
            came = tl.where(x * scale + bias <= 0, 0.0, came)
            sum_scale += came * x
            sum_bias += came
            came *= scale
            mean = tl.sum(came, axis=1, keep_dims=True) / C
            along = tl.sum(came * x, axis=1, keep_dims=True) / C
            tl.store(grad_x_at + at, inverse * (came - mean - x * along), mask=there)
        to = sums_at + program * 2 * C + tl.arange(0, C)
        tl.store(to, tl.sum(sum_scale, axis=0))
        tl.store(to + C, tl.sum(sum_bias, axis=0))
