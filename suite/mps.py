"""NVIDIA's Multi-Process Service: lets the kernels of several runs share a GPU at the same moment.

Without it the processes on a GPU take turns. The control daemon that is started here is this command's own, in a
folder of its own, and ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
_USUAL_PIPES = Path("/tmp/nvidia-mps")
# A daemon may start where its server can't; then every CUDA program that finds the daemon fails.
_PROBE = (sys.executable, "-c", "import torch; torch.ones(8, device='cuda').sum().item()")
_TIMEOUT_SECONDS = 120


@contextmanager
def shared_gpus(
    devices: Sequence[str], *, tell: Callable[[str], None], probe: Sequence[str] = _PROBE
) -> Iterator[None]:
    """While it lasts, processes that are started share their GPUs through MPS, where that can be had.

    Args:
        devices: what each job computes on. Nothing happens unless two have the same GPU.
        tell: hears in one line whether MPS is used, and why not if it could have been.
        probe: a command that exits with 0 if CUDA works.
    """
    gpus = [device for device in devices if device.startswith("cuda")]
    if len(set(gpus)) == len(gpus):
        yield
        return
    if PIPES in os.environ or (_USUAL_PIPES / "control").exists():
        tell("note: runs share a GPU through the MPS daemon that is there already")
        yield
        return
    if shutil.which(CONTROL) is None:
        tell(f"note: runs take turns on a GPU: {CONTROL} is not installed")
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        environment = os.environ | {PIPES: folder, LOGS: folder}
        problem = _start(environment, probe)
        if problem is not None:
            tell(f"note: runs take turns on a GPU: MPS did not start ({problem})")
            yield
            return
        tell("note: runs share a GPU through MPS")
        os.environ |= {PIPES: folder, LOGS: folder}
        try:
            yield
        finally:
            for name in (PIPES, LOGS):
                del os.environ[name]
            _quit(environment)


def _start(environment: dict[str, str], probe: Sequence[str]) -> str | None:
    """Starts a daemon and tries it out. Returns what was wrong, or None; then it is running."""
    try:
        subprocess.run([CONTROL, "-d"], env=environment, check=True, capture_output=True, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return " ".join(str(error).split())
    try:
        subprocess.run(probe, env=environment, check=True, capture_output=True, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        _quit(environment)
        return "no CUDA program ran under it"
    return None


def _quit(environment: dict[str, str]) -> None:
    """Ends the daemon; one that does not listen any more has ended."""
    subprocess.run([CONTROL], input=b"quit\n", env=environment, capture_output=True, timeout=_TIMEOUT_SECONDS)
