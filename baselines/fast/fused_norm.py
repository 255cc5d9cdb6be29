"""PQN's encoder between its convolutions: bytes to scaled numbers, and LayerNorm with ReLU, each one pass over memory.

The plain compositions are `encoder.scaled_images` and `pqn_encoders.channel_norm` with ReLU. In bfloat16 too everything
between input and output is float32. On a CPU the work is done by kernels/norm_relu.cpp, on a GPU by `triton_norm`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.fast import native, triton_norm

FRAMES = 4
WIDTHS = (32, 64, 128, 512)  # that the C++ is compiled for
DTYPES = (torch.float32, torch.bfloat16)


def why_not(device: torch.device) -> str | None:
    """Why there are no such kernels on this device, in words; None if nothing is known against them."""
    return native.why_not(native.NORM) if device.type == "cpu" else triton_norm.why_not()


def why_not_width(channels: int, device: torch.device) -> str | None:
    """Why rows of so many channels can't be normed by the kernel; None if they can."""
    if device.type != "cpu":
        return triton_norm.why_not_width(channels)
    if channels in WIDTHS:
        return None
    return f"{channels} channels, and it is made for {', '.join(map(str, WIDTHS))}"


def scaled_images(observations: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 4, H, W] uint8 -> 0..1 in `dtype` of float32 and bfloat16, channels_last memory."""
    if not observations.is_cpu:
        return triton_norm.scaled_images(observations, dtype)
    observations = observations.contiguous()
    images, frames, height, width = observations.shape
    if frames != FRAMES or dtype not in DTYPES or observations.dtype != torch.uint8:
        raise ValueError(f"no kernel to scale {frames} frames of {observations.dtype} to {dtype}")
    out = torch.empty(observations.shape, dtype=dtype, memory_format=torch.channels_last)
    native.required(native.NORM).scaled_frames(
        *(_address(observations), ctypes.c_int64(images), ctypes.c_int64(height * width)),
        *(int(dtype == torch.bfloat16), torch.get_num_threads(), _address(out)),
    )
    return out


def norm_relu(inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """relu(layer_norm(inputs)) over the last axis.

    Args:
        inputs: [..., C] float32 or bfloat16, C as `why_not_width` says.
        scale, bias: [C].
    Returns: contiguous, in the shape and dtype of `inputs`.
    Raises: ValueError on a CPU, for rows or types there is no code for.
    """
    if not inputs.is_cpu:
        return triton_norm.norm_relu(inputs, scale, bias, epsilon)
    if inputs.dtype not in DTYPES or inputs.shape[-1] not in WIDTHS:
        raise ValueError(f"no kernel for rows of {inputs.shape[-1]} of {inputs.dtype}")
    inputs = inputs.contiguous()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, scale, bias)):
        return _NormRelu.apply(inputs, scale, bias, epsilon)
    return _forward(inputs, _exact(scale), _exact(bias), epsilon)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        exact = _exact(scale), _exact(bias)
        ctx.save_for_backward(inputs, *exact)
        ctx.epsilon, ctx.dtypes = epsilon, (scale.dtype, bias.dtype)
        return _forward(inputs, *exact, epsilon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        inputs, scale, bias = ctx.saved_tensors
        gradient, to_inputs, kernels = gradient.contiguous(), torch.empty_like(inputs), native.required(native.NORM)
        channels = inputs.shape[-1]
        sums = torch.empty((kernels.norm_relu_runs(ctypes.c_int64(inputs.numel() // channels)), 2, channels))
        kernels.norm_relu_backward(
            *_arguments(inputs, scale, bias, ctx.epsilon),
            *(_address(tensor) for tensor in (gradient, to_inputs, sums)),
        )
        totals = sums.sum(dim=0)
        return to_inputs, *(total.to(dtype) for total, dtype in zip(totals, ctx.dtypes, strict=True)), None


def _forward(inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    out = torch.empty_like(inputs)
    native.required(native.NORM).norm_relu_forward(*_arguments(inputs, scale, bias, epsilon), _address(out))
    return out


def _arguments(inputs: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> tuple[Any, ...]:
    channels = inputs.shape[-1]
    return (
        *(ctypes.c_int64(inputs.numel() // channels), ctypes.c_int64(channels), ctypes.c_float(epsilon)),
        *(int(inputs.dtype == torch.bfloat16), torch.get_num_threads()),
        *(_address(tensor) for tensor in (inputs, scale, bias)),
    )


def _exact(learned: Tensor) -> Tensor:
    return learned.detach().float().contiguous()


def _address(tensor: Tensor) -> ctypes.c_void_p:
    """Valid as long as somebody holds the tensor: pass no temporary."""
    return ctypes.c_void_p(tensor.data_ptr())
