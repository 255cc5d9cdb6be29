"""The Hadamax block in one pass over memory, with its own gradient: norm -> GELU -> product -> max-pool.

The plain compositions are `pqn_encoders.hadamax_block`, `distribution_network.HadamaxC51Conv` and, without the product
or without pooling, `pqn_variants.VariantBlock`. These give the same to rounding, several times as fast, for what is
slow there is memory traffic. In bfloat16 they are more exact than the plain ones: all between input and output is
float32. On a CPU the work is done by kernels/hadamax_block.cpp, on a GPU by `triton_block`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.fast import native, triton_block
from baselines.fast.block_shape import Norm, Pooling

CHANNELS = (32, 64)  # that the C++ is compiled for, and the kernels for a GPU are checked with
LARGEST_WINDOW = 15  # the place of a window's largest product is kept in a byte
DTYPES = (torch.float32, torch.bfloat16)
_PIXEL, _IMAGE, _RECTIFIED, _SINGLE = range(4)  # kinds, as the C++ numbers them


def why_not(device: torch.device) -> str | None:
    """Why the fused block can't run on this device, in words; None if nothing is known against it."""
    if device.type == "cpu":
        return native.why_not()
    if device.type == "cuda":
        return triton_block.why_not()
    return f"there is none for a {device.type} device"


def why_not_shape(channels: int, window: int) -> str | None:
    """Why a layer with that many channels a branch and pooling windows that long can't be fused; None if it can."""
    if channels not in CHANNELS:
        return f"{channels} channels a branch, and it is made for {' or '.join(map(str, CHANNELS))}"
    if window > LARGEST_WINDOW:
        return f"pooling windows of {window} x {window}, and it is made for {LARGEST_WINDOW} x {LARGEST_WINDOW} at most"
    return None


def fused_block(
    branch_a: Tensor,
    branch_b: Tensor | None,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
) -> Tensor:
    """max_pool(gelu(norm(a)) * gelu(norm(b))) of square images; or without b, or with ReLU.

    Args:
        branch_a, branch_b: [B, C, H, H] convolution outputs, float32 or bfloat16, C of `CHANNELS`. None for b leaves
            the product out.
        norm_a, norm_b: scale [C] and bias [C] of each branch's LayerNorm; None where nothing is learned.
    Returns: [B, C, rows, rows] in channels_last memory, in the dtype of the branches.
    Raises: ValueError for a type, a number of channels or a window there is no code for.
    """
    if branch_a.dtype not in DTYPES or why_not_shape(branch_a.shape[1], pooling.size) is not None:
        raise ValueError(
            f"no fused block for {branch_a.shape[1]} channels of {branch_a.dtype} in windows of {pooling.size}"
        )
    if norm.per_image + norm.rectified + (branch_b is None) > 1:
        raise ValueError("a fused block has ReLU, or one branch, or the norm of whole images: one of them at most")
    if not branch_a.is_cpu:
        return triton_block.triton_block(branch_a, branch_b, norm_a, norm_b, norm, pooling)
    learned = (*(norm_a or (None, None)), *(norm_b or (None, None)))
    tensors = [tensor for tensor in (branch_a, branch_b, *learned) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _CpuBlock.apply(branch_a, branch_b, *learned, norm, pooling)
    rows_b = None if branch_b is None else _rows(branch_b)
    return _forward(_rows(branch_a), rows_b, _as_float(learned), norm, pooling)


def joint_block(
    both: Tensor,
    norm_a: tuple[Tensor, Tensor] | None,
    norm_b: tuple[Tensor, Tensor] | None,
    norm: Norm,
    pooling: Pooling,
) -> Tensor:
    """`fused_block` of two branches that one convolution gave; on a GPU alone.

    Args:
        both: [B, 2C, H, H], the first C channels branch a.
    """
    channels = both.shape[1] // 2
    if both.dtype not in DTYPES or why_not_shape(channels, pooling.size) is not None:
        raise ValueError(f"no fused block for {channels} channels of {both.dtype} in windows of {pooling.size}")
    return triton_block.triton_joint_block(both, norm_a, norm_b, norm, pooling)


class _CpuBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, *rest: Any) -> Tensor:
        *learned, norm, pooling = rest
        a, b, affine = _rows(a), None if b is None else _rows(b), _as_float(learned)
        argmax = torch.empty((a.shape[0], pooling.rows, pooling.rows, a.shape[1]), dtype=torch.uint8)
        moments = torch.empty((a.shape[0], 4, a.shape[2] * a.shape[3]))
        ctx.save_for_backward(a, b, argmax, moments, *affine)
        ctx.norm, ctx.pooling = norm, pooling
        ctx.learned_dtypes = [None if tensor is None else tensor.dtype for tensor in learned]
        return _forward(a, b, affine, norm, pooling, argmax, moments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        a, b, argmax, moments, *affine = ctx.saved_tensors
        gradient = _rows(gradient)
        images, channels = a.shape[:2]
        grad_a, grad_b = torch.empty_like(a), None if b is None else torch.empty_like(b)
        sums = torch.empty((images, 4, channels)) if not ctx.norm.per_image else None
        native.required().hadamax_backward(
            *_shape_arguments(a, b, ctx.norm, ctx.pooling),
            *_addresses(a, b),
            (ctypes.c_void_p * 4)(*(None if tensor is None else tensor.data_ptr() for tensor in affine)),
            *(_address(tensor) for tensor in (gradient, argmax, moments)),
            *_addresses(grad_a, grad_b),
            _address(sums),
        )
        if sums is None:
            return grad_a, grad_b, None, None, None, None, None, None
        totals = zip(sums.sum(dim=0), ctx.learned_dtypes, strict=True)
        learned = [None if dtype is None else total.to(dtype) for total, dtype in totals]
        return grad_a, grad_b, *learned, None, None


def _forward(
    a: Tensor,
    b: Tensor | None,
    affine: list[Tensor | None],
    norm: Norm,
    pooling: Pooling,
    argmax: Tensor | None = None,
    moments: Tensor | None = None,
) -> Tensor:
    rows = pooling.rows
    out = torch.empty((a.shape[0], a.shape[1], rows, rows), dtype=a.dtype, memory_format=torch.channels_last)
    native.required().hadamax_forward(
        *_shape_arguments(a, b, norm, pooling),
        *_addresses(a, b),
        (ctypes.c_void_p * 4)(*(None if tensor is None else tensor.data_ptr() for tensor in affine)),
        *(_address(tensor) for tensor in (out, argmax, moments)),
    )
    return out


def _shape_arguments(images: Tensor, branch_b: Tensor | None, norm: Norm, pooling: Pooling) -> tuple[Any, ...]:
    batch, channels, height, width = images.shape
    kind = _SINGLE if branch_b is None else _RECTIFIED if norm.rectified else _IMAGE if norm.per_image else _PIXEL
    shape = (batch, height, width, channels, pooling.rows, pooling.rows, pooling.size, pooling.stride, pooling.padding)
    return (
        (ctypes.c_int64 * len(shape))(*shape),
        ctypes.c_float(norm.epsilon),
        kind,
        int(images.dtype == torch.bfloat16),
        torch.get_num_threads(),
    )


def _addresses(of_a: Tensor, of_b: Tensor | None) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
    """Of a block of one branch, the C++ touches nothing of branch b."""
    return _address(of_a), _address(of_a if of_b is None else of_b)


def _address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Valid as long as somebody holds the tensor: pass no temporary."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _rows(images: Tensor) -> Tensor:
    """In channels_last memory, as it nearly always is already."""
    return images.contiguous(memory_format=torch.channels_last)


def _as_float(learned: Any) -> list[Tensor | None]:
    return [None if tensor is None else tensor.detach().float().contiguous() for tensor in learned]
