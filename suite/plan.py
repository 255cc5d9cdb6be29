"""Which runs are wanted, and how far each of them is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from baselines.families import PINNED_NAMES
from baselines.registry import describe, is_own, load_pinned
from results.lock import writer
from results.schema import ACTIONS_FILE, FIRST_PROTOCOL, MANIFEST_FILE, RunSpec, format_frames
from results.store import BrokenRun, Run, open_run, run_directory
from suite.errors import UserError
from suite.protocol import PROTOCOLS, load_protocol, pinned_hash, run_spec

# In the order in which `status` counts them.
STATES = ("done", "running", "part done", "failed", "missing", "other configuration", "broken")

_MOST_BLOCKS = 1000  # of a budget that are tried; a configuration of a user's own may promise no update at all


@dataclass(frozen=True)
class RunState:
    """How far one run is."""

    state: str  # one of STATES
    directory: Path
    spec: RunSpec | None  # None for a folder whose manifest cannot be read and whose place tells nothing
    frames_done: int = 0
    total_frames: int = 0  # the budget as asked for
    note: str = ""
    manifest: Mapping[str, Any] | None = None

    @property
    def fraction(self) -> float:
        """Of the budget, 0 to 1."""
        # Whole updates end short of the budget. What is done stays so when its code or a pinned value changes.
        if self.state == "done" or (self.manifest and self.manifest["status"] == "done"):
            return 1.0
        return self.frames_done / self.total_frames if self.total_frames else 0.0

    @property
    def score(self) -> float | None:
        """Mean unclipped return of the last 100 training games; None without games."""
        return self.manifest["score"]["train"]["mean"] if self.manifest else None

    def as_row(self) -> dict[str, Any]:
        """Plain data, as `--json` prints it."""
        spec = self.spec
        return {
            "protocol": spec.protocol if spec else None,
            "baseline": spec.baseline if spec else None,
            "game": spec.game if spec else None,
            "frames": spec.frames if spec else None,
            "seed": spec.seed if spec else None,
            "config_hash": spec.config_hash if spec else None,
            "state": self.state,
            "frames_done": self.frames_done,
            "fraction": round(self.fraction, 6),
            "score": self.score,
            "games": self.manifest["score"]["train"]["games"] if self.manifest else 0,
            "frames_per_second": self.manifest["frames_per_second"] if self.manifest else None,
            "note": self.note,
            "directory": str(self.directory),
        }


def plan_runs(
    baselines: Sequence[str],
    games: Sequence[str],
    frames: int,
    seeds: Sequence[int],
    protocol_name: str = FIRST_PROTOCOL,
) -> tuple[RunSpec, ...]:
    """The matrix, in the order in which it is worked through: whole comparisons first, more seeds later."""
    protocol = load_protocol(protocol_name)
    pinned = {name: describe(name) for name in baselines}
    return tuple(
        run_spec(pinned[name], protocol, game=game, frames=frames, seed=seed)
        for seed in seeds
        for game in games
        for name in baselines
    )


def budget_notes(specs: Iterable[RunSpec]) -> list[str]:
    """A line for each budget that scales settings of some baselines, whose runs then count for no claim.

    Raises UserError if a budget does not hold one update of its baseline, saying the least that does.
    """
    from baselines.replay.schedule import ReplayConfig, schedule  # imports torch

    short: dict[int, dict[int, list[str]]] = {}  # by budget, and by the least one that scales nothing
    for name, frames in dict.fromkeys((spec.baseline, spec.frames) for spec in specs):
        config = load_pinned(name).config
        if config.total_updates(frames) < 1:
            raise UserError(
                f"--frames {format_frames(frames)} is too small for a single update of {name}; "
                f"the least that works is {_least_budget(config)} frames"
            )
        if isinstance(config, ReplayConfig) and schedule(config, frames).off_protocol:
            short.setdefault(frames, {}).setdefault(config.frames_on_protocol, []).append(name)
    notes = []
    for frames, by_least in short.items():
        those = "; ".join(
            ", ".join(names) + f" (enough: {format_frames(least)})" * bool(least) for least, names in by_least.items()
        )
        notes.append(
            f"note: {format_frames(frames)} frames are too few for the protocol of {those}: settings are scaled, and "
            "such runs count for no claim"
        )
    return notes


def _least_budget(config: Any) -> int:
    """The least frames in which an agent updates: the first of its blocks may go by before it learns."""
    budgets = range(config.frames_per_update, _MOST_BLOCKS * config.frames_per_update + 1, config.frames_per_update)
    return next((frames for frames in budgets if config.total_updates(frames) >= 1), config.frames_per_update)


def groups_problem(baseline: str, groups: int | None, config: Any) -> str:
    """Why PQN's training environments cannot be shared out so, or "": each group needs one of them."""
    if groups is None:
        return ""
    from baselines.pqn import PqnConfig  # imports torch

    if not isinstance(config, PqnConfig) or groups <= config.train_environments:
        return ""
    most = config.train_environments
    return (
        f"--groups {groups} is more than the {most} training environments of {baseline}; "
        f"give from 1 to {most}, or leave it out"
    )


def refuse_many_groups(baselines: Iterable[str], groups: int | None) -> None:
    """Raises UserError for a baseline with too few environments."""
    for name in baselines:
        if problem := groups_problem(name, groups, load_pinned(name).config):
            raise UserError(problem)


def wanted_states(specs: Iterable[RunSpec], results: Path) -> list[RunState]:
    """How far each of `specs` is below `results`."""
    return [_wanted_state(spec, run_directory(results, spec)) for spec in specs]


def state_of(run: Run | BrokenRun) -> RunState:
    """How far a run that a scan of the results folder found is."""
    if isinstance(run, BrokenRun):
        return RunState("broken", run.directory, None, note=run.reason)
    spec, manifest = run.spec, run.manifest
    state, note = run.status, ""
    if state == "failed" and manifest["error"]:
        note = f"{manifest['error'].get('type')}: {manifest['error'].get('message')}"
    elif state in ("running", "interrupted"):
        holder = writer(run.directory)
        state, note = ("running", f"by {holder}") if holder else ("part done", "")
    if spec.protocol not in PROTOCOLS:
        note = f"of the protocol {spec.protocol!r}, which this suite does not have (allowed: {', '.join(PROTOCOLS)})"
        state = "other configuration"
    elif is_own(spec.baseline) and spec.config_hash != (now := pinned_hash(describe(spec.baseline), spec.protocol)):
        note = f"config hash {spec.config_hash}, now {now}: its TOML or its code is another"
        state = "other configuration"
    elif spec.baseline in PINNED_NAMES and spec.config_hash != (pinned := _pinned_hash(spec.baseline, spec.protocol)):
        state, note = "other configuration", f"config hash {spec.config_hash}, pinned: {pinned}"
    return RunState(state, run.directory, spec, run.frames_done, spec.frames, note, manifest)


def refuse_unusable(states: Iterable[RunState]) -> None:
    """Raises UserError if a wanted run's folder holds something that must not be written over."""
    unusable = [state for state in states if state.state in ("broken", "other configuration")]
    if not unusable:
        return
    first, more = unusable[0], f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
    if first.spec is not None and first.state != "broken" and is_own(first.spec.baseline):
        raise UserError(
            f"{first.directory}: made with another configuration ({first.note}){more}; give the baseline a new name, "
            "move the run away or choose another --results"
        )
    reason = first.note if first.state == "broken" else f"{first.directory}: made with another configuration"
    raise UserError(f"{reason}{more}; move it away or choose another --results")


def _wanted_state(spec: RunSpec, directory: Path) -> RunState:
    if not (directory / MANIFEST_FILE).exists():
        if (directory / ACTIONS_FILE).exists():  # packed when a run is done, and never before its first manifest
            note = f"{directory}: has the actions of a finished run but no {MANIFEST_FILE}"
            return RunState("broken", directory, spec, total_frames=spec.frames, note=note)
        return RunState("missing", directory, spec, total_frames=spec.frames)
    run = open_run(directory)
    if isinstance(run, BrokenRun):
        return RunState("broken", directory, spec, total_frames=spec.frames, note=run.reason)
    return state_of(run)


@cache
def _pinned_hash(baseline: str, protocol: str) -> str:
    return pinned_hash(describe(baseline), protocol)
