"""The manifest of a run in progress: what it begins with, what it takes over from before, how it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from baselines.agent import Agent, environment_groups
from baselines.fast.paths import Paths
from results.manifest import write_manifest
from results.schema import CODE_KEY, EPISODE_KINDS, FORMAT_VERSION, RunSpec
from suite import provenance
from suite.checkpoint import keep_only_the_newest
from suite.recorder import Recorder

# What a resumed run has from its manifest until its tables are rebuilt.
_TAKEN_OVER = (
    "frames_done",
    "updates_done",
    "score",
    "unreported_game_ends",
    "started_at",
    "wall_seconds",
    "cpu_seconds",
    "frames_per_second",
    "interruptions",
    "files",
)


class RunManifest:
    """The manifest of one run, held by the process that writes the run."""

    def __init__(self, directory: Path, values: dict[str, Any], *, changed: list[str], previous_error: str | None):
        """Use `begin`."""
        self.directory = directory
        self._values = values
        self._changed = changed  # what is another now than when the run stopped, in words
        self._previous_error = previous_error

    @classmethod
    def begin(
        cls,
        directory: Path,
        spec: RunSpec,
        config: dict[str, Any],
        hardware: dict[str, Any],
        *,
        home: Path,
        previous: dict[str, Any] | None,
        damaged: tuple[str, ...] = (),
        code: dict[str, Any] | None = None,
    ) -> RunManifest:
        """The manifest of a run that begins, or goes on from the manifest `previous`; nothing is written yet.

        What only an agent knows (environments, fast paths) is there once `describe` has been called. `home` is the
        results folder, whose runs make no checkout unclean. `damaged` says which checkpoints were passed over, `code`
        which code of a user's own the run keeps.
        """
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "spec": spec.as_json(),
            "protocol": config["protocol"]["name"],
            "config": config,
            "off_protocol": [],
            "status": "running",
            "path": "plain",
            "frames_done": 0,
            "updates_done": 0,
            "score": {kind: {"mean": None, "games": 0} for kind in EPISODE_KINDS},
            "unreported_game_ends": 0,
            "environment": {},
            "versions": provenance.versions(),
            "hardware": hardware,
            "revision": provenance.revision(home),
            "started_at": _now(),
            "finished_at": None,
            "wall_seconds": 0.0,
            "cpu_seconds": 0.0,
            "frames_per_second": None,
            "interruptions": [],
            "files": {},
            "actions": None,
            "error": None,
        }
        if code is not None:
            values[CODE_KEY] = code
        if previous is None:
            return cls(directory, values, changed=[], previous_error=None)
        values |= {key: previous[key] for key in (*_TAKEN_OVER, "environment", "off_protocol", "path")}
        values["interruptions"] = list(previous["interruptions"])
        if previous["revision"] and values["revision"]:  # what changed code has trained stays so
            values["revision"]["clean"] &= previous["revision"]["clean"]
        error = previous["error"]["type"] if previous["error"] else None
        return cls(directory, values, changed=[*damaged, *_changes(previous, values)], previous_error=error)

    @property
    def baseline(self) -> str:
        return self._values["spec"]["baseline"]

    def describe(self, agent: Agent, paths: Paths) -> None:
        """Notes what the agent is; `paths` are the fast ones of agent and process."""
        hardware = self._values["hardware"] | {
            "fast_paths": list(paths.taken),
            "fast_paths_missed": list(paths.missed),
            "environment_groups": environment_groups(agent),
        }
        self._values.update(
            off_protocol=list(agent.off_protocol),
            path="fast" if paths.taken else "plain",
            environment=agent.provenance(),
            hardware=hardware,
        )

    def save(
        self, status: str, recorder: Recorder, agent: Agent, files: dict[str, Any], actions: dict[str, Any] | None
    ) -> None:
        """Writes how far the run is; `files` and `actions` are what `write_tables` and `write_log` have just given."""
        if status == "done":
            self._values["finished_at"] = _now()
        elapsed = recorder.elapsed_seconds
        self._values.update(
            status=status,
            frames_done=recorder.frames,
            updates_done=agent.updates,
            score=recorder.score(),
            unreported_game_ends=agent.unreported_game_ends,
            wall_seconds=round(elapsed, 3),
            cpu_seconds=None if recorder.cpu_seconds is None else round(recorder.cpu_seconds, 3),
            frames_per_second=recorder.frames / elapsed if elapsed else None,
            files=files,
            actions=actions,
        )
        write_manifest(self.directory, self._values)

    def interrupted(self, frames: int, reason: str) -> None:
        """Notes that the run stops here; the next `save` writes it."""
        self._note_interruption(_now(), frames, reason)

    def resumed(self, frames: int, retrace_seconds: float) -> None:
        """Notes that the run goes on from `frames`, and what is another now than when it stopped."""
        interruptions = self._values["interruptions"]
        if not interruptions or interruptions[-1]["replay_seconds"] is not None:
            # No farewell of its own: it failed, or its process was killed.
            reason = f"failed: {self._previous_error}" if self._previous_error else "killed"
            self._note_interruption(None, frames, reason)
        interruptions[-1] |= {"replay_seconds": round(retrace_seconds, 3), "changed": self._changed}

    def failed(self, error: BaseException) -> None:
        """Writes what stopped the run; its last checkpoint stays good."""
        write_failure(self.directory, self._values, error)

    def _note_interruption(self, at: str | None, frames: int, reason: str) -> None:
        self._values["interruptions"].append(
            {"at": at, "frames": frames, "reason": reason, "replay_seconds": None, "changed": []}
        )


def write_failure(directory: Path, values: dict[str, Any], error: BaseException) -> None:
    """Writes into the manifest `values` what stopped the run."""
    message = str(error).encode("utf-8", "replace").decode("utf-8")  # a path in it may be no UTF-8
    values["error"] = {"type": type(error).__name__, "message": message}
    values["status"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    try:
        write_manifest(directory, values)
    except OSError:
        # A full disk: all checkpoints but the newest sound one are spare, and make room for the reason.
        keep_only_the_newest(directory)
        write_manifest(directory, values)


def hardware(device: torch.device, *, torch_threads: int, emulator_threads: int, jobs: int) -> dict[str, Any]:
    """The machine and this run's share of it; no fast path is known yet."""
    machine = provenance.hardware(device, torch_threads=torch_threads, emulator_threads=emulator_threads)
    return machine | {"jobs": jobs, "fast_paths": [], "fast_paths_missed": []}


def _changes(previous: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changed = []
    for kind in ("versions", "hardware"):
        before = previous[kind]
        changed += [
            f"{key}: {before.get(key)} -> {value}"
            for key, value in now[kind].items()
            if before.get(key) != value and not key.startswith("fast_paths")
        ]
    commits = [manifest["revision"] and manifest["revision"]["commit"] for manifest in (previous, now)]
    if commits[0] != commits[1]:
        changed.append(f"revision: {commits[0]} -> {commits[1]}")
    return changed


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
