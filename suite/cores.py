"""How many cores there are to work with."""

from __future__ import annotations

import os

from suite.control_groups import core_limits


def available_cores() -> int:
    """Cores this process may run on; a container's limit counts, the machine's size does not."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(int, core_limits())]))
