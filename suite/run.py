"""One run, from its spec to its tables: fresh, resumed, skipped or refused."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines.agent import FinishedGame, Progress, RetraceMismatch, Tick, environment_groups
from baselines.registry import add_own
from results.actions import pack, write_log
from results.errors import ResultsError
from results.lock import RunLock
from results.manifest import read_manifest
from results.schema import MANIFEST_FILE, RANK_OBSERVATIONS, RunSpec
from results.store import episode_table, metric_table, run_directory, timing_table, write_tables
from suite.checkpoint import keep_only_the_newest, save_checkpoint
from suite.opening import OpenRun, opened, refuse_foreign
from suite.run_files import ACTION_LOG_FILE
from suite.run_messages import RunOptions, RunStatus

__all__ = ["Report", "RunOptions", "RunStatus", "execute"]


class Diverged(ResultsError):
    """Training that gives no numbers any more."""


Report = Callable[[RunStatus], None]


def execute(
    spec: RunSpec,
    *,
    results: Path,
    options: RunOptions,
    report: Report,
    stop_requested: Callable[[], bool | str],
    home: Path | None = None,
) -> str:
    """Brings one run to its end, or as far as it gets before `stop_requested`.

    `stop_requested` may give the reason as a text; without one it is the user's will. `home` is the command's results
    folder, where `results` is one of a node that the run only passes through.

    Returns: "done", "interrupted" (checkpointed; the same call goes on from there) or "skipped" (was done already).

    Raises:
        ResultsError: another process writes this run, or its directory holds a run of another configuration, or one
            that cannot be read. Nothing of it is changed. Or its checkpoints are damaged: its manifest then says
            `failed` and why.
        LockLost: the folder was removed or taken over by another process; nothing more was written.
        Exception: whatever stopped the run; its manifest then says `failed` and why.
    """
    for file in options.own:
        add_own(file)
    directory = run_directory(results, spec)
    directory.mkdir(parents=True, exist_ok=True)
    with RunLock(directory) as lock:
        previous = read_manifest(directory) if (directory / MANIFEST_FILE).exists() else None
        refuse_foreign(directory, spec, previous)
        if previous is not None and previous["status"] == "done":
            _drop_packed_log(directory, previous)
            return "skipped"
        with opened(spec, directory, options, previous, lock, home=results if home is None else home) as run:
            if run.checkpoint is not None and not _resume(run, run.checkpoint, report, stop_requested):
                return "interrupted"
            return _train(run, options.checkpoint_seconds, report, stop_requested)


def _train(run: OpenRun, checkpoint_seconds: float, report: Report, stop_requested: Callable[[], bool | str]) -> str:
    """Trains to the end of the budget, or until stopped. Returns "done" or "interrupted"."""
    _write(run, "running")
    stopwatch = _Stopwatch()
    saved = time.perf_counter()
    for event in run.agent.train():
        if isinstance(event, Tick):
            report(_status(run, event.frames, stopwatch.seconds()))
            continue
        frames_before = run.recorder.frames
        _refuse_divergence(run, event)
        run.recorder.add(event, *stopwatch.lap())
        if run.recorder.diagnostics_due(frames_before):
            run.recorder.add_diagnostics(run.agent.diagnose())
        if run.recorder.ranks_due(frames_before) and hasattr(run.agent, "ranks"):  # one of a user's own may lack it
            run.recorder.add_diagnostics(run.agent.ranks(RANK_OBSERVATIONS))
        run.lock.check()
        run.log.append(event.actions)
        report(_status(run, event.frames, 0.0))
        if event.frames >= run.agent.total_frames:
            break
        if why := stop_requested():
            run.manifest.interrupted(run.recorder.frames, why if isinstance(why, str) else "stopped by the user")
            _save(run, "interrupted")
            return "interrupted"
        if time.perf_counter() - saved >= checkpoint_seconds:
            _save(run, "running")
            saved = time.perf_counter()
    _save(run, "done")
    keep_only_the_newest(run.directory)
    (run.directory / ACTION_LOG_FILE).unlink()  # packed
    return "done"


def _refuse_divergence(run: OpenRun, progress: Progress) -> None:
    """Raises Diverged if an update's loss is no number: every weight is one neither, and nothing will be learned."""
    loss = progress.metrics.get("loss")
    if loss is not None and not math.isfinite(loss):
        raise Diverged(
            f"the loss of {run.manifest.baseline} is {loss} by update {progress.updates} ({progress.frames} frames), "
            "so nothing is learned any more; lower its learning rate, or look for a division, root or logarithm of 0"
        )


def _resume(run: OpenRun, checkpoint: dict[str, Any], report: Report, stop_requested: Callable[[], bool | str]) -> bool:
    """Brings agent, emulators and recorder to where the checkpoint was written.

    Returns: whether it got there; when stopped before, everything on disk is still as it was.
    """
    began = time.perf_counter()
    run.agent.load_state_dict(checkpoint["agent"])
    run.recorder.load_state_dict(checkpoint["recorder"])
    for event in run.agent.retrace(run.log.read()):
        if isinstance(event, FinishedGame):
            run.recorder.add_games([event])
        else:
            report(RunStatus("retracing", event.frames, run.recorder.frames, None, None))
            if stop_requested():
                return False
    if len(run.recorder.games) != checkpoint["recorder"]["games"]:
        raise RetraceMismatch(f"retracing gave {len(run.recorder.games)} games, not {checkpoint['recorder']['games']}")
    run.manifest.resumed(run.recorder.frames, time.perf_counter() - began)
    return True


def _save(run: OpenRun, status: str) -> None:
    """Writes the checkpoint first: a run is never further in its manifest than it can resume."""
    run.lock.check()
    run.log.sync()
    save_checkpoint(
        run.directory,
        {
            "agent": run.agent.state_dict(),
            "recorder": run.recorder.state_dict(),
            "vector_steps": run.log.vector_steps,
            "environments": run.agent.environments,
            "actions_sha256": run.log.sha256,
            "torch_threads": run.torch_threads,
            "fast_paths": list(run.agent.paths.taken),
            "fast_paths_partly": list(run.agent.paths.partly),
            "environment_groups": environment_groups(run.agent),
        },
    )
    _write(run, status)


def _write(run: OpenRun, status: str) -> None:
    """Writes tables and manifest; of a run that is done, its action log too."""
    run.lock.check()
    files = write_tables(
        run.directory,
        episodes=episode_table(run.recorder.games),
        metrics=metric_table(run.recorder.metrics),
        timing=timing_table(run.recorder.timing),
    )
    actions = None
    if status == "done":
        train = len(run.agent.provenance()["train_seeds"])
        actions, entry = write_log(run.directory, pack(run.log.read(), train=train))
        files |= entry
    run.manifest.save(status, run.recorder, run.agent, files, actions)


def _drop_packed_log(directory: Path, manifest: dict[str, Any]) -> None:
    """Removes the action log of a run that was killed after it was packed."""
    if manifest["actions"] is not None:
        (directory / ACTION_LOG_FILE).unlink(missing_ok=True)


def _status(run: OpenRun, frames: float, seconds_of_update: float) -> RunStatus:
    elapsed = run.recorder.elapsed_seconds + seconds_of_update
    return RunStatus(
        phase="training",
        frames=frames,
        total_frames=run.agent.total_frames,
        frames_per_second=frames / elapsed if elapsed > 0 else None,
        mean_return=run.recorder.mean_return("train"),
    )


class _Stopwatch:
    """Wall time and processor time since it was made, or since the last lap."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def lap(self) -> tuple[float, float]:
        """Seconds, and seconds of processor time of all threads; starts anew."""
        before = self._began, self._cpu
        self._began, self._cpu = time.perf_counter(), time.process_time()
        return self._began - before[0], self._cpu - before[1]
