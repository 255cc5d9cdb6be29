"""How far the playing again of games is, on stderr, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import Self, TextIO

from results.store import Run
from suite import display
from suite.proof import Replayed

_PLAIN_SECONDS = 30.0
_LIVE_SECONDS = 0.5


class ReplayProgress:
    """Entered before the first run and left after the last one."""

    def __init__(
        self,
        stream: TextIO,
        runs: Sequence[Run],
        *,
        sample: int | None,
        parts: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`sample`: environments a run; None for all, or for one of `parts` of them.

        A run that keeps fewer makes the estimate a little too long.
        """
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._runs, self._finished = len(runs), 0
        entries = [run.manifest["actions"] for run in runs]
        self._total = sum(
            entry["vector_steps"] * min(ceil(entry["environments"] / parts), sample or entry["environments"])
            for entry in entries
        )
        self._done = 0  # agent steps
        self._began = self._last = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def tick(self, agent_steps: int) -> None:
        """So many more agent steps were played again."""
        self._done += agent_steps
        now = self._clock()
        if now - self._last >= (_LIVE_SECONDS if self._live else _PLAIN_SECONDS):
            self._last = now
            self._print(self._line(now - self._began))

    def finished(self, outcome: Replayed) -> None:
        """A run is through."""
        self._finished += 1
        found = "DIFFERS" if outcome.problems else f"{display.plural(outcome.games_agreed, 'game')} agree"
        self._clear()
        print(f"{outcome.run.spec}: {found} ({self._finished} of {self._runs})", file=self._stream, flush=True)

    def _line(self, seconds: float) -> str:
        speed = self._done / seconds if seconds > 0 else 0.0
        line = f"{self._finished} of {display.plural(self._runs, 'run')}, {display.count(self._done)} agent steps"
        if speed > 0:
            left = max(0, self._total - self._done) / speed
            line += f", {display.count(speed)} a second, at most {display.duration(left)} left"
        return line

    def _print(self, line: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[2K{line}")
            self._stream.flush()
        else:
            print(line, file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
