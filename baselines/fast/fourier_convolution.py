"""Hadamax's convolutions by Fourier transforms, on a CPU.

The same sums as `torch.nn.functional.conv2d`, to rounding, for a sixth to a quarter of the arithmetic; both branches
share the transforms of their images. There are two kinds: 8 x 8 windows over four frames, where the images get no
gradient (kernels/fourier_convolution.cpp), and the smaller windows of later layers, over maps of one size each
(kernels/fourier_images.cpp).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.fast import native
from baselines.fast.bf16 import lacks_bf16_tiles

FRAMES = 4
OF_FRAMES = 8  # pixels a side of the windows over frames
SIDES = {4: 24, 3: 12}  # of maps, by the windows over them; padding included, or all but its last row and column
KERNELS = (OF_FRAMES, *SIDES)
CHANNELS = 32  # a branch has as many, or a multiple; so have maps
DTYPES = (torch.float32, torch.bfloat16)


def concerns(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether transforms may win there: on a CPU, unless it has AMX for bfloat16 and is to compute in that."""
    return device.type == "cpu" and dtype in DTYPES and (dtype == torch.float32 or lacks_bf16_tiles(device))


def why_not_shape(convolution: nn.Conv2d) -> str | None:
    """Why a convolution can't be done by the C++, in words; None if it can, of images that `fits`."""
    inputs, (kernel, other), outputs = convolution.in_channels, convolution.kernel_size, convolution.out_channels
    plain = convolution.stride == convolution.dilation == (1, 1) and convolution.groups == 1
    if kernel not in KERNELS or other != kernel or not plain or convolution.bias is None:
        return "it is made for windows of 8 x 8, 4 x 4 and 3 x 3 at stride 1"
    if outputs % CHANNELS or not (inputs == FRAMES if _of_frames(convolution) else inputs % CHANNELS == 0):
        return f"{inputs} channels to {outputs}, and it is made for {FRAMES} frames and multiples of {CHANNELS}"
    return None


def fits(images: Tensor, convolution: nn.Conv2d) -> bool:
    """Whether images, padded already with zeros on all sides, are such as `convolution` can be done of."""
    height, width = images.shape[2:]
    if _of_frames(convolution):
        return not images.requires_grad and min(height, width) >= OF_FRAMES
    side = SIDES[convolution.kernel_size[0]]
    return height == width and height in (side, side + 1)


def fourier_convolutions(images: Tensor, *convolutions: nn.Conv2d) -> tuple[Tensor, ...]:
    """What each convolution, without its padding, gives for the same images.

    Args:
        images: [B, I, H, W] float32 or bfloat16 on the CPU, padded already. Of maps that are one larger than their side
            in `SIDES`, the first and the last row and column must be zeros: the kernel's transforms go round in a
            circle, and find the first ones where the last would be.
        convolutions: alike in shape; `why_not_shape` says which can be done.
    Returns: [B, C, H - K + 1, W - K + 1] for each, in channels_last memory, in the dtype of the images.
    Raises: ValueError for images of another type or device, or which do not fit.
    """
    if not images.is_cpu or images.dtype not in DTYPES or not fits(images, convolutions[0]):
        raise ValueError(
            f"no transforms for {list(images.shape)} of {images.dtype} on {images.device} (gradient: "
            f"{images.requires_grad})"
        )
    if (reason := why_not_shape(convolutions[0])) is not None:  # the C++ would write beyond its memory
        raise ValueError(f"no transforms: {reason}")
    parameters = [tensor for part in convolutions for tensor in (part.weight, part.bias) if tensor is not None]
    kernel = convolutions[0].kernel_size[0]
    size = (images.shape[2] - kernel + 1, images.shape[3] - kernel + 1)
    if kernel in SIDES:
        images = images[:, :, : SIDES[kernel], : SIDES[kernel]]
    rows = images.contiguous(memory_format=torch.channels_last)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (images, *parameters)):
        return _Fourier.apply(rows, size, *parameters)
    return _forward(rows, size, _exact(parameters))


class _Fourier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, size: tuple[int, int], *parameters: Tensor) -> tuple[Tensor, ...]:
        exact = _exact(parameters)
        ctx.save_for_backward(images, *exact[0::2])
        ctx.size, ctx.dtypes = size, [parameter.dtype for parameter in parameters]
        return _forward(images, size, exact)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        images, *weights = ctx.saved_tensors
        rows = [gradient.contiguous(memory_format=torch.channels_last) for gradient in gradients]
        found = [torch.empty(shape) for weight in weights for shape in (weight.shape, weight.shape[:1])]
        to_images = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        shape = _shape_arguments(images, ctx.size, weights)
        kernels, results = native.required(), (_addresses(found[0::2]), _addresses(found[1::2]))
        if weights[0].shape[2] == OF_FRAMES:
            kernels.fourier_backward(*shape, _addresses(rows), *results)
        else:
            address = ctypes.c_void_p(None if to_images is None else to_images.data_ptr())
            kernels.fourier_images_backward(*shape, _addresses(rows), _addresses(weights), *results, address)
        return to_images, None, *(total.to(dtype) for total, dtype in zip(found, ctx.dtypes, strict=True))


def _of_frames(convolution: nn.Conv2d) -> bool:
    return convolution.kernel_size[0] == OF_FRAMES


def _exact(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.detach().float().contiguous() for parameter in parameters]


def _forward(images: Tensor, size: tuple[int, int], parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """size: of outputs. parameters: weight [C, I, K, K] and bias [C] of one convolution after the other, float32."""
    weights, biases = parameters[0::2], parameters[1::2]
    channels, _, kernel, _ = weights[0].shape
    shape = (images.shape[0], channels, *size)
    outputs = [torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last) for _ in weights]
    kernels = native.required()
    forward = kernels.fourier_forward if kernel == OF_FRAMES else kernels.fourier_images_forward
    forward(*_shape_arguments(images, size, weights), *(_addresses(tensors) for tensors in (weights, biases, outputs)))
    return tuple(outputs)


def _shape_arguments(images: Tensor, size: tuple[int, int], weights: Sequence[Tensor]) -> tuple[Any, ...]:
    batch, inputs, height, width = images.shape
    channels, _, kernel, _ = weights[0].shape
    branches = len(weights)
    frames, maps = (batch, height, width, channels, branches), (kernel, batch, inputs, channels, branches, size[0])
    shape = frames if kernel == OF_FRAMES else maps
    return (
        (ctypes.c_int64 * len(shape))(*shape),
        int(images.dtype == torch.bfloat16),
        torch.get_num_threads(),
        ctypes.c_void_p(images.data_ptr()),
    )


def _addresses(tensors: Sequence[Tensor]) -> Any:
    """Valid as long as somebody holds the tensors."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
