"""Noise for noisy networks (Fortunato et al. 2018, arXiv 1706.10295), drawn on the host and the same on every device.

An update of Rainbow takes some 26,000 normal numbers and the paper's f(x) = sign(x) sqrt(|x|) of each. They are drawn
as 16 random bits that pick one of 65,536 equally likely quantiles of f(normal): a few times cheaper than normals, and
off from the continuous normal by less than anything sampled could show.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 16


class FactorisedNoise:
    """f(epsilon) of unit normal epsilons, not truncated: plain Gaussian noise as published."""

    def __init__(self, generator: np.random.Generator, device: torch.device):
        self._generator = generator
        middles = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
        normal = torch.special.ndtri(middles)
        self._quantiles = (normal.sign() * normal.abs().sqrt()).to(device, torch.float32)

    def draw(self, rows: int, width: int) -> Tensor:
        """[rows, width] float32 on the device."""
        bits = np.frombuffer(self._generator.bytes(2 * rows * width), dtype=np.uint16).reshape(rows, width)
        return self.values(torch.from_numpy(bits.astype(np.int32)).to(self._quantiles.device))

    def values(self, levels: Tensor) -> Tensor:
        """f of the quantiles `levels`, integers in 0..65535, any shape; float32."""
        return self._quantiles[levels]
