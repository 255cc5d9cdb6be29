"""Variants of PQN's and Hadamax-PQN's encoders: one thing changed in each, to ask what it was good for.

docs/baselines/variants.md says what the paper leaves open and which reading was taken. Everything that is not changed
is as in `pqn_encoders`: SAME padding, LayerNorm over channels, the tanh GELU, initial weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.fast.block_shape import Norm, Pooling
from baselines.fast.fourier_convolution import KERNELS, fits, fourier_convolutions
from baselines.fast.fused_block import fused_block, why_not_shape
from baselines.networks.encoder import FRAMES, Encoder, flatten_nhwc, keep
from baselines.networks.initializers import he_normal_, xavier_normal_
from baselines.networks.pqn_encoders import (
    NORM_EPSILON,
    PQN_ENCODERS,
    ConvNormRelu,
    DenseNorm,
    HadamaxConv,
    channel_norm,
    gelu_tanh,
    in_slices,
    reset_weights,
    same_max_pool,
)

_HADAMAX_WIDTHS = (32, 64, 64)
_HADAMAX_BLOCKS = ((8, 4, 4), (4, 2, 2), (3, 3, 1))  # kernel, pool, stride: 84 -> 21 -> 11 -> 11
_HADAMAX_SIDE = 11
_NATURE_SIDE = 7


class VariantBlock(nn.Module):
    """A block with something else in the place of one of its parts.

    [B, in_channels, H, H] -> [B, out_channels, h, h], where h = ceil(H / pool_stride).

    Args:
        join: "product", "sum", "concatenation" of two branches, or "single" for one branch alone.
        pool: "max", "average", or "stride" for none, the convolutions striding instead.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel_size: int,
        pool_size: int,
        pool_stride: int,
        join: str = "product",
        pool: str = "max",
        normed: bool = True,
    ) -> None:
        super().__init__()
        self.joined_by, self.pool, self.normed = join, pool, normed
        self.kernel_size, self.pool_size, self.pool_stride = kernel_size, pool_size, pool_stride
        self.conv_stride = pool_stride if pool == "stride" else 1
        if pool != "stride" and kernel_size in KERNELS:
            self.fourier = False  # on a CPU; `fast.use_fourier` sets it
        self.branches = ("a",) if join == "single" else ("a", "b")
        for name in self.branches:
            self.add_module(f"conv_{name}", nn.Conv2d(in_channels, channels, kernel_size, self.conv_stride))
            if normed:
                self.add_module(f"norm_{name}", nn.LayerNorm(channels, NORM_EPSILON))
        if normed and join in ("product", "single") and pool in ("max", "stride"):
            self.fused = False  # `fast.use_fused_blocks` sets it
        self.out_channels = channels * (2 if join == "concatenation" else 1)

    def why_not_fused(self) -> str | None:
        """Why this layer can't take the fused block, in words; None if it can. Only for layers with `fused`."""
        convolution: Any = self.conv_a
        return why_not_shape(convolution.out_channels, self.pool_size)

    def forward(self, images: Tensor) -> Tensor:
        padded = same_pad(images, self.kernel_size, self.conv_stride)
        convolution: Any = self.conv_a
        per_image = convolution.out_channels * (images.shape[2] // self.conv_stride) ** 2
        return in_slices(padded, per_image, lambda part: self.join(*self._convolved(part)))

    def join(self, *outputs: Tensor) -> Tensor:
        """What follows the convolutions, whose outputs [B, C, H, H] these are."""
        if getattr(self, "fused", False):
            return self._fused(*outputs)
        branches = [self._activated(*branch) for branch in zip(self.branches, outputs, strict=True)]
        joined = branches[0]
        if self.joined_by == "product":
            joined = joined * branches[1]
        elif self.joined_by == "sum":
            joined = joined + branches[1]
        elif self.joined_by == "concatenation":
            joined = torch.cat(branches, dim=1)
        if self.pool == "stride":
            return joined
        pooled = same_max_pool if self.pool == "max" else same_average_pool
        return pooled(joined, self.pool_size, self.pool_stride)

    def _fused(self, branch_a: Tensor, branch_b: Tensor | None = None) -> Tensor:
        norm = Norm(per_image=False, epsilon=NORM_EPSILON)
        windows = (1, 1) if self.pool == "stride" else (self.pool_size, self.pool_stride)
        pooling = Pooling.same(branch_a.shape[2], *windows)
        norm_b = None if branch_b is None else self._norm("b")
        return fused_block(branch_a, branch_b, self._norm("a"), norm_b, norm, pooling)

    def _norm(self, name: str) -> tuple[Tensor, Tensor]:
        norm: Any = self.get_submodule(f"norm_{name}")
        # Not by `get_parameter`, which refuses the copies that `precision.encode` puts in the weights' places.
        return norm.weight, norm.bias

    def _convolved(self, padded: Tensor) -> Sequence[Tensor]:
        convolutions: list[Any] = [self.get_submodule(f"conv_{name}") for name in self.branches]
        if getattr(self, "fourier", False) and fits(padded, convolutions[0]):
            return fourier_convolutions(padded, *convolutions)
        return [convolution(padded) for convolution in convolutions]

    def _activated(self, name: str, hidden: Tensor) -> Tensor:
        if self.normed:
            hidden = channel_norm(hidden, *self._norm(name))
        return gelu_tanh(hidden)


def same_pad(images: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Zeros around [B, C, H, H] so that a convolution gives ceil(H / stride) rows; an odd one at bottom and right."""
    height = images.shape[-1]
    padding = max((-(-height // stride) - 1) * stride + kernel_size - height, 0)
    return F.pad(images, (padding // 2, padding - padding // 2) * 2)


def same_average_pool(images: Tensor, size: int, stride: int) -> Tensor:
    """The means over the windows of `same_max_pool`; of a window that overhangs, over what lies inside the map."""
    height = images.shape[-1]
    padding = max((-(-height // stride) - 1) * stride + size - height, 0)
    if padding % 2 == 0:
        return F.avg_pool2d(images, size, stride, padding // 2, count_include_pad=False)
    low = padding // 2
    kernel = (low, padding - low) * 2
    inside = F.pad(torch.ones_like(images[:1, :1]), kernel)
    return F.avg_pool2d(F.pad(images, kernel), size, stride) / F.avg_pool2d(inside, size, stride)


class HadamaxVariant(Encoder):
    """Hadamax-PQN's encoder with other blocks.

    Args:
        block: (in_channels, channels, kernel_size, pool_size, pool_stride) -> a block.
        widths: channels of the blocks; from the fourth on they are like the third.
        activation: of the dense layer.
        outputs: channels that a block gives for each of its width.
    """

    features = 512

    def __init__(
        self,
        block: Callable[..., nn.Module] = HadamaxConv,
        *,
        widths: tuple[int, ...] = _HADAMAX_WIDTHS,
        activation: Callable[[Tensor], Tensor] = gelu_tanh,
        outputs: int = 1,
        normed: bool = True,
    ) -> None:
        super().__init__()
        self.convolutions = tuple(f"conv{number + 1}" for number in range(len(widths)))
        self.layer_names = (*self.convolutions, "dense")
        self.smooth = activation is gelu_tanh
        self.rectified_layers = () if self.smooth else self.layer_names
        shapes = _HADAMAX_BLOCKS + _HADAMAX_BLOCKS[-1:] * (len(widths) - len(_HADAMAX_BLOCKS))
        channels = FRAMES
        for name, width, (kernel, pool, stride) in zip(self.convolutions, widths, shapes, strict=True):
            self.add_module(name, block(channels, width, kernel_size=kernel, pool_size=pool, pool_stride=stride))
            channels = width * outputs
        flat = _HADAMAX_SIDE**2 * channels
        self.dense = DenseNorm(flat, self.features, activation) if normed else Dense(flat, self.features, activation)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        return _in_order(self, observations, activations)

    def reset_parameters(self, generator: torch.Generator) -> None:
        reset_weights(self, xavier_normal_, generator, dense=he_normal_)


class Dense(nn.Module):
    """Linear -> activation."""

    def __init__(self, in_features: int, features: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, features)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        return self.activation(self.linear(inputs))


class NatureVariant(Encoder):
    """PQN's encoder with other widths; its convolutions from the fourth on are 3x3, SAME, as wide as the third."""

    features = 512

    def __init__(self, *, widths: tuple[int, ...] = (32, 64, 64)) -> None:
        super().__init__()
        self.convolutions = tuple(f"conv{number + 1}" for number in range(len(widths)))
        self.layer_names = self.rectified_layers = (*self.convolutions, "dense")
        shapes = [(8, 4, 0), (4, 2, 0), (3, 1, 0)] + [(3, 1, 1)] * (len(widths) - 3)  # kernel, stride, padding
        channels = FRAMES
        for name, width, (kernel, stride, padding) in zip(self.convolutions, widths, shapes, strict=True):
            self.add_module(name, ConvNormRelu(channels, width, kernel_size=kernel, stride=stride, padding=padding))
            channels = width
        self.dense = DenseNorm(_NATURE_SIDE**2 * channels, self.features, F.relu)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        return _in_order(self, observations, activations)

    def reset_parameters(self, generator: torch.Generator) -> None:
        reset_weights(self, he_normal_, generator, dense=he_normal_)


def _in_order(
    encoder: HadamaxVariant | NatureVariant, observations: Tensor, activations: dict[str, Tensor] | None
) -> Tensor:
    """The convolutions one after another, then the dense layer."""
    hidden = encoder.images(observations, encoder.dense.linear.weight.dtype)
    for name in encoder.convolutions:
        hidden = keep(activations, name, encoder.get_submodule(name)(hidden))
    return keep(activations, "dense", encoder.dense(flatten_nhwc(hidden)))


def _blocks(**changes: Any) -> Callable[..., nn.Module]:
    return partial(VariantBlock, **changes)


_VARIANTS: dict[str, Callable[[], Encoder]] = {
    "hadamax-no-maxpool": lambda: HadamaxVariant(_blocks(pool="stride")),
    "hadamax-no-product": lambda: HadamaxVariant(_blocks(join="single")),
    "hadamax-relu": lambda: HadamaxVariant(partial(HadamaxConv, rectified=True), activation=F.relu),
    "hadamax-average-pool": lambda: HadamaxVariant(_blocks(pool="average")),
    "hadamax-sum": lambda: HadamaxVariant(_blocks(join="sum")),
    "hadamax-concatenation": lambda: HadamaxVariant(_blocks(join="concatenation"), outputs=2),
    "hadamax-single-wide": lambda: HadamaxVariant(_blocks(join="single"), widths=(64, 128, 128)),
    # 64 * 4 * 8 * 8 + 87 * 64 * 4 * 4 + 64 * 87 * 3 * 3 weights against the 155,648 of the two branches
    "hadamax-single-equal": lambda: HadamaxVariant(_blocks(join="single"), widths=(64, 87, 64)),
    "hadamax-no-layernorm": lambda: HadamaxVariant(_blocks(normed=False), normed=False),
    "hadamax-depth-5": lambda: HadamaxVariant(widths=(32, 64, 64, 64, 64)),
    "hadamax-depth-7": lambda: HadamaxVariant(widths=(32, 64, 64, 64, 64, 64, 64)),
    "hadamax-half-width": lambda: HadamaxVariant(widths=(16, 32, 32)),
    "hadamax-double-width": lambda: HadamaxVariant(widths=(64, 128, 128)),
    "nature-depth-5": lambda: NatureVariant(widths=(32, 64, 64, 64, 64)),
    "nature-depth-7": lambda: NatureVariant(widths=(32, 64, 64, 64, 64, 64, 64)),
    "nature-half-width": lambda: NatureVariant(widths=(16, 32, 32)),
    "nature-double-width": lambda: NatureVariant(widths=(64, 128, 128)),
}
# name in a pinned configuration -> what builds it, without arguments
ALL_PQN_ENCODERS: dict[str, Callable[[], Encoder]] = {**PQN_ENCODERS, **_VARIANTS}
