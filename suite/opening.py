"""Opens a run: everything that training needs, whole, or an error and nothing left open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.agent import Agent, Task
from baselines.emulator.group_choice import groups_of_few
from baselines.fast.paths import Paths
from baselines.registry import Pinned, load_pinned, make_agent
from results.errors import ResultsError
from results.games import GAMES
from results.lock import LockLost, RunLock
from results.schema import RunSpec
from suite.checkpoint import ActionLog, load_checkpoint
from suite.machine import prepare
from suite.own_code import keep_code
from suite.plan import groups_problem
from suite.protocol import full_config, load_protocol, run_spec
from suite.recorder import Recorder
from suite.run_files import ACTION_LOG_FILE
from suite.run_manifest import RunManifest, hardware, write_failure
from suite.run_messages import RunOptions

# Of runs that share a GPU: they fill each other's pauses, and among five at once, a game each, those with three groups
# were as fast as those with four. Measuring would make all environments three times over, the longest part of a start.
_SHARED_GROUPS = 3


class RunRefused(ResultsError):
    """A run that cannot go on here and now; nothing of it was changed."""


@dataclass(frozen=True)
class OpenRun:
    """A run that can be trained, retraced first if it has a checkpoint."""

    directory: Path
    lock: RunLock
    agent: Agent
    recorder: Recorder
    log: ActionLog
    manifest: RunManifest
    checkpoint: dict[str, Any] | None
    torch_threads: int


def refuse_foreign(directory: Path, spec: RunSpec, previous: dict[str, Any] | None) -> None:
    """Raises RunRefused if `spec` is not the pinned one, or its folder holds a run of another configuration."""
    pinned = load_pinned(spec.baseline)
    ours = run_spec(pinned, load_protocol(spec.protocol), game=spec.game, frames=spec.frames, seed=spec.seed)
    if spec != ours:
        why = "; its files were changed after the command began: start it again" if pinned.path is not None else ""
        raise RunRefused(f"{spec}: config hash {spec.config_hash} is not the pinned one, {ours.config_hash}{why}")
    if previous is not None and previous["spec"]["config_hash"] != spec.config_hash:
        raise RunRefused(
            f"{directory} holds a run of another configuration (config hash {previous['spec']['config_hash']}, "
            f"now {spec.config_hash}); move it away, or choose another --results"
        )


@contextmanager
def opened(
    spec: RunSpec, directory: Path, options: RunOptions, previous: dict[str, Any] | None, lock: RunLock, *, home: Path
) -> Iterator[OpenRun]:
    """The run in `directory`, which this process holds by `lock`, with its agent; closed at the end.

    `home`: the results folder where the run lies, or will be brought.

    What fails from here on, in opening or in the caller's block, is written into the manifest.

    Raises:
        RunRefused: the run was begun with a fast path that is missing here, or has too few environments for the groups
            that are asked for.
        ResultsError: its checkpoints or its action log are damaged beyond use.
        Exception: whatever kept its checkpoint from being loaded, or the agent from being built.
    """
    device = torch.device(options.device)
    try:
        found = load_checkpoint(directory, device)
    except Exception as error:
        if previous is not None:
            write_failure(directory, dict(previous), error)
        raise
    # Sums split over threads round differently: a resumed run keeps the number it began with.
    threads = found.state["torch_threads"] if found.state else options.threads
    pinned = load_pinned(spec.baseline)
    if problem := groups_problem(spec.baseline, options.groups, pinned.config):
        raise RunRefused(f"{spec}: {problem}")
    manifest = RunManifest.begin(
        directory,
        spec,
        full_config(pinned, load_protocol(spec.protocol)),
        hardware(device, torch_threads=threads, emulator_threads=options.emulator_threads, jobs=options.jobs),
        home=home,
        previous=previous if found.state else None,
        damaged=found.damaged,
        code=keep_code(directory, pinned),
    )
    task = _task(spec, pinned, options, found.state)
    try:
        with ExitStack() as stack:
            prepared = prepare(device, threads=threads, plain=options.plain)
            agent = make_agent(pinned, task)
            stack.callback(agent.close)
            _refuse_other_paths(directory, agent.paths, found.state)
            manifest.describe(agent, prepared + agent.paths)
            steps = found.state["vector_steps"] if found.state else 0
            log = ActionLog(directory / ACTION_LOG_FILE, agent.environments, vector_steps=steps)
            stack.callback(log.close)
            yield OpenRun(directory, lock, agent, Recorder(agent.total_frames), log, manifest, found.state, threads)
    except (RunRefused, LockLost):
        raise
    except BaseException as error:
        lock.check()
        manifest.failed(error)
        raise


def _task(spec: RunSpec, pinned: Pinned, options: RunOptions, state: dict[str, Any] | None) -> Task:
    return Task(
        GAMES[spec.game].envpool_id,
        load_protocol(spec.protocol).environment,
        budget_frames=spec.frames,
        seed=spec.seed,
        device=torch.device(options.device),
        emulator_threads=options.emulator_threads,
        plain=not state["fast_paths"] if state else options.plain,
        groups=chosen_groups(options, state, groups_of_few(pinned.config)),
    )


def chosen_groups(options: RunOptions, state: dict[str, Any] | None, of_few: int | None) -> int | None:
    """How many groups PQN's environments step in; None lets the agent measure it, or take one on a CPU.

    `of_few`: as `groups_of_few` gives it.
    """
    if options.groups or state:
        return options.groups or (state or {}).get("environment_groups")
    if not options.device.startswith("cuda") or options.plain:
        return None
    return of_few or (_SHARED_GROUPS if options.jobs > 1 else None)


def _refuse_other_paths(directory: Path, paths: Paths, state: dict[str, Any] | None) -> None:
    """Another path rounds differently: a run that goes on takes those it began with, or none."""
    began = state["fast_paths"] if state else list(paths.taken)
    # A checkpoint from before that was kept does not say which layers did without a path.
    without = (state or {}).get("fast_paths_partly", paths.partly)
    missing = [path for path in began if path not in paths.taken]
    if missing := [*missing, *(layer for layer in paths.partly if layer not in without)]:
        raise RunRefused(
            f"{directory} was begun with a fast path that is missing here: {', '.join(missing)} "
            f"({'; '.join(paths.missed)}); mend that, or move the run away to begin anew with --plain"
        )
    added = [path for path in paths.taken if path not in began]
    if added := [*added, *(layer for layer in without if layer not in paths.partly)]:
        raise RunRefused(
            f"{directory} was begun without a fast path that is taken here: {', '.join(added)}; go on where it was "
            "begun, with the version that began it, or move the run away to begin anew"
        )
