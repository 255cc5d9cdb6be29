"""Where time goes: seconds by name, added up while a block runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Spans:
    """Seconds spent in named blocks. A block inside another counts for itself alone, so that the names add up.

    with spans("learning"):
        with spans("sampling"): ...
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._inner = [0.0]  # for each open block, what the blocks inside it have taken

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = self._clock()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = self._clock() - began
            self.seconds[name] += took - self._inner.pop()
            self._inner[-1] += took
