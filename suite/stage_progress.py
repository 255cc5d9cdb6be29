"""How far the stages of a command are, on stderr, and how long the present one will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from suite import display

_PLAIN_SECONDS = 15.0
_LIVE_SECONDS = 0.5


class StageProgress:
    """One line that is written over on a terminal, a line now and then anywhere else."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic):
        self._stream, self._clock, self._live = stream, clock, stream.isatty()
        self.stage("", 1)

    def stage(self, words: str, total: int) -> None:
        """What is done from now on, in how many steps."""
        self._words, self._total = words, max(1, total)
        self._last = self._clock()
        self._first: tuple[int, float] | None = None

    def tick(self, done: int) -> None:
        """So many steps of the stage are done."""
        now = self._clock()
        # Speed counts from the first tick on: before it an emulator or an encoder starts, which is not done again.
        first_done, began = self._first = self._first or (done, now)
        if now - self._last < (_LIVE_SECONDS if self._live else _PLAIN_SECONDS):
            return
        self._last = now
        line = f"{self._words}: {display.percent(min(1.0, done / self._total))}"
        if done > first_done:
            left = (now - began) * (self._total - done) / (done - first_done)
            line += f", about {display.duration(max(0.0, left))} left"
        self._stream.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def tell(self, words: str, done: int, total: int) -> None:
        """So many of `total` steps of a stage are done; another stage than before begins."""
        if words != self._words:
            self.stage(words, total)
        self.tick(done)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        print(line, file=self._stream, flush=True)

    def clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
