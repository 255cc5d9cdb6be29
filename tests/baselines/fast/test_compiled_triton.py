"""The Triton kernels, compiled for GPUs that are not here: numbers spilled to memory take several times as long."""

from __future__ import annotations

import pytest
import torch

from baselines.fast import triton_block

LEAST_WARPS = 20  # of 64 on a multiprocessor: fewer can't hide what memory takes
MOST_SHARED_BYTES = 8192


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
@pytest.mark.parametrize(
    ("architecture", "joint"),
    [
        pytest.param(90, False, id="sm_90"),
        pytest.param(90, True, marks=pytest.mark.slow, id="sm_90-one-convolution"),
        pytest.param(80, False, marks=pytest.mark.slow, id="sm_80"),
        pytest.param(80, True, marks=pytest.mark.slow, id="sm_80-one-convolution"),
    ],
)
def test_every_kernel_compiles_and_keeps_its_numbers_in_registers(architecture, joint, dtype, monkeypatch, tmp_path):
    if triton_block.why_not() is not None:
        pytest.skip(triton_block.why_not())
    from compiled_triton import LAYERS, WIDTHS, compiled, forms, table

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = list(compiled(architecture, dtype, joint=joint))
    blocks = sum(joint in forms(case) for case in LAYERS)
    others = 0 if joint else len(WIDTHS)  # norms, and one kernel more that scales images
    assert len(found) == 2 * (blocks + others) + (not joint)  # forward and backward
    print(table(found))
    for kernel in found:
        assert kernel.stack_bytes == 0, kernel
        assert kernel.warps_at_once >= LEAST_WARPS, kernel
        assert kernel.shared_bytes <= MOST_SHARED_BYTES, kernel
