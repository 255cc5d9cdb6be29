"""What the keys of a manifest must be. A manifest can come from anybody: nothing that passes may stop a report.

Written by hand rather than as types of msgspec. That names neither the value it found nor those it allows ("Invalid
enum value 'finished'"), and lets an integer of any size pass: what is long here would stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from results.games import GAMES
from results.hashing import CONFIG_HASH_LENGTH
from results.schema import (
    ACTIONS_FILE,
    CODE_KEY,
    EPISODE_KINDS,
    EPISODES_FILE,
    FORMAT_VERSION,
    MANIFEST_KEYS,
    METRICS_FILE,
    STATUSES,
    TIMING_FILE,
)

_PATHS = ("plain", "fast")
_KEPT = ("all", "witnesses")
_FILES = (EPISODES_FILE, METRICS_FILE, TIMING_FILE, ACTIONS_FILE)
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_NUMBER = 1e15  # of seconds, frames a second, returns: far beyond any, and all arithmetic on it is sound
_SMALLEST_SPEED = 1e-6  # frames a second
_DEEPEST = 12  # objects and lists within one another


class Rule(NamedTuple):
    """What a value must be."""

    fits: Callable[[Any], Any]  # whether it is
    wanted: str  # in words


def check_manifest(manifest: Any) -> None:
    """Raises ValueError saying what is wrong, without naming the file."""
    if not isinstance(manifest, Mapping):
        raise ValueError("is no manifest of a run: a JSON object is expected")
    version = manifest.get("format_version")
    if not _is_int(version) or version < 1:
        raise ValueError(f"is no manifest of a run: format_version is {_short(version)}")
    if version > FORMAT_VERSION:  # before its keys: a newer format may have others
        raise ValueError(
            f"was made by a newer suite (format {_short(version)}, this one reads up to {FORMAT_VERSION}): "
            f"upgrade the suite"
        )
    _check_keys(manifest, MANIFEST_KEYS, "", optional=(CODE_KEY,))
    _check_values(manifest, _RULES, "")
    check_rules(manifest["spec"], _SPEC, "spec: ")
    _check_keys(manifest["config"], ("baseline", "protocol"), "config: ", optional=(CODE_KEY,))
    _check_values(manifest["config"], dict.fromkeys(("baseline", "protocol", CODE_KEY), OBJECT), "config: ")
    for reference, entry in manifest.get(CODE_KEY, {}).items():
        check_rules(entry, _CODE, f"code of {_short(reference)}: ")
    _check_keys(manifest["score"], EPISODE_KINDS, "score: ")
    for kind, score in manifest["score"].items():
        check_rules(score, _SCORE, f"score of {kind}: ")
    for name, entry in manifest["files"].items():
        if name not in _FILES:
            raise ValueError(f"files: unknown {_short(name)} (allowed: {', '.join(_FILES)})")
        check_rules(entry, _FILE, f"files: {name}: ")
    _check_values(manifest["environment"], _ENVIRONMENT, "environment: ")
    _check_values(manifest["hardware"], _HARDWARE, "hardware: ")
    for name, found in manifest["versions"].items():
        if not _or_none(_is_text)(found):
            raise ValueError(f"versions: {_short(name)} must be a text or null, is {_short(found)}")
    if manifest["revision"] is not None:
        check_rules(manifest["revision"], _REVISION, "revision: ")
    for number, interruption in enumerate(manifest["interruptions"], start=1):
        check_rules(interruption, _INTERRUPTION, f"interruption {number}: ")
    if manifest["error"] is not None:
        check_rules(manifest["error"], _ERROR, "error: ")
    if manifest["actions"] is not None:
        check_rules(manifest["actions"], _ACTIONS, "actions: ")
    for key, value in manifest.items():  # what no rule above speaks of
        _check_plain(value, key, depth=0)


def text_rule(most: int) -> Rule:
    """A text of at most `most` characters."""
    return Rule(lambda value: _is_text(value) and len(value) <= most, f"a text of at most {most} characters")


def check_rules(mapping: Any, rules: Mapping[str, Rule], where: str) -> None:
    """Raises ValueError, beginning with `where`, unless `mapping` has exactly the keys of `rules`, and fits them."""
    _check_keys(mapping, tuple(rules), where)
    _check_values(mapping, rules, where)


def _check_keys(mapping: Any, wanted: tuple[str, ...], where: str, *, optional: tuple[str, ...] = ()) -> None:
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{where}must be an object with {', '.join(wanted)}, is {_short(mapping)}")
    missing = [key for key in wanted if key not in mapping]
    unknown = sorted(_name(key) for key in mapping if key not in (*wanted, *optional))
    if missing:
        raise ValueError(f"{where}missing {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{where}unknown {', '.join(unknown)}")


def _check_values(mapping: Mapping[str, Any], rules: Mapping[str, Rule], where: str) -> None:
    """Those keys of `rules` that `mapping` has."""
    for key, rule in rules.items():
        if key in mapping and not rule.fits(mapping[key]):
            raise ValueError(f"{where}{key} must be {rule.wanted}, is {_short(mapping[key])}")


def _check_plain(value: Any, where: str, *, depth: int) -> None:
    """Plain data with bounded numbers and texts that any stream can be asked to print."""
    if depth > _DEEPEST:
        raise ValueError(f"{where}: is nested too deeply")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_text(key):
                raise ValueError(f"{where}: {_short(key)} is no key")
            _check_plain(item, where, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where, depth=depth + 1)
    elif not (value is None or isinstance(value, bool) or _is_text(value) or _is_bounded(value)):
        raise ValueError(f"{where} must be plain data, is or holds {_short(value)}")


def _short(value: Any) -> str:
    if _is_int(value) and abs(value) > _LARGEST_INTEGER:
        return f"a number of {value.bit_length()} bits"  # its digits can't even be asked for beyond 4,300
    try:
        text = repr(value)
    except RecursionError:
        return "nested too deeply"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair
    return text if len(text) <= 60 else text[:57] + "..."


def _name(key: Any) -> str:
    text = str(key).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 60 else text[:57] + "..."


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_int(value) and 0 <= value <= _LARGEST_INTEGER


def _is_positive(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_bounded(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or (_is_int(value) and abs(value) <= _LARGEST_INTEGER)


def _is_number(value: Any) -> bool:
    return _is_bounded(value) and abs(value) <= _LARGEST_NUMBER


def _is_text(value: Any) -> bool:
    """Half of a surrogate pair, which JSON can spell, can't be written to any stream."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_one_of(allowed: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in allowed


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


def _is_time(value: Any) -> bool:
    """A moment in UTC, ISO 8601."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except ValueError:
        return False


OBJECT = Rule(_is_object, "an object")
_TEXT = Rule(_is_text, "a text")
_TEXTS = Rule(_is_list_of(_is_text), "a list of texts")
_COUNT = Rule(_is_count, "a number from 0")
_POSITIVE = Rule(_is_positive, "a number from 1")
_NAME = Rule(_matches(r"[a-z0-9][a-z0-9._-]*"), "a name in lower case")
_SHA256 = Rule(_matches(r"[0-9a-f]{64}"), "a SHA-256, 64 hex digits")
_SECONDS = Rule(lambda value: _is_number(value) and value >= 0, "a number of seconds")
_SECONDS_OR_NONE = Rule(_or_none(_SECONDS.fits), "a number of seconds or null")
_SEEDS = Rule(_is_list_of(_is_count), "a list of seeds")

_RULES = {
    "spec": OBJECT,
    "protocol": _NAME,
    "config": OBJECT,
    CODE_KEY: OBJECT,
    "off_protocol": _TEXTS,
    "status": Rule(_is_one_of(STATUSES), f"one of {', '.join(STATUSES)}"),
    "path": Rule(_is_one_of(_PATHS), f"one of {', '.join(_PATHS)}"),
    "frames_done": Rule(_is_count, "a number of emulator frames"),
    "updates_done": Rule(_is_count, "a number of updates"),
    "score": OBJECT,
    "unreported_game_ends": Rule(_is_count, "a number of games"),
    "environment": OBJECT,
    "versions": OBJECT,
    "hardware": OBJECT,
    "revision": Rule(_or_none(_is_object), "an object or null"),
    "started_at": Rule(_is_time, "a time in UTC, ISO 8601"),
    "finished_at": Rule(_or_none(_is_time), "a time in UTC, ISO 8601, or null"),
    "wall_seconds": _SECONDS,
    "cpu_seconds": _SECONDS_OR_NONE,
    "frames_per_second": Rule(
        _or_none(lambda value: _is_number(value) and value >= _SMALLEST_SPEED), "a positive number or null"
    ),
    "interruptions": Rule(_is_list_of(_is_object), "a list of objects"),
    "actions": Rule(_or_none(_is_object), "an object or null"),
    "files": OBJECT,
    "error": Rule(_or_none(_is_object), "an object or null"),
}
_SPEC = {
    "baseline": _NAME,
    "game": Rule(lambda value: isinstance(value, str) and value in GAMES, "one of the 57 Atari games"),
    "frames": Rule(_is_positive, "a positive number of emulator frames"),
    "seed": _COUNT,
    "config_hash": Rule(_matches(rf"[0-9a-f]{{{CONFIG_HASH_LENGTH}}}"), f"{CONFIG_HASH_LENGTH} hex digits"),
}
_SCORE = {"mean": Rule(_or_none(_is_number), "a number or null"), "games": _COUNT}
_FILE = {"sha256": _SHA256, "rows": _COUNT}
_ACTIONS = {
    "sha256": _SHA256,
    "environments": _POSITIVE,
    "vector_steps": _COUNT,
    "kept": Rule(_is_one_of(_KEPT), f"one of {', '.join(_KEPT)}"),
}
_CODE = {
    "file": Rule(_matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.py"), "the name of a Python file"),
    "sha256": _SHA256,
}
# Of the keys from here on down to the revision some may be missing, and unknown ones are plain data.
_ENVIRONMENT = {
    "envpool_id": _TEXT,
    "envpool_config": OBJECT,
    "rom_sha256": _SHA256,
    "train_seeds": _SEEDS,
    "greedy_seeds": _SEEDS,
}
_HARDWARE = {
    "cpu": _TEXT,
    "instructions": _TEXT,
    "cores": _POSITIVE,
    "memory_bytes": _POSITIVE,
    "device": _TEXT,
    "gpu": Rule(_or_none(_is_text), "a text or null"),
    "torch_threads": _POSITIVE,
    "emulator_threads": _POSITIVE,
    "platform": _TEXT,
    "jobs": _POSITIVE,
    "fast_paths": _TEXTS,
    "fast_paths_missed": _TEXTS,
    "environment_groups": _POSITIVE,
}
_REVISION = {
    "commit": _TEXT,
    "clean": Rule(lambda value: isinstance(value, bool), "true or false"),
}
_INTERRUPTION = {
    "at": Rule(_or_none(_is_time), "a time in UTC, ISO 8601, or null"),
    "frames": Rule(_is_count, "a number of emulator frames"),
    "reason": _TEXT,
    "replay_seconds": _SECONDS_OR_NONE,
    "changed": _TEXTS,
}
_ERROR = {"type": _TEXT, "message": _TEXT}
