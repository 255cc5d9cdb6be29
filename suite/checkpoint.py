"""What lets a stopped run go on exactly: the action log, and a checkpoint of everything but the emulators.

An emulator's state cannot be saved, but emulators are deterministic: the log holds every action (one byte each), a
checkpoint holds the learner, its random streams and the log's length, and a resume re-plays that much of the log.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from results.errors import ResultsError
from results.store import write_bytes

CHECKPOINT_FILE = "checkpoint.pt"
ACTIONS_FILE = "actions.bin"


class ActionLog:
    """Append-only file of uint8 actions, `width` a vector step."""

    def __init__(self, path: Path, width: int, *, vector_steps: int = 0):
        """Opens for appending after `vector_steps`; what a killed run wrote past its last checkpoint is cut off.

        Raises:
            ResultsError: the log is shorter than that.
        """
        self.path = path
        self._width = width
        self._file = path.open("ab")
        if self._file.tell() < vector_steps * width:
            self._file.close()
            raise ResultsError(
                f"{path} is shorter than its checkpoint says; delete {path.parent} to start this run anew"
            )
        self._file.truncate(vector_steps * width)
        self.vector_steps = vector_steps

    def append(self, actions: np.ndarray) -> None:
        """`actions` [T, width] uint8."""
        self._file.write(np.ascontiguousarray(actions, dtype=np.uint8).tobytes())
        self.vector_steps += len(actions)

    def sync(self) -> None:
        """Brings everything appended to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def read(self) -> np.ndarray:
        """[vector_steps, width] uint8, mapped from the file."""
        self._file.flush()
        if self.vector_steps == 0:
            return np.empty((0, self._width), dtype=np.uint8)
        return np.memmap(self.path, dtype=np.uint8, mode="r", shape=(self.vector_steps, self._width))

    def close(self) -> None:
        self._file.close()


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Writes the checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(directory / CHECKPOINT_FILE, buffer.getbuffer())


def load_checkpoint(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint of a run, or None if there is none. Raises ResultsError if it cannot be read."""
    path = directory / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler met
        raise ResultsError(
            f"cannot read {path} ({type(error).__name__}); delete {directory} to start this run anew"
        ) from error
