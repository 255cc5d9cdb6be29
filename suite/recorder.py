"""Turns an agent's events into the tables of a run."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from baselines.agent import FinishedGame, Progress
from results.schema import rank_rows
from results.scores import SCORE_WINDOW_GAMES

METRIC_ROWS = 200  # a row each 0.5 % of the budget
DIAGNOSTIC_ROWS = 100  # each 1 %, but
DIAGNOSTIC_FRAMES = 3 * 16_384  # at least so many apart, three updates of PQN: they would cost over 1 % of a short run


class Recorder:
    """Collects games, metrics and timing of one run.

    A metric is averaged over those updates since the row before that had it: before learning starts there is no loss.
    The state kept in a checkpoint holds metrics and timing; games come back from retracing the action log.
    """

    def __init__(self, total_frames: int):
        self.total_frames = total_frames
        self.frames = 0
        self.elapsed_seconds = 0.0
        self.cpu_seconds: float | None = 0.0  # None where a part of the run was not measured
        self.games: list[FinishedGame] = []
        self.metrics: list[tuple[int, str, float]] = []
        self.timing: list[tuple[int, float, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}  # since the row before: sum and count of each metric
        self._recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SCORE_WINDOW_GAMES))

    def add_games(self, games: Iterable[FinishedGame]) -> None:
        for game in games:
            self.games.append(game)
            self._recent[game.kind].append(game.episode_return)

    def add(self, progress: Progress, seconds: float, cpu_seconds: float = 0.0) -> None:
        """Takes a complete update that took `seconds`, and `cpu_seconds` of processor time."""
        before = self.frames
        self.frames = progress.frames
        self.elapsed_seconds += seconds
        if self.cpu_seconds is not None:
            self.cpu_seconds += cpu_seconds
        self.add_games(progress.games)
        for name, value in progress.metrics.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)
        if self._crossed(before, METRIC_ROWS):
            for name, (total, count) in self._sums.items():
                self.metrics.append((self.frames, name, total / count))
            self._sums.clear()
            frames, elapsed, _ = self.timing[-1] if self.timing else (0, 0.0, 0.0)
            rate = (self.frames - frames) / max(self.elapsed_seconds - elapsed, 1e-9)
            self.timing.append((self.frames, self.elapsed_seconds, rate))

    def diagnostics_due(self, frames_before: int) -> bool:
        """Whether the update that began at `frames_before` passed a mark: each 1 %, or fewer in a short budget."""
        marks = min(DIAGNOSTIC_ROWS, max(1, self.total_frames // DIAGNOSTIC_FRAMES))
        return self._crossed(frames_before, marks)

    def ranks_due(self, frames_before: int) -> bool:
        """Whether the update that began at `frames_before` passed a mark for ranks over a large sample."""
        marks = rank_rows(self.total_frames)
        return marks > 0 and self._crossed(frames_before, marks)

    def add_diagnostics(self, values: Mapping[str, float]) -> None:
        self.metrics += [(self.frames, name, value) for name, value in values.items()]

    def score(self) -> dict[str, dict[str, Any]]:
        """{"train": {mean, games}, "greedy": {mean, games}} over the last 100 full games of each kind."""
        return {
            kind: {"mean": self.mean_return(kind), "games": len(self._recent[kind])} for kind in ("train", "greedy")
        }

    def mean_return(self, kind: str) -> float | None:
        recent = self._recent[kind]
        return float(np.mean(recent)) if recent else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "elapsed_seconds": self.elapsed_seconds,
            "cpu_seconds": self.cpu_seconds,
            "games": len(self.games),
            "metrics": list(self.metrics),
            "timing": list(self.timing),
            "sums": dict(self._sums),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all but the games, which retracing gives back through `add_games`."""
        self.frames = state["frames"]
        self.elapsed_seconds = state["elapsed_seconds"]
        self.cpu_seconds = state.get("cpu_seconds")  # absent from runs begun before it was measured
        self.metrics = [tuple(row) for row in state["metrics"]]
        self.timing = [tuple(row) for row in state["timing"]]
        self._sums = {name: tuple(pair) for name, pair in state["sums"].items()}

    def _crossed(self, frames_before: int, parts: int) -> bool:
        return frames_before * parts // self.total_frames < self.frames * parts // self.total_frames
