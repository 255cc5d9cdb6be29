"""NVIDIA's Multi-Process Service: lets the kernels of several runs share a GPU at the same moment.

Without it the processes on a GPU take turns. The control daemon that is started here is this command's own, in a
folder of its own, and ends with it. A command that is killed can't end its daemon: the next one does, by the folder
that was left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from suite.owned_folders import abandoned, own

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
FOLDERS = "hadamax-mps-"  # what the names of daemons' folders begin with
_PID_FILE = f"{CONTROL}.pid"  # the daemon's own
_USUAL_PIPES = Path("/tmp/nvidia-mps")
_VISIBLE = "CUDA_VISIBLE_DEVICES"
# A daemon may start where its server can't; then every CUDA program that finds the daemon fails.
_TRY_EACH = "import sys, torch; [torch.ones(8, device=name).sum().item() for name in sys.argv[1:]]"
_PROBE = (sys.executable, "-c", _TRY_EACH)
_TIMEOUT_SECONDS = 120
_QUIT_SECONDS = 10


@contextmanager
def shared_gpus(
    devices: Sequence[str], *, tell: Callable[[str], None], probe: Sequence[str] = _PROBE
) -> Iterator[None]:
    """While it lasts, processes that are started share their GPUs through MPS, where that can be had.

    Args:
        devices: what each job computes on. Nothing happens unless two have the same GPU.
        tell: hears in one line whether MPS is used, and why not if it could have been.
        probe: a command that exits with 0 if CUDA works on the devices that it is given as arguments.
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
    for left in abandoned(FOLDERS):
        _end(left)
        tell("note: ended an MPS daemon that a killed command had left")
    folder = Path(tempfile.mkdtemp(prefix=FOLDERS))
    try:
        own(folder)
        problem = _start(folder, (*probe, *sorted(set(gpus))))
        if problem is not None:
            _end(folder)  # before any run looks for it
            tell(f"note: runs take turns on a GPU: MPS did not start ({problem})")
            yield
            return
        tell("note: runs share a GPU through MPS")
        os.environ |= _environment(folder)
        yield
    finally:  # Ctrl-C while the daemon is tried out comes by here too
        for name in (PIPES, LOGS):
            os.environ.pop(name, None)
        if folder.exists():
            _end(folder)


def _environment(folder: Path) -> dict[str, str]:
    """What leads a CUDA program to the daemon of `folder`."""
    return {PIPES: str(folder), LOGS: str(folder)}


def _start(folder: Path, probe: Sequence[str]) -> str | None:
    """Starts a daemon and tries it out. Returns what was wrong, or None."""
    try:
        _call([CONTROL, "-d"], folder, timeout=_TIMEOUT_SECONDS, without=_hidden_from_daemon())
    except (OSError, subprocess.SubprocessError) as error:
        return " ".join(str(error).split())
    try:
        _call(probe, folder, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return "no CUDA program ran under it"
    return None


def _hidden_from_daemon() -> tuple[str, ...]:
    """CUDA_VISIBLE_DEVICES, where it names GPUs by number.

    A daemon's server that is told "0,2" gives the two GPUs the numbers 0 and 1, and a run that is told "0,2" then looks
    for a third. A server that has all GPUs leaves their numbers as they are: CUDA_DEVICE_ORDER, by which CUDA numbers
    them, is the same for both. So is what a UUID means.
    """
    numbered = any(name.strip().isdigit() for name in os.environ.get(_VISIBLE, "").split(","))
    return (_VISIBLE,) if numbered else ()


def _call(
    command: Sequence[str], folder: Path, *, timeout: float, told: bytes = b"", without: Sequence[str] = ()
) -> None:
    """Runs `command`, `without` some variables of the environment.

    A daemon inherits what it writes to: were that a pipe, we would wait for the daemon's end.
    """
    environment = os.environ | _environment(folder)
    for name in without:
        del environment[name]
    nowhere = subprocess.DEVNULL
    subprocess.run(command, env=environment, input=told, stdout=nowhere, stderr=nowhere, check=True, timeout=timeout)


def _end(folder: Path) -> None:
    """Ends the daemon of `folder`, by force if it does not listen, and removes the folder; raises nothing."""
    daemon = _daemon(folder)
    with suppress(OSError, subprocess.SubprocessError):  # one that can't be told is ended below
        _call([CONTROL], folder, timeout=_QUIT_SECONDS, told=b"quit\n")
    if daemon is not None:
        with suppress(psutil.Error):
            try:
                daemon.wait(_QUIT_SECONDS)
            except psutil.TimeoutExpired:
                daemon.kill()
                daemon.wait(_QUIT_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _daemon(folder: Path) -> psutil.Process | None:
    """The daemon of `folder`, by the number it wrote down; None if that is no such program (any more)."""
    try:
        process = psutil.Process(int((folder / _PID_FILE).read_text()))
        for _ in range(20):
            words = process.cmdline()
            if words:
                return process if any(CONTROL in word for word in words) else None
            time.sleep(0.05)  # a process that is just being started has no command line for a moment
    except (OSError, ValueError, psutil.Error):
        pass  # it has ended, or never was
    return None
