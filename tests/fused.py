"""What tests of the compiled paths share: they skip, visibly, on a machine without a C++ compiler."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from baselines.fast import native
from baselines.fast.names import FOURIER, FUSED_BLOCK, FUSED_INPUT
from baselines.fast.paths import use_layer_paths


def require_native() -> None:
    """Skips where nothing can be compiled; fails instead where SUITE_REQUIRE_COMPILER is set, as CI does."""
    if (reason := native.why_not() or native.why_not(native.NORM)) is not None:
        if os.environ.get("SUITE_REQUIRE_COMPILER"):
            pytest.fail(f"the fused block is required here: {reason}")
        pytest.skip(f"no fused block: {reason}")


def fuse(network: nn.Module) -> None:
    """Lets every Hadamax layer of float32 `network` take the paths of a CPU."""
    require_native()
    paths = use_layer_paths(network, torch.device("cpu"), plain=False)
    assert {FUSED_BLOCK, FUSED_INPUT} <= {*paths.taken}
    assert (FOURIER in paths.taken) == any(hasattr(layer, "fourier") for layer in network.modules())
    assert paths.missed == ()
