"""The Triton kernels, compiled for GPUs that are not here: numbers spilled to memory take several times as long."""

from __future__ import annotations

import pytest

from baselines.fast import triton_block

LEAST_WARPS = 20  # of 64 on a multiprocessor: fewer can't hide what memory takes
MOST_SHARED_BYTES = 8192


@pytest.mark.parametrize(
    "architecture", [pytest.param(80, marks=pytest.mark.slow, id="sm_80"), pytest.param(90, id="sm_90")]
)
def test_every_kernel_compiles_and_keeps_its_numbers_in_registers(architecture, monkeypatch, tmp_path):
    if triton_block.why_not() is not None:
        pytest.skip(triton_block.why_not())
    from compiled_triton import LAYERS, WIDTHS, compiled, forms, table

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = list(compiled(architecture))
    blocks, norms = 2 * sum(len(forms(case)) for case in LAYERS), 2 * len(WIDTHS)  # forward and backward
    assert len(found) == 2 * (blocks + norms + 1) == 106  # in both precisions; one scales images
    print(table(found))
    for kernel in found:
        assert kernel.stack_bytes == 0, kernel
        assert kernel.warps_at_once >= LEAST_WARPS, kernel
        assert kernel.shared_bytes <= MOST_SHARED_BYTES, kernel
