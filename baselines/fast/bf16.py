"""bfloat16 on a processor: which instructions it has for it, and products without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

ROWS, TILES = "avx512_bf16", "amx_bf16"  # x86's instructions for bfloat16, by torch's names


def bf16_instructions() -> list[str]:
    """Those that the processor has; none where nothing is known of it."""
    found = _capabilities()
    return [name for name in (ROWS, TILES) if found.get(name)]


def lacks_bf16(device: torch.device) -> bool:
    """Whether `device` is an x86 processor without bfloat16 instructions; False where nothing is known."""
    return _x86_without(device, ROWS, TILES)


def lacks_bf16_tiles(device: torch.device) -> bool:
    """Whether `device` is an x86 processor without AMX for bfloat16; False where nothing is known.

    AMX multiplies whole tiles of bfloat16 numbers; AVX-512's instructions, rows of them, at twice float32's speed.
    """
    return _x86_without(device, TILES)


def _x86_without(device: torch.device, *instructions: str) -> bool:
    is_x86 = device.type == "cpu" and _capabilities().get("architecture") == "x86_64"
    return is_x86 and not set(instructions) & set(bf16_instructions())


def _capabilities() -> Mapping[str, object]:
    return getattr(torch.cpu, "get_capabilities", dict)()  # an older torch has none


class ProductsInFloat32(TorchFunctionMode):
    """Computes the convolutions and dense layers of bfloat16 tensors in float32, and rounds what they give to bfloat16.

    A bfloat16 product is exact in float32, where sums run too, forward and backward: what bfloat16 instructions do, up
    to the order of the sums. torch's own way without such instructions takes 9 to 18 times as long as float32.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or (args[0] if args else kwargs["input"]).dtype != torch.bfloat16:
            return func(*args, **kwargs)
        wide = [_wide(arg) for arg in args]
        return func(*wide, **{name: _wide(arg) for name, arg in kwargs.items()}).bfloat16()


_PRODUCTS = (F.conv2d, F.linear)


def _wide(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) else argument
