"""What a control group of Linux leaves a process: containers and batch jobs are held to less than their machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # a line a hierarchy: number, its controllers (none of version 2), the process's group


def memory_limits() -> list[tuple[int, int]]:
    """(limit, used) in bytes of every group above this process that limits memory; what files hold is not used."""
    found = []
    for folder, is_first_version in _groups("memory"):
        names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if is_first_version else ("memory.max", "memory.current")
        )
        with suppress(OSError, ValueError):  # no such file, or "max"
            limit, used = (int((folder / name).read_text()) for name in names)
            cached = _cached(folder, "total_inactive_file" if is_first_version else "inactive_file")
            found.append((limit, max(0, used - cached)))
    return found


def core_limits() -> list[float]:
    """Cores' worth of time of every group above this process that limits it."""
    found = []
    for folder, is_first_version in _groups("cpu"):
        with suppress(OSError, ValueError):
            if is_first_version:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            if quota > 0 and period > 0:
                found.append(quota / period)
    return found


def _groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Folders of the groups that this process is in, from its own up, and whether they are of version 1."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        return  # another system
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = ROOT / controller if controllers else ROOT
        # A container may see its own group as the root, under a path that only its machine has.
        own = PurePosixPath(path.lstrip("/")) if ".." not in path else PurePosixPath()
        for group in dict.fromkeys((own, *own.parents, PurePosixPath())):
            yield base / group, bool(controllers)


def _cached(folder: Path, name: str) -> int:
    """Bytes that the system gives back where a process asks for more."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
