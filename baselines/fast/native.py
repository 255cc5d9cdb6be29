"""The C++ that this package brings, compiled on first use by whatever compiler the machine has.

A plain shared library called through ctypes: it compiles in seconds, needs no header of torch and no build tool, and
shares torch's OpenMP threads, whose library is loaded already. Where there is no compiler, or it fails, `library()` is
None and `why_not()` says why; nothing depends on it but speed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch  # its OpenMP library must be loaded before ours asks for one

KERNELS = Path(__file__).parent / "kernels"
HADAMAX, NORM = "hadamax", "norm"
LIBRARIES = {  # apart, for PQN needs little of it, and each source takes seconds to compile
    HADAMAX: ("hadamax_block.cpp", "fourier_convolution.cpp", "fourier_images.cpp"),
    NORM: ("norm_relu.cpp",),
}
# Sums keep their order (no -ffast-math); a product and a sum may round once instead of twice.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fopenmp", "-shared", "-fPIC"),
)
COMPILE_SECONDS = 300


@dataclass(frozen=True)
class Native:
    """The outcome of looking for a compiled library: one of the two is there."""

    library: ctypes.CDLL | None
    reason: str | None  # why there is none, in words


def library(name: str = HADAMAX) -> ctypes.CDLL | None:
    """One of `LIBRARIES`, or None; compiles it at the first call if no earlier process left it in the cache."""
    return _native(name).library


def required(name: str = HADAMAX) -> ctypes.CDLL:
    """The compiled library. Raises: RuntimeError where there is none."""
    found = _native(name)
    if found.library is None:
        raise RuntimeError(f"the compiled kernels are not there: {found.reason}")
    return found.library


def why_not(name: str = HADAMAX) -> str | None:
    """Why `library(name)` is None; None if it is there."""
    return _native(name).reason


@functools.cache
def _native(name: str) -> Native:
    compiler = _compiler()
    if compiler is None:
        return Native(None, "no C++ compiler was found (looked for $CXX, c++, g++, clang++)")
    try:
        with _cache() as folder:
            return Native(ctypes.CDLL(str(_compiled(name, compiler, folder))), None)
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr or "").strip().splitlines()
        return Native(None, f"{compiler} failed: {complaint[0] if complaint else f'exit code {error.returncode}'}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Native(None, f"{compiler}: {error}")


def _compiler() -> str | None:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def _compiled(library: str, compiler: str, cache: Path) -> Path:
    """Path of a library for its sources, this compiler and processor in `cache`; made if it is not there."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    sources = [KERNELS / source for source in LIBRARIES[library]]
    texts = [source.read_text() for source in (*sources, *sorted(KERNELS.glob("*.h")))]
    identity = "\n".join([*texts, version, *FLAGS, _processor(), torch.__version__])
    name = f"{library}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"
    target = cache / name
    if not target.exists():
        # To a name of its own, then renamed: several runs may start at once, and any may be killed.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / name
            objects = {source: str(Path(folder) / f"{source.stem}.o") for source in sources}
            with ThreadPoolExecutor(len(objects)) as pool:  # each takes seconds
                list(pool.map(lambda of: _run(compiler, "-c", str(of[0]), "-o", of[1]), objects.items()))
            _run(compiler, *objects.values(), "-o", str(made))
            os.replace(made, target)
    return target


def _run(compiler: str, *arguments: str) -> None:
    command = [compiler, *FLAGS, *arguments]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMPILE_SECONDS)


@contextmanager
def _cache() -> Iterator[Path]:
    """A folder for compiled libraries: the user's cache.

    Where that can't be written, a temporary one: every process compiles anew. It is removed at the end, since a library
    that is loaded needs its file no more.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(root) / "hadamax-suite"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hadamax-suite-") as temporary:
        yield Path(temporary)


def _processor() -> str:
    """What -march=native depends on: two machines may share one home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
