"""In which precision an encoder computes: `precision` of a pinned configuration.

`float32` is the published protocol (on a GPU with TF32, what the official code's default means on the paper's A100).
`bf16` is mixed precision (Micikevicius et al. 2018, arXiv 1710.03740): weights, their gradients and the optimizer stay
float32; the encoder computes with a bfloat16 copy of its weights, whose products are summed in float32; the head and
the loss are float32.

A processor without bfloat16 instructions multiplies the same bfloat16 numbers in float32 (`ProductsInFloat32`).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call

from baselines.config import ConfigError
from baselines.fast.bf16 import ProductsInFloat32, lacks_bf16
from baselines.networks.encoder import Encoder

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16}  # None: that of the weights


def use_precision(network: nn.Module, precision: str) -> None:
    """Lets the encoders in `network` compute in a precision of `PRECISIONS`.

    Raises: ConfigError for another one.
    """
    check_precision(precision)
    for module in network.modules():
        if isinstance(module, Encoder):
            module.compute_dtype = PRECISIONS[precision]


def check_precision(precision: str) -> None:
    """Raises ConfigError if `PRECISIONS` has none of that name."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is not supported (allowed: {', '.join(PRECISIONS)})")


def encode(encoder: Encoder, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
    """The features [B, F] of observations [B, 4, 84, 84], computed as `use_precision` said, in the weights' own dtype.

    Gradients reach the weights themselves. `activations` is filled with layers as computed, bfloat16 ones included.
    """
    if encoder.compute_dtype is None:
        return encoder(observations, activations)
    weights = dict(encoder.named_parameters())
    coarse = {name: weight.to(encoder.compute_dtype) for name, weight in weights.items()}
    in_float32 = encoder.compute_dtype == torch.bfloat16 and lacks_bf16(observations.device)
    with ProductsInFloat32() if in_float32 else nullcontext():
        features = functional_call(encoder, coarse, (observations, activations))
    return features.to(next(iter(weights.values())).dtype)
