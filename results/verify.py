"""Recomputes what a run's manifest says about itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from results.actions import read_log
from results.errors import ResultsError
from results.hashing import config_hash, sha256_hex
from results.kept_code import check_kept_code
from results.schema import (
    ACTIONS_FILE,
    EPISODE_ENDS,
    EPISODE_KINDS,
    EPISODES_FILE,
    FULL_ACTIONS_FILE,
    METRICS_FILE,
    TIMING_FILE,
)
from results.scores import SCORE_WINDOW_GAMES, score_at
from results.store import TABLE_SCHEMAS, BrokenRun, Run, parse_table

FRAME_SKIP = 4  # emulator frames an agent step
# How the suite's baselines name their vector steps between two reports of progress.
VECTOR_STEPS_KEYS = ("rollout_agent_steps", "block_vector_steps")


def problems_of(found: Run | BrokenRun) -> list[str]:
    """What is wrong with a run that `scan` gave, a line each, empty if nothing."""
    return [found.reason] if isinstance(found, BrokenRun) else verify_run(found)


def verify_run(run: Run, *, packed: bool = True) -> list[str]:
    """What is wrong with `run`, a line each, empty if nothing.

    Recomputed: checksum, rows and columns of every table; the order and the bounds of frames; that returns are finite
    and kinds and ends known; the scores, from the games; the config hash, from the configuration; that a finished
    run spent its budget; the checksums of a user's own code; and, if `packed`, every digest of its action log. Nothing
    is played again, and no code of a user's is executed.
    """
    problems = list(_check_config(run))
    tables: dict[str, pd.DataFrame] = {}
    for name in TABLE_SCHEMAS:
        try:
            tables[name] = _checked_table(run, name)
        except ResultsError as error:
            problems.append(str(error))
    if EPISODES_FILE in tables:
        problems += _check_episodes(run, tables[EPISODES_FILE])
    for name in (METRICS_FILE, TIMING_FILE):
        if name in tables:
            problems += _check_moments(run, name, tables[name])
    if run.is_done:
        problems += _check_finished(run.manifest)
        problems += _check_actions(run) if packed else ()
    problems += check_kept_code(run)
    return problems


def _check_config(run: Run) -> Iterator[str]:
    config = run.manifest["config"]
    try:
        found = config_hash(config)
    except (TypeError, ValueError) as error:
        yield f"config: cannot be hashed ({error})"
        return
    if found != run.spec.config_hash:
        yield f"config: its hash is {found}, the spec says {run.spec.config_hash}"
    named = config["protocol"].get("name")
    if named != run.manifest["protocol"]:
        yield f"config: its protocol is {named!r}, the manifest says {run.manifest['protocol']!r}"


def _checked_table(run: Run, name: str) -> pd.DataFrame:
    entry = run.manifest["files"].get(name)
    path = run.directory / name
    if entry is None:
        if run.is_done or path.exists():
            raise ResultsError(f"{name}: the manifest does not list it")
        return TABLE_SCHEMAS[name].empty_table().to_pandas()  # stopped before its first tables
    data = _checked_bytes(run, name, entry)
    table = parse_table(data, name, where=name)
    if table.num_rows != entry["rows"]:
        raise ResultsError(f"{name}: has {table.num_rows} rows, the manifest says {entry['rows']}")
    return table.to_pandas(use_threads=False)


def _checked_bytes(run: Run, name: str, entry: dict[str, Any]) -> bytes:
    try:
        data = (run.directory / name).read_bytes()
    except OSError as error:
        raise ResultsError(f"{name}: cannot be read ({error.strerror or error})") from None
    if sha256_hex(data) != entry["sha256"]:
        hint = "" if run.is_done else "; a run killed while saving looks like this, and resuming it puts it right"
        raise ResultsError(f"{name}: SHA-256 is {sha256_hex(data)}, the manifest says {entry['sha256']}{hint}")
    return data


def _check_episodes(run: Run, episodes: pd.DataFrame) -> Iterator[str]:
    yield from _check_moments(run, EPISODES_FILE, episodes)
    for column, allowed in (("kind", EPISODE_KINDS), ("end", EPISODE_ENDS)):
        unknown = sorted(set(episodes[column].unique()) - set(allowed))
        if unknown:
            yield f"{EPISODES_FILE}: unknown {column} {', '.join(map(repr, unknown))} (allowed: {', '.join(allowed)})"
    if not np.isfinite(episodes["episode_return"]).all():
        yield f"{EPISODES_FILE}: a return is not finite"
    if (episodes["length"] <= 0).any():
        yield f"{EPISODES_FILE}: a game has no agent steps"
    if (episodes["environment"] < 0).any():
        yield f"{EPISODES_FILE}: an environment's index is negative"
    unreported = int((episodes["end"] == "unreported").sum())
    if unreported != run.manifest["unreported_game_ends"]:
        yield (
            f"{EPISODES_FILE}: {unreported} games ended unreported, "
            f"the manifest says {run.manifest['unreported_game_ends']}"
        )
    for kind in EPISODE_KINDS:
        yield from _check_score(run.manifest["score"][kind], episodes, kind)


def _check_score(stated: dict[str, Any], episodes: pd.DataFrame, kind: str) -> Iterator[str]:
    games = min(SCORE_WINDOW_GAMES, int((episodes["kind"] == kind).sum()))
    if stated["games"] != games:
        yield f"score of {kind}: rests on {games} games, the manifest says {stated['games']}"
    mean = score_at(episodes, np.iinfo(np.int64).max, kind)
    if mean is None or stated["mean"] is None:
        same = mean is stated["mean"]
    else:
        same = math.isclose(mean, stated["mean"], rel_tol=1e-9, abs_tol=1e-9)
    if not same:
        yield f"score of {kind}: the games give {mean}, the manifest says {stated['mean']}"


def _check_moments(run: Run, name: str, table: pd.DataFrame) -> Iterator[str]:
    """Frames never fall, and lie between the first frame and the last."""
    frames = table["frames"].to_numpy()
    if len(frames) == 0:
        return
    if (np.diff(frames) < 0).any():
        yield f"{name}: frames fall from one row to the next"
    if frames.min() <= 0 or frames.max() > run.frames_done:
        yield f"{name}: frames from {frames.min()} to {frames.max()}, the run has played 1 to {run.frames_done}"


def _check_finished(manifest: dict[str, Any]) -> Iterator[str]:
    budget, played = manifest["spec"]["frames"], manifest["frames_done"]
    if not 0 <= budget - played < _rounding(manifest):
        yield f"is done after {played} frames, not within a step of progress of its budget of {budget}"
    if manifest["finished_at"] is None:
        yield "is done, but has no finished_at"
    elif datetime.fromisoformat(manifest["finished_at"]) < datetime.fromisoformat(manifest["started_at"]):
        yield "finished before it started"
    if manifest["error"] is not None:
        yield f"is done, but has an error: {manifest['error'].get('type')}"


def _check_actions(run: Run) -> Iterator[str]:
    """The packed action log fits its checksums and the budget; whether it earns the games, only an emulator can say."""
    entry, listed = run.manifest["actions"], run.manifest["files"].get(ACTIONS_FILE)
    if entry is None:
        if listed is not None or (run.directory / ACTIONS_FILE).exists():
            yield f"{ACTIONS_FILE}: is there, but the manifest names no action log"
        return
    if listed is None:
        yield f"{ACTIONS_FILE}: the manifest does not list it"
        return
    try:
        _checked_bytes(run, ACTIONS_FILE, listed)
        log = read_log(run)
        if (run.directory / FULL_ACTIONS_FILE).exists():  # it is not committed: others will see the witnesses alone
            read_log(run, committed=True)
    except ResultsError as error:
        yield str(error)
        return
    assert log is not None
    environment = run.manifest["environment"]
    wanted = [(kind, i) for kind in EPISODE_KINDS for i in range(len(environment.get(f"{kind}_seeds", ())))]
    if log.names != wanted:
        yield f"{ACTIONS_FILE}: its environments are not those that the manifest has seeds for, the training ones first"
    steps = entry["vector_steps"]
    if steps * len(environment.get("train_seeds", ())) * FRAME_SKIP != run.frames_done:
        yield f"{ACTIONS_FILE}: has {steps} vector steps, which are not the run's {run.frames_done} frames"


def _rounding(manifest: dict[str, Any]) -> float:
    """The frames between two reports of progress, to whose multiple a budget is rounded down."""
    values, seeds = manifest["config"]["baseline"], manifest["environment"].get("train_seeds")
    vector_steps = next((values[key] for key in VECTOR_STEPS_KEYS if isinstance(values.get(key), int)), None)
    if vector_steps is not None and isinstance(seeds, list):
        return FRAME_SKIP * len(seeds) * vector_steps
    return manifest["frames_done"] / max(manifest["updates_done"], 1)  # an agent of the user's own
