"""The shape of a Hadamax block: which norm it has and how its windows lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pooling:
    """Square windows: how they lie over the rows, and over the columns likewise."""

    size: int
    stride: int
    padding: int  # rows before the first one
    rows: int  # of the output

    @classmethod
    def same(cls, height: int, size: int, stride: int) -> Pooling:
        """SAME padding: ceil(height / stride) windows, an odd pixel of padding at the end."""
        rows = -(-height // stride)
        return cls(size, stride, max((rows - 1) * stride + size - height, 0) // 2, rows)

    @classmethod
    def symmetric(cls, height: int, size: int, stride: int, padding: int) -> Pooling:
        """torch's own: `padding` on both sides, windows that overhang left out."""
        return cls(size, stride, padding, (height + 2 * padding - size) // stride + 1)


@dataclass(frozen=True)
class Norm:
    """Which of the paper's two variants, or the ablation of the second one with ReLU."""

    per_image: bool  # LayerNorm over channels, height and width with the exact GELU; else over channels, tanh GELU
    epsilon: float
    rectified: bool = False  # ReLU in the place of the tanh GELU
