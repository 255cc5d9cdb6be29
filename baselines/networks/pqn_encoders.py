"""Image encoders of PQN: four stacked frames in, features out.

`NatureLayerNormEncoder` is PQN's own (arXiv 2407.04811), `HadamaxEncoder` the paper's (arXiv 2505.15345),
`ImpalaEncoder` the network which that paper calls ResNet-15. All follow the official code's arithmetic. Its traps:

- LayerNorm runs over the channels alone, at every pixel, eps 1e-6; not over channels, height and width together.
- GELU is the tanh approximation.
- "SAME" pads an even kernel one more at the bottom and right; SAME max-pooling pads with minus infinity.
- Flattening runs over (row, column, channel).

Tensors are [B, C, H, W] in channels_last memory, so that the channel axis a LayerNorm reduces is contiguous.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.fast.block_shape import Norm, Pooling
from baselines.fast.fourier_convolution import KERNELS, fits, fourier_convolutions
from baselines.fast.fused_block import fused_block, joint_block, why_not_shape
from baselines.fast.fused_norm import norm_relu
from baselines.networks.encoder import FRAMES, Encoder, flatten_nhwc, keep, one_convolution
from baselines.networks.initializers import he_normal_, lecun_normal_, xavier_normal_, zero_biases_

NORM_EPSILON = 1e-6
CPU_SLICE_ELEMENTS = 2**21  # of one branch's output


class NatureLayerNormEncoder(Encoder):
    """Three VALID convolutions and a dense layer, each LayerNorm -> ReLU."""

    features = 512
    rectified_layers = Encoder.layer_names

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNormRelu(FRAMES, 32, kernel_size=8, stride=4)  # 84 -> 20
        self.conv2 = ConvNormRelu(32, 64, kernel_size=4, stride=2)  # 20 -> 9
        self.conv3 = ConvNormRelu(64, 64, kernel_size=3, stride=1)  # 9 -> 7
        self.dense = DenseNorm(7 * 7 * 64, self.features, F.relu)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.conv1.conv.weight.dtype)
        for name in ("conv1", "conv2", "conv3"):
            hidden = keep(activations, name, getattr(self, name)(hidden))
        return keep(activations, "dense", self.dense(flatten_nhwc(hidden)))

    def reset_parameters(self, generator: torch.Generator) -> None:
        reset_weights(self, he_normal_, generator, dense=he_normal_)


class HadamaxEncoder(Encoder):
    """Three Hadamard max-pool blocks and a single dense layer, GELU throughout."""

    features = 512
    smooth = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = HadamaxConv(FRAMES, 32, kernel_size=8, pool_size=4, pool_stride=4)  # 84 -> 21
        self.conv2 = HadamaxConv(32, 64, kernel_size=4, pool_size=2, pool_stride=2)  # 21 -> 11
        self.conv3 = HadamaxConv(64, 64, kernel_size=3, pool_size=3, pool_stride=1)  # 11 -> 11
        self.dense = DenseNorm(11 * 11 * 64, self.features, gelu_tanh)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.conv1.conv_a.weight.dtype)
        for name in ("conv1", "conv2", "conv3"):
            hidden = keep(activations, name, getattr(self, name)(hidden))
        return keep(activations, "dense", self.dense(flatten_nhwc(hidden)))

    def reset_parameters(self, generator: torch.Generator) -> None:
        reset_weights(self, xavier_normal_, generator, dense=he_normal_)


class ImpalaEncoder(Encoder):
    """Five convolution sequences with residual blocks; no normalisation anywhere, 25 convolutions."""

    features = 256
    layer_names = ("seq1", "seq2", "seq3", "seq4", "seq5", "dense")
    rectified_layers = ("dense",)  # a sequence ends in a sum

    def __init__(self) -> None:
        super().__init__()
        self.seq1 = ImpalaSequence(FRAMES, 16)  # 84 -> 42
        self.seq2 = ImpalaSequence(16, 32)  # -> 21
        self.seq3 = ImpalaSequence(32, 32)  # -> 11
        self.seq4 = ImpalaSequence(32, 64)  # -> 6
        self.seq5 = ImpalaSequence(64, 64)  # -> 3
        self.dense = nn.Linear(3 * 3 * 64, self.features)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.dense.weight.dtype)
        for name in self.layer_names[:-1]:
            hidden = keep(activations, name, getattr(self, name)(hidden))
        return keep(activations, "dense", F.relu(self.dense(flatten_nhwc(F.relu(hidden)))))

    def reset_parameters(self, generator: torch.Generator) -> None:
        reset_weights(self, lecun_normal_, generator, dense=lecun_normal_)


# name in a pinned configuration -> class, built without arguments
PQN_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "nature-layernorm": NatureLayerNormEncoder,
    "hadamax": HadamaxEncoder,
    "impala": ImpalaEncoder,
}


# Layers -----------------------------------------------------------------------------------------------------------


class ConvNormRelu(nn.Module):
    """Convolution, VALID unless padded -> LayerNorm over channels -> ReLU."""

    fused_norm = False  # `fast.use_fused_norms` sets it

    def __init__(self, in_channels: int, channels: int, *, kernel_size: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(channels, NORM_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        return self.activated(self.conv(images))

    def why_not_fused_norm(self) -> str | None:
        return None

    def activated(self, outputs: Tensor) -> Tensor:
        """What follows the convolution, whose outputs [B, C, H, W] these are."""
        scale, bias = self.norm.weight, self.norm.bias
        if self.fused_norm:
            return norm_relu(outputs.permute(0, 2, 3, 1), scale, bias, NORM_EPSILON).permute(0, 3, 1, 2)
        return F.relu(channel_norm(outputs, scale, bias))


class HadamaxConv(nn.Module):
    """Two parallel stride-1 SAME convolutions of one input, joined by `hadamax_block`, or its fused equal.

    Args: `rectified`: ReLU in the place of GELU, as in one of the paper's ablations.
    """

    fused = False  # `fast.use_fused_blocks` sets it, and then, on a GPU:
    one_convolution = False

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel_size: int,
        pool_size: int,
        pool_stride: int,
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.block_norm = Norm(per_image=False, epsilon=NORM_EPSILON, rectified=rectified)
        self.conv_a = nn.Conv2d(in_channels, channels, kernel_size)
        self.norm_a = nn.LayerNorm(channels, NORM_EPSILON)
        self.conv_b = nn.Conv2d(in_channels, channels, kernel_size)
        self.norm_b = nn.LayerNorm(channels, NORM_EPSILON)
        self.pool_size, self.pool_stride = pool_size, pool_stride
        if kernel_size in KERNELS:
            self.fourier = False  # on a CPU; `fast.use_fourier` sets it
        low = (kernel_size - 1) // 2
        self.padding = (low, kernel_size - 1 - low) * 2

    def why_not_fused(self) -> str | None:
        """Why this layer can't take the fused block, in words; None if it can."""
        return why_not_shape(self.conv_a.out_channels, self.pool_size)

    def forward(self, images: Tensor) -> Tensor:
        padded = F.pad(images, self.padding)  # once for both; torch's own padding= is symmetric
        return in_slices(padded, self.conv_a.out_channels * images.shape[2] * images.shape[3], self._block)

    def join(self, branch_a: Tensor, branch_b: Tensor) -> Tensor:
        """What follows the convolutions, whose outputs [B, C, H, H] these are."""
        norms, windows = self._norms(), (self.pool_size, self.pool_stride)
        if self.fused:
            return fused_block(branch_a, branch_b, *norms, self.block_norm, Pooling.same(branch_a.shape[2], *windows))
        return hadamax_block(branch_a, branch_b, *norms, *windows, rectified=self.block_norm.rectified)

    def _block(self, padded: Tensor) -> Tensor:
        if getattr(self, "fourier", False) and fits(padded, self.conv_a):
            return self.join(*fourier_convolutions(padded, self.conv_a, self.conv_b))
        if not self.one_convolution:
            return self.join(self.conv_a(padded), self.conv_b(padded))
        both = one_convolution(padded, self.conv_a, self.conv_b)
        pooling = Pooling.same(both.shape[2], self.pool_size, self.pool_stride)
        return joint_block(both, *self._norms(), self.block_norm, pooling)

    def _norms(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.norm_a.weight, self.norm_a.bias), (self.norm_b.weight, self.norm_b.bias)


def in_slices(images: Tensor, per_image: int, block: Callable[[Tensor], Tensor]) -> Tensor:
    """`block` of images, a few at a time on a CPU: larger intermediate results miss the caches, and the system maps and
    clears their memory anew for each, which made an update of the first Hadamax block 1.6 times slower.

    Args: `per_image`: numbers in a result in between, of one image.
    """
    if images.device.type != "cpu":
        return block(images)
    slices = images.split(max(1, CPU_SLICE_ELEMENTS // per_image))
    return torch.cat([block(part) for part in slices]) if len(slices) > 1 else block(images)


class DenseNorm(nn.Module):
    """Linear -> LayerNorm -> activation."""

    fused_norm = False  # `fast.use_fused_norms` sets it, where the activation is ReLU

    def __init__(self, in_features: int, features: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, features)
        self.norm = nn.LayerNorm(features, NORM_EPSILON)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        return self.activated(self.linear(inputs))

    def activated(self, outputs: Tensor) -> Tensor:
        """What follows the linear layer, whose outputs [B, features] these are."""
        if self.fused_norm:
            return norm_relu(outputs, self.norm.weight, self.norm.bias, NORM_EPSILON)
        return self.activation(self.norm(outputs))

    def why_not_fused_norm(self) -> str | None:
        return None if self.activation is F.relu else "its activation is not ReLU"


class ImpalaSequence(nn.Module):
    """3x3 convolution -> max-pool 3x3 stride 2, both SAME -> two residual blocks."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.residual1 = ImpalaResidual(channels)
        self.residual2 = ImpalaResidual(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.residual2(self.residual1(same_max_pool(self.conv(images), 3, 2)))


class ImpalaResidual(nn.Module):
    """ReLU, convolution, ReLU, convolution; the input is added as it came, not rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.conv2(F.relu(self.conv1(F.relu(images))))


# Functions --------------------------------------------------------------------------------------------------------


def hadamax_block(
    branch_a: Tensor,
    branch_b: Tensor,
    norm_a: tuple[Tensor, Tensor],
    norm_b: tuple[Tensor, Tensor],
    pool_size: int,
    pool_stride: int,
    *,
    rectified: bool = False,
) -> Tensor:
    """max_pool(gelu(norm(a)) * gelu(norm(b))): the Hadamax block after its convolutions (arXiv 2505.15345, section 4).

    Args:
        branch_a, branch_b: [B, C, H, W] convolution outputs, channels_last.
        norm_a, norm_b: scale [C] and bias [C] of each branch's LayerNorm.
        rectified: ReLU in the place of GELU.
    Returns: [B, C, ceil(H / pool_stride), ceil(W / pool_stride)], channels_last.
    """
    activation = F.relu if rectified else gelu_tanh
    product = activation(channel_norm(branch_a, *norm_a)) * activation(channel_norm(branch_b, *norm_b))
    return same_max_pool(product, pool_size, pool_stride)


def channel_norm(images: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the channel axis of [B, C, H, W]; with channels_last input nothing is copied."""
    normed = F.layer_norm(images.permute(0, 2, 3, 1), scale.shape, scale, bias, NORM_EPSILON)
    return normed.permute(0, 3, 1, 2)


def gelu_tanh(inputs: Tensor) -> Tensor:
    return F.gelu(inputs, approximate="tanh")


def same_max_pool(images: Tensor, size: int, stride: int) -> Tensor:
    """Max-pooling of square [B, C, H, H] with SAME padding: ceil(H / stride) windows, the odd pixel at the end."""
    height = images.shape[-1]
    padding = max((-(-height // stride) - 1) * stride + size - height, 0)
    if padding % 2 == 0:  # torch pads max-pooling with minus infinity, but only symmetrically
        return F.max_pool2d(images, size, stride, padding // 2)
    if padding == 1:  # a last window that overhangs is the same as padding at the end
        return F.max_pool2d(images, size, stride, ceil_mode=True)
    low = padding // 2
    padded = F.pad(images, (low, padding - low) * 2, value=float("-inf"))
    return F.max_pool2d(padded, size, stride)


def reset_weights(
    encoder: nn.Module,
    convolution: Callable[[Tensor, torch.Generator], Tensor],
    generator: torch.Generator,
    *,
    dense: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    """Draws the weights of convolutions and dense layers by the given rules; biases 0, LayerNorms as they begin."""
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            convolution(layer.weight, generator)
        elif isinstance(layer, nn.Linear):
            dense(layer.weight, generator)
        elif isinstance(layer, nn.LayerNorm):
            layer.reset_parameters()
    zero_biases_(encoder)
