"""Runs the tests of the compiled kernels with vectors of 16 lanes, as a processor with AVX-512 has them.

Compilers take such vectors apart where the processor is narrower: slow, but the same arithmetic. Exits as pytest does.
"""

import sys
from pathlib import Path

import pytest

from baselines.fast import native

HERE = Path(__file__).parent

if __name__ == "__main__":
    native.FLAGS = (*native.FLAGS, "-D__AVX512F__=1", "-Wno-psabi")
    files = ("test_fourier_convolution.py", "test_fused_norm.py", "test_fused_block.py")
    sys.exit(pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", *(str(HERE / file) for file in files)]))
