"""Initial weights as the official PQN and Hadamax code draws them: flax's variance-scaling *truncated* normals.

A normal is cut at two of its own standard deviations and widened so that the deviation afterwards is the one asked
for; torch's `kaiming_normal_` and `xavier_normal_` do not truncate. Draws come from a CPU generator in float64, so that
one seed gives the same weights on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Standard deviation of a unit normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


@torch.no_grad()
def truncated_normal_(weight: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Fills `weight` in place, any shape, with a truncated normal whose standard deviation is `std`.

    No value exceeds 2 * std / 0.8796. The generator must be a CPU one; the draw is independent of dtype and device.
    """
    cut = math.erf(math.sqrt(2.0))  # probability mass of a unit normal inside [-2, 2]
    uniform = torch.rand(weight.shape, generator=generator, dtype=torch.float64) * (2 * cut) - cut
    normal = math.sqrt(2.0) * torch.erfinv(uniform)
    return weight.copy_(normal.clamp_(-2.0, 2.0) * (std / _TRUNCATED_STD))


def fans(weight: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a convolution's [out, in, height, width] or a linear layer's [out, in] weight."""
    receptive_field = math.prod(weight.shape[2:])
    return weight.shape[1] * receptive_field, weight.shape[0] * receptive_field


def he_normal_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Variance 2 / fan_in (flax `he_normal`)."""
    fan_in, _ = fans(weight)
    return truncated_normal_(weight, math.sqrt(2 / fan_in), generator)


def xavier_normal_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Variance 2 / (fan_in + fan_out) (flax `xavier_normal`)."""
    fan_in, fan_out = fans(weight)
    return truncated_normal_(weight, math.sqrt(2 / (fan_in + fan_out)), generator)


def lecun_normal_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Variance 1 / fan_in (flax `lecun_normal`, the default of its layers)."""
    fan_in, _ = fans(weight)
    return truncated_normal_(weight, math.sqrt(1 / fan_in), generator)


def zero_biases_(module: nn.Module) -> None:
    """Sets the bias of every convolution and linear layer of `module` to zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def uniform_by_fan_in_(parameter: Tensor, fan_in: int, generator: torch.Generator) -> Tensor:
    """Fills `parameter` in place, uniform in +-1 / sqrt(fan_in), drawn in float64 from a CPU generator.

    What torch gives weights and biases of its layers by default, and dqn_zoo's Rainbow all but its noise scales.
    """
    uniform = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return parameter.copy_(uniform / math.sqrt(fan_in))


def uniform_layers_(module: nn.Module, generator: torch.Generator) -> None:
    """`uniform_by_fan_in_` for weight and bias of every convolution and linear layer of `module`."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in, _ = fans(layer.weight)
            uniform_by_fan_in_(layer.weight, fan_in, generator)
            if layer.bias is not None:
                uniform_by_fan_in_(layer.bias, fan_in, generator)
