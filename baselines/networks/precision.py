"""In which precision an encoder computes: `precision` of a pinned configuration.

`float32` is the published protocol (on a GPU with TF32, what the official code's default means on the paper's A100).
`bf16` is mixed precision (Micikevicius et al. 2018, arXiv 1710.03740): weights, their gradients and the optimizer stay
float32; the encoder computes with a bfloat16 copy of its weights; the head and the loss are float32.

A processor without bfloat16 instructions multiplies the same bfloat16 numbers in float32 (`ProductsInFloat32`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from baselines.config import ConfigError
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


def lacks_bf16(device: torch.device) -> bool:
    """Whether `device` is an x86 processor without bfloat16 instructions; False where nothing is known."""
    if device.type != "cpu":
        return False
    found: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch has none
    return found.get("architecture") == "x86_64" and not any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))


class ProductsInFloat32(TorchFunctionMode):
    """Computes the convolutions and dense layers of bfloat16 tensors in float32, and rounds what they give to bfloat16.

    A bfloat16 product is exact in float32, where sums run too, forward and backward: what bfloat16 instructions do, up
    to the order of the sums. torch's own way without such instructions takes 9 to 18 times as long as float32.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or args[0].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        wide = [_wide(arg) for arg in args]
        return func(*wide, **{name: _wide(arg) for name, arg in kwargs.items()}).bfloat16()


_PRODUCTS = (F.conv2d, F.linear)


def _wide(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) else argument


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
