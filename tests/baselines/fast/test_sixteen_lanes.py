"""The kernels as a processor with AVX-512 gets them, on whatever this is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fused import require_native

SCRIPT = Path(__file__).parent / "sixteen_lanes.py"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_vectors_of_sixteen_lanes_give_the_same(tmp_path):
    require_native()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=2_300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert len(list(tmp_path.glob("hadamax-suite/*.so"))) >= 2  # compiled anew, for their own lanes
