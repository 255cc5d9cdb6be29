"""One run, from its spec to its tables: fresh, resumed, skipped or refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from baselines.agent import Agent, FinishedGame, ReplayMismatch, Tick
from baselines.fast.paths import keep_freed_memory
from baselines.registry import load_pinned, make_agent
from results.errors import ResultsError
from results.games import GAMES
from results.schema import FORMAT_VERSION, MANIFEST_FILE, RunSpec
from results.store import (
    RunLock,
    episode_table,
    metric_table,
    read_manifest,
    run_directory,
    timing_table,
    write_manifest,
    write_tables,
)
from suite import provenance
from suite.checkpoint import ACTIONS_FILE, ActionLog, load_checkpoint, save_checkpoint
from suite.protocol import PAPER, full_config, load_protocol, run_spec
from suite.recorder import Recorder

# What a resumed run has from its manifest until its tables are rebuilt.
_TAKEN_OVER = (
    "frames_done",
    "updates_done",
    "score",
    "unreported_game_ends",
    "started_at",
    "wall_seconds",
    "frames_per_second",
    "files",
)


@dataclass(frozen=True)
class RunOptions:
    """How to run, not what: nothing here is part of a run's identity."""

    device: str  # as torch names it: "cpu", "cuda", "cuda:1"
    threads: int  # of torch on the CPU
    emulator_threads: int
    jobs: int = 1  # runs at once on this machine, this one among them
    plain: bool = False  # every fast path off; a run that goes on keeps the paths it began with
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True)
class RunStatus:
    """A moment of a run, for whoever watches."""

    phase: str  # "replaying" or "training"
    frames: float
    total_frames: int
    frames_per_second: float | None
    mean_return: float | None  # of the last 100 training games


Watcher = Callable[[RunStatus], None]


def execute(
    spec: RunSpec,
    *,
    results: Path,
    options: RunOptions,
    report: Watcher,
    stop_requested: Callable[[], bool],
) -> str:
    """Brings one run to its end, or as far as it gets before `stop_requested`.

    Returns: "done", "interrupted" (checkpointed; the same call goes on from there) or "skipped" (was done already).

    Raises:
        ResultsError: another process writes this run, or its directory holds a run of another configuration, or one
            that cannot be read. Nothing of it is changed.
        Exception: whatever stopped the run; its manifest then says `failed` and why.
    """
    directory = run_directory(results, spec)
    directory.mkdir(parents=True, exist_ok=True)
    with RunLock(directory):
        previous = read_manifest(directory) if (directory / MANIFEST_FILE).exists() else None
        _refuse_foreign(directory, spec, previous)
        if previous is not None and previous["status"] == "done":
            return "skipped"
        run = _Run(spec, directory, options, previous)
        try:
            return run.go(report, stop_requested)
        except BaseException as error:
            run.failed(error)
            raise
        finally:
            run.close()


def _refuse_foreign(directory: Path, spec: RunSpec, previous: dict[str, Any] | None) -> None:
    pinned = load_pinned(spec.baseline)
    ours = run_spec(pinned, load_protocol(PAPER), game=spec.game, frames=spec.frames, seed=spec.seed)
    if spec != ours:
        raise ResultsError(f"{spec}: config hash {spec.config_hash} is not the pinned one, {ours.config_hash}")
    if previous is not None and previous["spec"]["config_hash"] != spec.config_hash:
        raise ResultsError(
            f"{directory} holds a run of another configuration (config hash {previous['spec']['config_hash']}, "
            f"now {spec.config_hash}); move it away, or choose another --results"
        )


class _Run:
    """A run in progress: agent, recorder, log, manifest."""

    def __init__(self, spec: RunSpec, directory: Path, options: RunOptions, previous: dict[str, Any] | None):
        self.spec = spec
        self.directory = directory
        self.options = options
        self.device = torch.device(options.device)
        self.checkpoint = load_checkpoint(directory, self.device)
        # Sums split over threads round differently: a resumed run keeps the number it began with.
        self.torch_threads = self.checkpoint["torch_threads"] if self.checkpoint else options.threads
        torch.set_num_threads(self.torch_threads)
        if not options.plain:
            keep_freed_memory()  # changes no bit of a result, so a resumed run may begin it, or leave it
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, what float32 means on the paper's GPU
        pinned, protocol = load_pinned(spec.baseline), load_protocol(PAPER)
        self.agent: Agent = make_agent(
            pinned,
            protocol.environment,
            GAMES[spec.game].envpool_id,
            budget_frames=spec.frames,
            seed=spec.seed,
            device=self.device,
            emulator_threads=options.emulator_threads,
            plain=not self.checkpoint["fast_paths"] if self.checkpoint else options.plain,
        )
        self._refuse_other_paths()
        self.recorder = Recorder(self.agent.total_frames)
        steps = self.checkpoint["vector_steps"] if self.checkpoint else 0
        self.log = ActionLog(directory / ACTIONS_FILE, self.agent.environments, vector_steps=steps)
        self.manifest = self._new_manifest(full_config(pinned, protocol))
        self.previous_error: dict[str, Any] | None = None
        self.changed: list[str] = []
        if previous is not None and self.checkpoint is not None:
            self._take_over(previous)

    def _refuse_other_paths(self) -> None:
        """Another path rounds differently: a run that goes on takes the one it began with, or none."""
        began = self.checkpoint["fast_paths"] if self.checkpoint else list(self.agent.paths.taken)
        if began != list(self.agent.paths.taken):
            self.agent.close()
            raise ResultsError(
                f"{self.directory} was begun with the {', '.join(began)}, which is missing here "
                f"({'; '.join(self.agent.paths.missed)}); mend that, or move the run away to begin anew with --plain"
            )

    def go(self, report: Watcher, stop_requested: Callable[[], bool]) -> str:
        if self.checkpoint is not None:
            if not self._resume(self.checkpoint, report, stop_requested):
                return "interrupted"
            self.checkpoint = None  # tens of megabytes, no longer needed
        self._save(status="running", checkpoint=False)

        began = saved = time.perf_counter()
        for event in self.agent.train():
            if isinstance(event, Tick):
                report(self._status("training", event.frames, began, time.perf_counter()))
                continue
            frames_before = self.recorder.frames
            now = time.perf_counter()
            self.recorder.add(event, now - began)
            began = now
            if self.recorder.diagnostics_due(frames_before):
                self.recorder.add_diagnostics(self.agent.diagnose())
            self.log.append(event.actions)
            report(self._status("training", event.frames, began, began))
            if event.frames >= self.agent.total_frames:
                break
            if stop_requested():
                self._interrupted("stopped by the user")
                return "interrupted"
            if now - saved >= self.options.checkpoint_seconds:
                self._save(status="running")
                saved = time.perf_counter()
        self.manifest["finished_at"] = _now()
        self._save(status="done")
        return "done"

    def _resume(self, checkpoint: dict[str, Any], report: Watcher, stop_requested: Callable[[], bool]) -> bool:
        """Brings agent, emulators and recorder to where the checkpoint was written.

        Returns: whether it got there; when stopped before, everything on disk is still as it was.
        """
        began = time.perf_counter()
        self.agent.load_state_dict(checkpoint["agent"])
        self.recorder.load_state_dict(checkpoint["recorder"])
        for event in self.agent.replay(self.log.read()):
            if isinstance(event, FinishedGame):
                self.recorder.add_games([event])
            else:
                report(RunStatus("replaying", event.frames, self.recorder.frames, None, None))
                if stop_requested():
                    return False
        if len(self.recorder.games) != checkpoint["recorder"]["games"]:
            raise ReplayMismatch(
                f"re-playing gave {len(self.recorder.games)} games, not {checkpoint['recorder']['games']}"
            )
        interruptions = self.manifest["interruptions"]
        if not interruptions or interruptions[-1]["replay_seconds"] is not None:
            # No farewell of its own: it failed, or its process was killed.
            reason = f"failed: {self.previous_error['type']}" if self.previous_error else "killed"
            self._note_interruption(None, reason)
        interruptions[-1]["replay_seconds"] = round(time.perf_counter() - began, 3)
        interruptions[-1]["changed"] = self.changed
        return True

    def _interrupted(self, reason: str) -> None:
        self._note_interruption(_now(), reason)
        self._save(status="interrupted")

    def _note_interruption(self, at: str | None, reason: str) -> None:
        self.manifest["interruptions"].append(
            {"at": at, "frames": self.recorder.frames, "reason": reason, "replay_seconds": None, "changed": []}
        )

    def failed(self, error: BaseException) -> None:
        """Notes in the manifest what stopped the run; its last checkpoint stays good."""
        self.manifest["error"] = {"type": type(error).__name__, "message": str(error)}
        self.manifest["status"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        write_manifest(self.directory, self.manifest)

    def close(self) -> None:
        self.log.close()
        self.agent.close()

    def _save(self, *, status: str, checkpoint: bool = True) -> None:
        """Writes the checkpoint first: a run is never further in its manifest than it can resume."""
        if checkpoint:
            self.log.sync()
            save_checkpoint(
                self.directory,
                {
                    "agent": self.agent.state_dict(),
                    "recorder": self.recorder.state_dict(),
                    "vector_steps": self.log.vector_steps,
                    "torch_threads": self.torch_threads,
                    "fast_paths": list(self.agent.paths.taken),
                },
            )
        recorder = self.recorder
        self.manifest["files"] = write_tables(
            self.directory,
            episodes=episode_table(recorder.games),
            metrics=metric_table(recorder.metrics),
            timing=timing_table(recorder.timing),
        )
        self.manifest.update(
            status=status,
            frames_done=recorder.frames,
            updates_done=self.agent.updates,
            score=recorder.score(),
            unreported_game_ends=self.agent.unreported_game_ends,
            wall_seconds=round(recorder.elapsed_seconds, 3),
            frames_per_second=recorder.frames / recorder.elapsed_seconds if recorder.elapsed_seconds else None,
        )
        write_manifest(self.directory, self.manifest)

    def _status(self, phase: str, frames: float, update_began: float, now: float) -> RunStatus:
        elapsed = self.recorder.elapsed_seconds + now - update_began
        return RunStatus(
            phase=phase,
            frames=frames,
            total_frames=self.agent.total_frames,
            frames_per_second=frames / elapsed if elapsed > 0 else None,
            mean_return=self.recorder.mean_return("train"),
        )

    def _new_manifest(self, config: dict[str, Any]) -> dict[str, Any]:
        spec = self.spec
        return {
            "format_version": FORMAT_VERSION,
            "spec": asdict(spec),
            "protocol": config["protocol"]["name"],
            "config": config,
            "off_protocol": list(self.agent.off_protocol),
            "status": "running",
            "path": "fast" if self.agent.paths.taken else "plain",
            "frames_done": 0,
            "updates_done": 0,
            "score": self.recorder.score(),
            "unreported_game_ends": 0,
            "environment": self.agent.provenance(),
            "versions": provenance.versions(),
            "hardware": provenance.hardware(
                self.device, torch_threads=self.torch_threads, emulator_threads=self.options.emulator_threads
            )
            | {
                "jobs": self.options.jobs,
                "fast_paths": list(self.agent.paths.taken),
                "fast_paths_missed": list(self.agent.paths.missed),
            },
            "revision": provenance.revision(self.directory.parents[3]),
            "started_at": _now(),
            "finished_at": None,
            "wall_seconds": 0.0,
            "frames_per_second": None,
            "interruptions": [],
            "files": {},
            "error": None,
        }

    def _take_over(self, previous: dict[str, Any]) -> None:
        """Goes on with the manifest of a run that is resumed; notes what is another now than when it stopped."""
        for key in _TAKEN_OVER:
            self.manifest[key] = previous[key]
        self.manifest["interruptions"] = list(previous["interruptions"])
        self.previous_error = previous["error"]
        for kind in ("versions", "hardware"):
            before, now = previous[kind], self.manifest[kind]
            self.changed += [f"{key}: {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]
        before, now = (
            manifest["revision"] and manifest["revision"]["commit"] for manifest in (previous, self.manifest)
        )
        if before != now:
            self.changed.append(f"revision: {before} -> {now}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
