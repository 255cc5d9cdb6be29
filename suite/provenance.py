"""Where a run came from: versions, hardware, revision of the code."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

import suite
from baselines.fast.bf16 import bf16_instructions
from suite.cores import available_cores

_PACKAGES = ("torch", "envpool", "envpool-assets", "numpy", "pandas", "pyarrow")
_CHECKOUT = Path(__file__).parent.parent
_CODE = ("suite", "baselines", "results", "reports")


def versions() -> dict[str, str | None]:
    """Versions of the interpreter, this suite and what shapes or stores results; None for a package that is absent."""
    found: dict[str, str | None] = {"python": platform.python_version(), "suite": suite.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def hardware(device: torch.device, *, torch_threads: int, emulator_threads: int) -> dict[str, Any]:
    """The machine, as the manifest keeps it. `cores` are those this process may use."""
    return {
        "cpu": _cpu_name(),
        "instructions": _instructions(),
        "cores": available_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch_threads": torch_threads,
        "emulator_threads": emulator_threads,
        "platform": platform.platform(),
    }


def revision(results: Path | None = None) -> dict[str, Any] | None:
    """{commit, clean} of the checkout this code runs from; None outside one.

    A change of a tracked file makes a tree unclean, and so does a new file in a package. New results do not, in their
    usual place or in the folder `results`; nor does what else lies in the checkout, which no run reads.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    ignored = [":!results/runs", ":!results/external"]
    if results is not None and results.resolve().is_relative_to(_CHECKOUT) and results.resolve() != _CHECKOUT:
        ignored.append(f":!{results.resolve().relative_to(_CHECKOUT).as_posix()}")
    tracked = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *ignored)
    untracked = _git("status", "--porcelain", "--untracked-files=all", "--", *_CODE, *ignored)
    return {"commit": commit, "clean": tracked == "" and untracked == ""}


def _git(*arguments: str) -> str | None:
    if not (_CHECKOUT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_CHECKOUT), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _instructions() -> str:
    """The vector instructions that torch computes with, and the processor's for bfloat16: "AVX512 avx512_bf16"."""
    return " ".join([torch.backends.cpu.get_cpu_capability(), *bf16_instructions()])


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform module knows
    return platform.processor() or platform.machine()
