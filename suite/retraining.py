"""Trains the beginning of a run again, from its seed, and compares the actions with those it kept.

To play games again shows that actions earn scores. To train again shows that this agent, with this seed, takes those
actions. On the machine that made the run they are the same to the last one. Elsewhere sums round differently, and some
day a value that is almost equal to another falls on the other side: then the runs part, and neither is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch

from baselines.agent import Agent, Progress, Task
from baselines.config import ConfigError
from baselines.families import PINNED_NAMES
from baselines.registry import load_pinned, make_agent
from results.actions import read_log
from results.errors import ResultsError
from results.games import GAMES
from results.store import Run
from suite.arguments import MAX_JOBS
from suite.cores import available_cores
from suite.machine import prepare
from suite.proof import Environment, name_of
from suite.protocol import PROTOCOLS, load_protocol, run_spec
from suite.provenance import hardware


@dataclass(frozen=True)
class Retrained:
    """How far the actions agree."""

    updates: int
    vector_steps: int  # that were trained again
    same_vector_steps: int  # from the first on, in which every environment whose actions are kept took the same
    environments: int  # compared
    parting: str | None  # where the first difference is, in words
    changed: tuple[str, ...]  # what is another here than where the run was made, in words

    @property
    def problems(self) -> list[str]:
        """A difference is a fault where nothing that rounds differently is another."""
        if self.parting is None or self.changed:
            return []
        return [f"trained again on the same kind of machine, it acts differently: {self.parting}"]

    def facts(self) -> dict[str, Any]:
        """For scripts, and in words."""
        return {**vars(self), "changed": list(self.changed), "words": self._words()}

    def _words(self) -> str:
        what = f"trained again: {self.updates} updates, {self.vector_steps} vector steps"
        if self.parting is None:
            return f"{what}: the same actions in {self.environments} environments"
        here = f"; here is another: {', '.join(self.changed)}" if self.changed else ""
        return f"{what}: the same actions in the first {self.same_vector_steps}, then {self.parting}{here}"


def retrain(run: Run, *, updates: int, tick: Callable[[int], None] = lambda done: None) -> Retrained:
    """Trains `run` again until `updates` are done, on what it was made on as far as this machine has that.

    `tick`: told of each number of updates that is done.

    Raises:
        ResultsError: it keeps no log, is shorter than that, or its configuration is not the pinned one.
    """
    log = read_log(run)
    if log is None:
        raise ResultsError(f"{run.directory}: keeps no action log")
    _refuse_unfit(run, updates)
    pinned, protocol = load_pinned(run.spec.baseline), load_protocol(run.spec.protocol)
    stated = run.manifest["hardware"]
    # A manifest says "cuda", whichever GPU it was; a process is prepared for one that has a number.
    device = torch.device("cuda:0" if stated["device"] != "cpu" and torch.cuda.is_available() else "cpu")
    threads = stated["torch_threads"]
    plain = not stated.get("fast_paths")
    paths = prepare(device, threads=threads, plain=plain)
    task = Task(
        GAMES[run.spec.game].envpool_id,
        protocol.environment,
        budget_frames=run.spec.frames,
        seed=run.spec.seed,
        device=device,
        emulator_threads=available_cores(),
        plain=plain,
        groups=stated.get("environment_groups", 1),  # of another number a GPU sums over other images at once
    )
    try:
        agent = make_agent(pinned, task)
    except ConfigError as error:  # groups that the manifest says and no agent of this configuration can have
        raise ResultsError(f"{run.spec}: {error}") from error
    try:
        found = _first_actions(agent, updates, tick)
        paths = paths + agent.paths
        done = agent.updates
    finally:
        agent.close()
    now = hardware(device, torch_threads=threads, emulator_threads=task.emulator_threads)
    changed = _changes(run.manifest, now, list(paths.taken))
    columns = [log.names.index(name) for name in log.kept]
    same, parting = _compare(found[:, columns], log.actions(log.kept), log.kept)
    return Retrained(done, len(found), same, len(log.kept), parting, tuple(changed))


def _refuse_unfit(run: Run, updates: int) -> None:
    """Raises ResultsError for a run of which so many updates cannot be trained here."""
    if updates > run.manifest["updates_done"]:
        raise ResultsError(f"{run.spec} has {run.manifest['updates_done']} updates; ask for no more with --retrain")
    if run.spec.baseline not in PINNED_NAMES:
        raise ResultsError(
            f"{run.spec}: is no baseline of the suite's, and no code of a user's own is executed to verify a run; "
            "run it anew into another --results, and compare"
        )
    if run.spec.protocol not in PROTOCOLS:
        raise ResultsError(f"{run.spec}: this suite has no protocol {run.spec.protocol!r}, so it can't be trained")
    pinned, protocol = load_pinned(run.spec.baseline), load_protocol(run.spec.protocol)
    if run.spec != run_spec(pinned, protocol, game=run.spec.game, frames=run.spec.frames, seed=run.spec.seed):
        raise ResultsError(f"{run.spec}: its configuration is not the one that is pinned now, so it can't be trained")
    stated = run.manifest["hardware"]
    if not {"device", "torch_threads"} <= stated.keys() or stated["torch_threads"] > MAX_JOBS:
        raise ResultsError(
            f"{run.spec}: its manifest does not say on which device and by how many threads (up to {MAX_JOBS}) it was "
            "trained, so it can't be trained again"
        )


def _first_actions(agent: Agent, updates: int, tick: Callable[[int], None]) -> np.ndarray:
    """[vector steps, environments] uint8, until so many updates are done."""
    actions = []
    for event in agent.train():
        if isinstance(event, Progress):
            actions.append(event.actions)
            tick(event.updates)
            if event.updates >= updates:
                break
    return np.concatenate(actions)


def _compare(found: np.ndarray, kept: np.ndarray, names: list[Environment]) -> tuple[int, str | None]:
    """How many vector steps from the first on are equal, and the first difference in words."""
    differs = found != kept[: len(found)]
    steps = np.flatnonzero(differs.any(axis=1))
    if len(steps) == 0:
        return len(found), None
    first = int(steps[0])
    where = int(np.flatnonzero(differs[first])[0])
    return first, (
        f"{name_of(names[where])} takes action {found[first, where]}, the log has {kept[first, where]} "
        f"({int(differs[first].sum())} of {len(names)} environments differ in vector step {first + 1})"
    )


def _changes(manifest: dict[str, Any], now: dict[str, Any], taken: list[str]) -> list[str]:
    """What can round differently here."""
    stated = manifest["hardware"]
    changed = [
        f"{key}: {stated.get(key)} -> {now[key]}"
        for key in ("cpu", "instructions", "device", "gpu")
        if stated.get(key) != now[key]
    ]
    torch_then, torch_now = manifest["versions"].get("torch"), metadata.version("torch")
    if torch_then != torch_now:
        changed.append(f"torch: {torch_then} -> {torch_now}")
    if set(stated.get("fast_paths", ())) != set(taken):
        changed.append(f"fast paths: {stated.get('fast_paths')} -> {taken}")
    return changed
