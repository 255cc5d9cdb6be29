"""Hadamax's first two convolutions, 8 x 8 over four frames at stride 1, by Fourier transforms on a CPU.

The same sums as `torch.nn.functional.conv2d`, to rounding, for about a sixth of the arithmetic; both branches share the
transforms of their frames. The work is done by kernels/fourier_convolution.cpp.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.fast import native
from baselines.fast.bf16 import lacks_bf16

FRAMES, KERNEL = 4, 8  # that the C++ is made for
CHANNELS = 32  # a branch has as many, or a multiple
DTYPES = (torch.float32, torch.bfloat16)


def concerns(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether transforms may win there: on a CPU, unless it has instructions for bfloat16 and is to compute in that."""
    return device.type == "cpu" and dtype in DTYPES and (dtype == torch.float32 or lacks_bf16(device))


def why_not_shape(convolution: nn.Conv2d) -> str | None:
    """Why a convolution can't be done by the C++, in words; None if it can."""
    found = (convolution.in_channels, convolution.kernel_size, convolution.stride, convolution.dilation)
    if found != (FRAMES, (KERNEL, KERNEL), (1, 1), (1, 1)) or convolution.groups != 1 or convolution.bias is None:
        return f"it is made for {KERNEL} x {KERNEL} windows over {FRAMES} frames at stride 1"
    if convolution.out_channels % CHANNELS:
        return f"{convolution.out_channels} channels a branch, and it is made for multiples of {CHANNELS}"
    return None


def fourier_convolutions(images: Tensor, *convolutions: nn.Conv2d) -> tuple[Tensor, ...]:
    """What each convolution, without its padding, gives for the same images.

    Args:
        images: [B, 4, H, W] float32 or bfloat16 on the CPU, padded already; they get no gradient.
        convolutions: alike in shape; `why_not_shape` says which can be done.
    Returns: [B, C, H - 7, W - 7] for each, in channels_last memory, in the dtype of the images.
    Raises: ValueError for images that want a gradient, of another type or device, or smaller than a window.
    """
    if images.requires_grad or not images.is_cpu or images.dtype not in DTYPES or min(images.shape[2:]) < KERNEL:
        raise ValueError(
            f"no transforms for {list(images.shape)} of {images.dtype} on {images.device} (gradient: "
            f"{images.requires_grad})"
        )
    parameters = [parameter for convolution in convolutions for parameter in convolution.parameters()]
    rows = images.contiguous(memory_format=torch.channels_last)
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
        return _Fourier.apply(rows, *parameters)
    return _forward(rows, parameters)


class _Fourier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(images)
        ctx.parameters = [(parameter.shape, parameter.dtype) for parameter in parameters]
        return _forward(images, parameters)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (images,) = ctx.saved_tensors
        rows = [gradient.contiguous(memory_format=torch.channels_last) for gradient in gradients]
        found = [torch.empty(shape) for shape, _ in ctx.parameters]
        native.required().fourier_backward(
            *_shape_arguments(images, rows[0].shape[1], len(rows)),
            *(_addresses(tensors) for tensors in (rows, found[0::2], found[1::2])),
        )
        return None, *(total.to(dtype) for total, (_, dtype) in zip(found, ctx.parameters, strict=True))


def _forward(images: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """parameters: weight [C, 4, 8, 8] and bias [C] of one convolution after the other."""
    batch, _, height, width = images.shape
    channels, reach = parameters[0].shape[0], KERNEL - 1
    shape = (batch, channels, height - reach, width - reach)
    outputs = [
        torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last) for _ in range(len(parameters) // 2)
    ]
    exact = [parameter.detach().float().contiguous() for parameter in parameters]
    native.required().fourier_forward(
        *_shape_arguments(images, channels, len(outputs)),
        *(_addresses(tensors) for tensors in (exact[0::2], exact[1::2], outputs)),
    )
    return tuple(outputs)


def _shape_arguments(images: Tensor, channels: int, branches: int) -> tuple[Any, ...]:
    batch, _, height, width = images.shape
    return (
        (ctypes.c_int64 * 5)(batch, height, width, channels, branches),
        int(images.dtype == torch.bfloat16),
        torch.get_num_threads(),
        ctypes.c_void_p(images.data_ptr()),
    )


def _addresses(tensors: Sequence[Tensor]) -> Any:
    """Valid as long as somebody holds the tensors."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
