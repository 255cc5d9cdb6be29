"""What lets a stopped run go on exactly: the action log, and checkpoints of everything but the emulators.

An emulator's state cannot be saved, but emulators are deterministic: the log holds every action (one byte each), a
checkpoint holds the learner, its random streams and the log's length, and a resume retraces that much of the log.

A checkpoint's name ends in the SHA-256 of its bytes, and it holds the SHA-256 of its part of the log. What does not
fit is not trained on: the checkpoint before it is kept, and is taken instead.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from results.atomic import write_bytes
from results.errors import ResultsError
from suite.run_files import ACTION_LOG_FILE, CHECKPOINT_NAME

_OLD_NAME = "checkpoint.pt"  # of runs begun before checkpoints had a SHA-256; replaced at the first save
_KEPT = 2


class ActionLog:
    """Append-only file of uint8 actions, `width` a vector step."""

    def __init__(self, path: Path, width: int, *, vector_steps: int = 0):
        """Opens for appending after `vector_steps`; what a killed run wrote past its last checkpoint is cut off.

        Raises:
            ResultsError: the log is shorter than that.
        """
        self.path = path
        self._width = width
        self._digest = hashlib.sha256(_beginning(path, vector_steps * width))
        self._file = path.open("ab")
        self._file.truncate(vector_steps * width)
        self.vector_steps = vector_steps

    def append(self, actions: np.ndarray) -> None:
        """`actions` [T, width] uint8."""
        data = np.ascontiguousarray(actions, dtype=np.uint8).tobytes()
        self._file.write(data)
        self._digest.update(data)
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

    @property
    def sha256(self) -> str:
        """Of everything appended so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all; the one before it stays, all others go. `state` has `vector_steps`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    saved = directory / f"checkpoint-{state['vector_steps']:012}-{hashlib.sha256(data).hexdigest()}.pt"
    write_bytes(saved, data)
    files = checkpoint_files(directory)
    at = files.index(saved)
    # Those of later steps were passed over as damaged when the run went on: they may not push sound ones out.
    for path in (*files[:at], *files[at + _KEPT :]):
        path.unlink(missing_ok=True)


def keep_only_the_newest(directory: Path) -> None:
    """Removes every checkpoint but the newest sound one: of a run that is done, or to make room on a full disk.

    Where none is sound, all stay.
    """
    files = checkpoint_files(directory)
    kept = next((path for path in files if _is_sound(path, directory / ACTION_LOG_FILE)), None)
    for path in files:
        if kept is not None and path != kept:
            path.unlink(missing_ok=True)


def checkpoint_files(directory: Path) -> list[Path]:
    """The checkpoints of a run, sound or not, the newest first."""
    named = sorted(
        (path for path in directory.glob("checkpoint-*.pt") if CHECKPOINT_NAME.fullmatch(path.name)), reverse=True
    )
    old = directory / _OLD_NAME
    return [*named, old] if old.exists() else named


@dataclass(frozen=True)
class Found:
    """The checkpoint to go on from, and what is wrong with newer ones."""

    state: dict[str, Any] | None  # None where the run has none
    damaged: tuple[str, ...] = ()  # a line each


def load_checkpoint(directory: Path, device: torch.device) -> Found:
    """The newest sound checkpoint of a run, which its action log reaches.

    Raises:
        ResultsError: there are checkpoints, but none that can be gone on from.
        Exception: there is one, but this machine has no memory for it, or its device fails. That says nothing of it.
    """
    damaged: list[str] = []
    for path in checkpoint_files(directory):
        try:
            data, state = _sound(path, directory / ACTION_LOG_FILE)
        except ResultsError as error:
            damaged.append(str(error))
        else:
            if device.type != "cpu":
                state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
            return Found(state, tuple(damaged))
    if damaged:
        raise ResultsError(f"{'; '.join(damaged)}; delete {directory} to start this run anew")
    return Found(None)


def _sound(path: Path, log: Path) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a checkpoint that can be gone on from, and what they hold, on the CPU.

    It is read on the CPU, so that no trouble of a GPU is taken for damage.

    Raises:
        ResultsError: it is damaged, or the action log is not the one that it was written after.
        Exception: the machine has too little memory to say.
    """
    try:
        data = path.read_bytes()
        name = CHECKPOINT_NAME.fullmatch(path.name)
        if name is not None and hashlib.sha256(data).hexdigest() != name["sha256"]:
            raise ResultsError(f"cannot read {path}: its bytes are not those that were written")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except ResultsError:
        raise
    except Exception as error:  # torch raises whatever its unpickler met
        if _is_of_the_machine(error):
            raise
        raise ResultsError(f"cannot read {path} ({type(error).__name__})") from error
    if "actions_sha256" in state:  # else its run began before that was kept
        logged = _beginning(log, state["vector_steps"] * state["environments"])
        if hashlib.sha256(logged).hexdigest() != state["actions_sha256"]:
            raise ResultsError(f"{log} does not hold the actions that {path.name} was written after")
    return data, state


def _is_sound(path: Path, log: Path) -> bool:
    try:
        _sound(path, log)
    except Exception:  # too little memory to say is no reason to remove the others
        return False
    return True


def _is_of_the_machine(error: Exception) -> bool:
    """Whether an error says that memory or a device fails, and nothing of the file."""
    devices_fault = isinstance(error, MemoryError | torch.OutOfMemoryError | torch.AcceleratorError)
    return devices_fault or "DefaultCPUAllocator" in str(error)  # torch has no type of its own for a full CPU


def _beginning(log: Path, length: int) -> bytes:
    """The first `length` bytes of an action log. Raises ResultsError if it is shorter, or cannot be read."""
    try:
        with log.open("rb") as file:
            data = file.read(length)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise ResultsError(f"cannot read {log} ({error.strerror or error})") from error
    if len(data) < length:
        raise ResultsError(f"{log} is shorter than its checkpoint says; delete {log.parent} to start this run anew")
    return data
