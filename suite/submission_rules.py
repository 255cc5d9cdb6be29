"""What a run must be to be sent in, apart from its games: the same rules for who packs it and for who takes it in.

Sources of an encoder of one's own are hashed and compared, and never executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from baselines.config import ConfigError
from baselines.families import PINNED_NAMES
from baselines.registry import Description, describe
from results.actions import ALL
from results.errors import shown
from results.kept_code import read_kept
from results.schema import CODE_FOLDER, CODE_KEY, FULL_ACTIONS_FILE
from results.store import Run
from results.submissions import MAX_CODE_FILES, is_extra_member
from results.verify import verify_run
from suite.protocol import PROTOCOLS, full_config, load_protocol
from suite.run_files import ACTION_LOG_FILE

_NAMED = 3  # values that are named of a configuration that differs


def first_problems(run: Run) -> tuple[str, list[str]] | None:
    """The first of `RULES` that `run` breaks, and how; None for a run in order."""
    for name, rule in RULES:
        if problems := rule(run):
            return name, problems
    return None


def _unfinished(run: Run) -> list[str]:
    if not run.is_done:
        return [f"is {run.status}, {run.frames_done} of {run.spec.frames} frames; finish it with: python -m suite run"]
    return []


def _unlogged(run: Run) -> list[str]:
    actions = run.manifest["actions"]
    if actions is None:
        where = " (python -m suite pack makes it of actions.bin)" if (run.directory / ACTION_LOG_FILE).exists() else ""
        return [f"has no action log, so its games cannot be played again{where}"]
    if actions["kept"] != ALL and not (run.directory / FULL_ACTIONS_FILE).exists():
        return [f"its whole action log, {FULL_ACTIONS_FILE}, is not beside it; a submission needs all of it"]
    if not any(run.manifest["score"][kind]["games"] for kind in run.manifest["score"]):
        return ["no game was finished in it, so it has no score"]
    return []


def _differing_protocol(run: Run) -> list[str]:
    name = run.spec.protocol
    if name not in PROTOCOLS:
        return [f"was made under the protocol {shown(name)}, which this suite does not have ({', '.join(PROTOCOLS)})"]
    if run.spec.baseline in PROTOCOLS:
        return [f"its baseline is called as a protocol is, {run.spec.baseline}: give it another name"]
    wanted = {"name": name, **load_protocol(name).values}
    return _differences(run.manifest["config"]["protocol"], wanted, "protocol", "pinned")


def _differing_config(run: Run) -> list[str]:
    found = run.manifest["config"]["baseline"]
    pinned = _pinned(run.spec.baseline)
    if run.spec.baseline in PINNED_NAMES and CODE_KEY in run.manifest:
        return [f"{run.spec.baseline} is a baseline of this suite, and the run is of other code; give it another name"]
    if pinned is not None:
        return _differences(
            found, full_config(pinned, load_protocol(run.spec.protocol))["baseline"], "configuration", "pinned"
        )
    if CODE_KEY not in run.manifest:
        return [
            f"{run.spec.baseline} is no baseline of this suite, and the run keeps no code of it ({CODE_FOLDER}/): "
            f"nobody could run it again"
        ]
    return []  # compared with its own file, by `verify_run` and `_unfit_code`


def _pinned(baseline: str) -> Description | None:
    try:
        return describe(baseline)
    except ConfigError:
        return None


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str, whose: str) -> list[str]:
    """Value by value, as JSON writes it: 1 and 1.0 are two values."""
    lines = [
        f"{what}: {shown(key)[1:-1]} is {_written(found, key)}, {whose} {_written(wanted, key)}"
        for key in sorted({*found, *wanted})
        if _written(found, key) != _written(wanted, key)
    ]
    return lines if len(lines) <= _NAMED else [*lines[:_NAMED], f"{what}: and {len(lines) - _NAMED} more values"]


def _written(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not there"
    text = json.dumps(values[key], sort_keys=True)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _unclear_revision(run: Run) -> list[str]:
    revision = run.manifest["revision"]
    if revision is None:
        return ["was made outside a checkout of this suite: which code made it is unknown"]
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision["commit"]) is None:
        return [f"was made by the commit {shown(revision['commit'])}, which is none; 40 or 64 hex digits are"]
    if not revision["clean"]:
        return [f"was made by changed code: its checkout of {revision['commit'][:12]} was not clean"]
    return []


def code_files(run: Run) -> list[Path]:
    """The sources that a run keeps, in order; empty for a baseline of the suite's own."""
    folder = run.directory / CODE_FOLDER
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _unfit_code(run: Run) -> list[str]:
    """What keeps sources out of a submission; that they are those of the manifest, `verify_run` has checked before."""
    files = code_files(run)
    if CODE_KEY not in run.manifest:
        return [f"{CODE_FOLDER}/: is there, and the manifest does not list it"] if files else []
    for path in files:
        name = path.relative_to(run.directory / CODE_FOLDER).as_posix()
        if path.is_symlink() or not is_extra_member(f"{run.spec.directory}/{CODE_FOLDER}/{name}", path.stat().st_size):
            return [f"{CODE_FOLDER}/{shown(name)[1:-1]}: is no .py or .toml file of at most 1 MB in plain letters"]
    if len(files) > MAX_CODE_FILES:
        return [f"{CODE_FOLDER}/: has {len(files)} files, at most {MAX_CODE_FILES} are taken"]
    stated, found = read_kept(run).values, run.manifest["config"]["baseline"]
    return _differences({key: found[key] for key in stated}, stated, "configuration", "its own file")


Rule = Callable[[Run], list[str]]
RULES: tuple[tuple[str, Rule], ...] = (  # in the order in which they are asked, with what a table calls them
    ("tables", verify_run),
    ("finished", _unfinished),
    ("actions", _unlogged),
    ("protocol", _differing_protocol),
    ("configuration", _differing_config),
    ("code", _unfit_code),
    ("revision", _unclear_revision),
)
