"""Packs the action log of a run that was finished by code which left it as it was logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from baselines.emulator.envs import FRAME_SKIP
from results.actions import pack, read_log, write_log
from results.errors import ResultsError
from results.lock import RunLock
from results.manifest import write_manifest
from results.store import Run, open_run
from results.verify import verify_run


def pack_finished(directory: Path, data: bytes, *, source: str) -> dict[str, Any]:
    """Packs `data`, a byte an action as a run logs them, into the run in `directory`; its manifest is written anew.

    Returns: the manifest's `actions`.
    Raises:
        ResultsError: another process writes the run, it is not sound or not done, it has a log already, or `data` has
            another length than its frames say; begins with `source` where that is to blame. Nothing is changed.
    """
    with RunLock(directory):
        run = open_run(directory)
        if not isinstance(run, Run):
            raise ResultsError(run.reason)
        if not run.is_done:
            raise ResultsError(f"{run.spec} is {run.status}: it still needs its log as it is, to go on from")
        if (known := run.manifest["actions"]) is not None:
            if _is_packed(run, data):
                return known  # a packing that was killed before the log as it was logged could be removed
            raise ResultsError(f"{source}: {run.spec} has a packed action log already, and this is another one")
        # Files from a packing that was killed are there and not listed; they are written over.
        if problems := verify_run(run, packed=False):
            raise ResultsError(f"{run.spec} is not sound ({problems[0]}); see: python -m suite verify")
        train, greedy = (len(run.manifest["environment"].get(f"{kind}_seeds", ())) for kind in ("train", "greedy"))
        if not train:
            raise ResultsError(f"{run.spec}: its manifest does not say which environments it had")
        steps = run.frames_done // FRAME_SKIP // train
        if len(data) != steps * (train + greedy):
            raise ResultsError(
                f"{source}: has {len(data)} actions; {run.spec} took {steps} steps in {train + greedy} environments, "
                f"{steps * (train + greedy)} actions"
            )
        log = np.frombuffer(data, dtype=np.uint8).reshape(steps, train + greedy)
        actions, file = write_log(directory, pack(log, train=train))
        write_manifest(directory, {**run.manifest, "actions": actions, "files": run.manifest["files"] | file})
        return actions


def _is_packed(run: Run, data: bytes) -> bool:
    """Whether the packed log of `run` is there and is `data`."""
    log = read_log(run)
    width = run.manifest["actions"]["environments"]
    if log is None or len(data) != width * run.manifest["actions"]["vector_steps"]:
        return False
    train = len(run.manifest["environment"]["train_seeds"])
    return pack(np.frombuffer(data, dtype=np.uint8).reshape(-1, width), train=train).sha256 == log.sha256
