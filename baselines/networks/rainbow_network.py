"""Rainbow's network (Hessel et al. 2018, arXiv 1710.02298): dueling heads of noisy layers over return distributions.

The arithmetic is dqn_zoo's: the output layer of either head has no plain bias, only a noisy one. Noise comes in from
outside, so that one forward pass is a function of its arguments and can be captured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.networks.distribution_network import HadamaxC51Torso
from baselines.networks.encoder import FRAMES, Encoder, flatten_nhwc, keep
from baselines.networks.initializers import uniform_by_fan_in_, uniform_layers_
from baselines.networks.load import load_encoder
from baselines.networks.precision import encode

HIDDEN = 512


class NatureTorso(Encoder):
    """The three convolutions of Mnih et al. 2015 with ReLU, flattened over (row, column, channel)."""

    features = 7 * 7 * 64
    layer_names = ("conv1", "conv2", "conv3")
    rectified_layers = layer_names

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(FRAMES, 32, 8, stride=4)  # 84 -> 20
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)  # -> 9
        self.conv3 = nn.Conv2d(64, 64, 3)  # -> 7

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        hidden = self.images(observations, self.conv1.weight.dtype)
        for name in self.layer_names:
            hidden = keep(activations, name, F.relu(getattr(self, name)(hidden)))
        return flatten_nhwc(hidden)

    def reset_parameters(self, generator: torch.Generator) -> None:
        uniform_layers_(self, generator)


# name in a configuration -> class, built without arguments
RAINBOW_ENCODERS: dict[str, Callable[[], Encoder]] = {"nature-torso": NatureTorso, "hadamax-torso": HadamaxC51Torso}


class NoisyLinear(nn.Module):
    """y = W x + b + (V (x * f_in) + c) * f_out, with learned V, c and factorised noise f_in, f_out (arXiv 1706.10295).

    f is what the paper calls f(epsilon) = sign(epsilon) sqrt(|epsilon|), already applied.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.mean = nn.Linear(in_features, out_features, bias=bias)
        self.scale = nn.Linear(in_features, out_features)

    def forward(self, inputs: Tensor, noise_in: Tensor | None, noise_out: Tensor | None) -> Tensor:
        """[B, in] -> [B, out]; noise_in [B or 1, in] and noise_out [B or 1, out], or both None for no noise."""
        outputs = self.mean(inputs)
        if noise_in is None or noise_out is None:
            return outputs
        return torch.addcmul(outputs, self.scale(inputs * noise_in), noise_out)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator, sigma: float) -> None:
        """W and b uniform in +-1 / sqrt(in), every noise scale `sigma` / sqrt(in)."""
        uniform_by_fan_in_(self.mean.weight, self.in_features, generator)
        if self.mean.bias is not None:
            uniform_by_fan_in_(self.mean.bias, self.in_features, generator)
        for parameter in self.scale.parameters():
            nn.init.constant_(parameter, sigma / self.in_features**0.5)


class RainbowNetwork(nn.Module):
    """Logits of K atoms for A actions: state value plus advantage, centred over actions."""

    def __init__(self, encoder: Encoder, actions: int, atoms: int) -> None:
        super().__init__()
        self.actions, self.atoms = actions, atoms
        self.encoder = encoder
        features = encoder.features
        self.advantage_hidden = NoisyLinear(features, HIDDEN, bias=True)
        self.advantage = NoisyLinear(HIDDEN, actions * atoms, bias=False)
        self.value_hidden = NoisyLinear(features, HIDDEN, bias=True)
        self.value = NoisyLinear(HIDDEN, atoms, bias=False)
        # Where each vector of noise lies within a row of it: in and out of the four layers, in this order.
        layers = (self.advantage_hidden, self.advantage, self.value_hidden, self.value)
        self.noise_sizes = [size for layer in layers for size in (layer.in_features, layer.out_features)]

    def forward(
        self, observations: Tensor, activations: dict[str, Tensor] | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Logits [B, A, K] of observations [B, 4, 84, 84], uint8 or float in 0..255.

        Args:
            activations: if given, filled with the torso's named outputs.
            noise: [1, sum(noise_sizes)] for one draw shared by the batch, [B, ...] for one each, None for none.
        """
        features = encode(self.encoder, observations, activations)
        n = noise.split(self.noise_sizes, dim=1) if noise is not None else [None] * 8
        advantage = self.advantage(F.relu(self.advantage_hidden(features, n[0], n[1])), n[2], n[3])
        value = self.value(F.relu(self.value_hidden(features, n[4], n[5])), n[6], n[7])
        advantage = advantage.unflatten(1, (self.actions, self.atoms))
        return value[:, None] + advantage - advantage.mean(dim=1, keepdim=True)

    def reset_parameters(self, generator: torch.Generator, sigma: float) -> None:
        """Draws new weights from a CPU generator; `sigma` is the noise scale before division by sqrt(fan-in)."""
        self.encoder.reset_parameters(generator)
        for layer in (self.advantage_hidden, self.advantage, self.value_hidden, self.value):
            layer.reset_parameters(generator, sigma)


def build_rainbow_network(
    encoder: str, actions: int, atoms: int, sigma: float, generator: torch.Generator
) -> RainbowNetwork:
    """A float32 network on the CPU, initial weights drawn from a CPU generator. Raises ConfigError: unknown encoder."""
    network = RainbowNetwork(load_encoder(encoder, RAINBOW_ENCODERS), actions, atoms)
    network.reset_parameters(generator, sigma)
    return network
