"""Networks of the paper's C51 experiment (arXiv 2505.15345): return distributions of every action.

The Hadamax encoder here is *not* the one of PQN (`pqn_encoders.HadamaxEncoder`), though the paper gives both one name:

- even kernels are padded alike on all sides, so that the first two maps grow: 84 -> 85 -> 21 -> 22 -> 11;
- LayerNorm runs over channels, height and width together and has no learned scale or bias; eps 1e-5;
- GELU is the exact one; pooling pads nothing except for the last block; flattening runs over (channel, row, column).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.fast.block_shape import Norm, Pooling
from baselines.fast.fourier_convolution import KERNELS, fits, fourier_convolutions
from baselines.fast.fused_block import fused_block, joint_block, why_not_shape
from baselines.networks.encoder import FRAMES, Encoder, keep, one_convolution
from baselines.networks.initializers import uniform_layers_
from baselines.networks.load import load_encoder
from baselines.networks.precision import encode

NORM_EPSILON = 1e-5


class NatureEncoder(Encoder):
    """The DQN network of Mnih et al. 2015: three convolutions and a dense layer, each with ReLU, no normalisation."""

    features = 512
    rectified_layers = Encoder.layer_names

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(FRAMES, 32, 8, stride=4)  # 84 -> 20
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)  # -> 9
        self.conv3 = nn.Conv2d(64, 64, 3)  # -> 7
        self.dense = nn.Linear(7 * 7 * 64, self.features)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.dense.weight.dtype)
        for name in ("conv1", "conv2", "conv3"):
            hidden = keep(activations, name, F.relu(getattr(self, name)(hidden)))
        return keep(activations, "dense", F.relu(self.dense(hidden.flatten(1))))

    def reset_parameters(self, generator: torch.Generator) -> None:
        uniform_layers_(self, generator)


class HadamaxC51Encoder(Encoder):
    """The Hadamax encoder of the paper's C51 experiment; see the head of this module for how it differs from PQN's."""

    features = 512
    smooth = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = HadamaxC51Conv(FRAMES, 32, kernel_size=8, padding=4, pool=(4, 4, 0))  # 84 -> 85 -> 21
        self.conv2 = HadamaxC51Conv(32, 64, kernel_size=4, padding=2, pool=(2, 2, 0))  # -> 22 -> 11
        self.conv3 = HadamaxC51Conv(64, 64, kernel_size=3, padding=1, pool=(3, 1, 1))  # -> 11 -> 11
        self.dense = nn.Linear(64 * 11 * 11, self.features)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.dense.weight.dtype)
        for name in ("conv1", "conv2", "conv3"):
            hidden = keep(activations, name, getattr(self, name)(hidden))
        dense = F.layer_norm(self.dense(hidden.flatten(1)), (self.features,), eps=NORM_EPSILON)
        return keep(activations, "dense", F.gelu(dense))

    def reset_parameters(self, generator: torch.Generator) -> None:
        uniform_layers_(self, generator)


class HadamaxC51Torso(HadamaxC51Encoder):
    """The three blocks of `HadamaxC51Encoder`, flattened: for Rainbow, whose noisy heads begin with a dense layer."""

    features = 64 * 11 * 11
    layer_names = ("conv1", "conv2", "conv3")

    def __init__(self) -> None:
        super().__init__()
        del self.dense

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.conv1.conv_a.weight.dtype)
        for name in self.layer_names:
            hidden = keep(activations, name, getattr(self, name)(hidden))
        return hidden.flatten(1)


class HadamaxC51Conv(nn.Module):
    """Two parallel stride-1 convolutions of one input, each normed and activated, multiplied and max-pooled."""

    fused = False  # `fast.use_fused_blocks` sets it, and then, on a GPU:
    one_convolution = False

    def __init__(
        self, in_channels: int, channels: int, *, kernel_size: int, padding: int, pool: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(in_channels, channels, kernel_size, padding=padding)
        self.conv_b = nn.Conv2d(in_channels, channels, kernel_size, padding=padding)
        self.pool = pool  # size, stride, padding
        self.padding = (padding,) * 4
        if kernel_size in KERNELS:
            self.fourier = False  # on a CPU; `fast.use_fourier` sets it

    def why_not_fused(self) -> str | None:
        """Why this layer can't take the fused block, in words; None if it can."""
        return why_not_shape(self.conv_a.out_channels, self.pool[0])

    def forward(self, images: Tensor) -> Tensor:
        if getattr(self, "fourier", False) and fits(padded := F.pad(images, self.padding), self.conv_a):
            return self.join(*fourier_convolutions(padded, self.conv_a, self.conv_b))
        if not self.one_convolution:
            return self.join(self.conv_a(images), self.conv_b(images))
        both = one_convolution(images, self.conv_a, self.conv_b)
        pooling = Pooling.symmetric(both.shape[2], *self.pool)
        return joint_block(both, None, None, Norm(per_image=True, epsilon=NORM_EPSILON), pooling)

    def join(self, branch_a: Tensor, branch_b: Tensor) -> Tensor:
        """What follows the convolutions, whose outputs [B, C, H, H] these are."""
        if self.fused:
            pooling = Pooling.symmetric(branch_a.shape[2], *self.pool)
            return fused_block(branch_a, branch_b, None, None, Norm(per_image=True, epsilon=NORM_EPSILON), pooling)
        return F.max_pool2d(F.gelu(image_norm(branch_a)) * F.gelu(image_norm(branch_b)), *self.pool)


def image_norm(images: Tensor) -> Tensor:
    """[B, C, H, W] to mean 0 and variance 1 over channels, height and width of each image, nothing learned.

    Which order the sums run in is rounding only; (H, W, C) is the one that channels_last memory needs no copy for.
    """
    rows = images.permute(0, 2, 3, 1)
    return F.layer_norm(rows, rows.shape[1:], eps=NORM_EPSILON).permute(0, 3, 1, 2)


# name in a pinned configuration -> class, built without arguments
C51_ENCODERS: dict[str, Callable[[], Encoder]] = {"nature": NatureEncoder, "hadamax-c51": HadamaxC51Encoder}


class DistributionNetwork(nn.Module):
    """An encoder and one linear layer of K logits for every action, the network of C51."""

    def __init__(self, encoder: Encoder, actions: int, atoms: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.actions, self.atoms = actions, atoms
        self.logits = nn.Linear(encoder.features, actions * atoms)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        """Logits [B, A, K] of observations [B, 4, 84, 84], uint8 or float in 0..255."""
        return self.logits(encode(self.encoder, observations, activations)).unflatten(1, (self.actions, self.atoms))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws new weights from a CPU generator: torch's defaults, which the official code leaves as they are."""
        self.encoder.reset_parameters(generator)
        uniform_layers_(self.logits, generator)


def build_c51_network(encoder: str, actions: int, atoms: int, generator: torch.Generator) -> DistributionNetwork:
    """A float32 network on the CPU, initial weights drawn from a CPU generator. Raises ConfigError: unknown encoder."""
    network = DistributionNetwork(load_encoder(encoder, C51_ENCODERS), actions, atoms)
    network.reset_parameters(generator)
    return network
