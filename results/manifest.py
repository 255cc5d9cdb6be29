"""The manifest of a run: written complete, read with suspicion."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from results.atomic import write_json
from results.errors import ResultsError
from results.games import GAMES
from results.hashing import CONFIG_HASH_LENGTH, sha256_hex
from results.schema import (
    ACTIONS_FILE,
    ADDED_IN_FORMAT_2,
    CHECKSUM_KEY,
    EPISODE_KINDS,
    EPISODES_FILE,
    FORMAT_VERSION,
    MANIFEST_FILE,
    MANIFEST_KEYS,
    METRICS_FILE,
    STATUSES,
    TIMING_FILE,
    RunSpec,
)

_PATHS = ("plain", "fast")
_TABLE_FILES = (EPISODES_FILE, METRICS_FILE, TIMING_FILE, ACTIONS_FILE)
_KEPT = ("all", "witnesses")
_LARGEST = 1e15  # more seconds or frames a second than any run has; keeps what follows from overflowing


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest` in the order of `MANIFEST_KEYS`, its checksum last; one of an older format in today's.

    Raises ValueError for a missing, unknown or unfit value.
    """
    values = {**manifest, "format_version": FORMAT_VERSION}
    _check(values)
    ordered = {key: values[key] for key in MANIFEST_KEYS}
    write_json(directory / MANIFEST_FILE, {**ordered, CHECKSUM_KEY: _checksum(ordered)})


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of the run in `directory`, checked; `format_version` says in which format it was written.

    Raises:
        ResultsError: it is absent or unreadable, a key is missing, unknown or of the wrong type, a newer suite made
            it, or it belongs to another run than the path says. The message is one line and names the file.
    """
    path = directory / MANIFEST_FILE
    manifest = load_json(path)
    try:
        manifest = _without_checksum(manifest)
        _check(manifest)
        _check_place(directory, read_spec(manifest))
    except ValueError as error:
        raise ResultsError(f"{path}: {error}") from None
    return manifest


def read_spec(manifest: Mapping[str, Any]) -> RunSpec:
    """The run's identity, from a checked manifest."""
    return RunSpec(**manifest["spec"])


def _checksum(values: Mapping[str, Any]) -> str:
    return sha256_hex(json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii"))


def _without_checksum(manifest: Any) -> Any:
    """A manifest of format 2 without its checksum, once that fits; one of format 1 with the keys it lacks."""
    if not isinstance(manifest, dict) or manifest.get("format_version") not in (1, 2):
        return manifest  # `_check` says what is wrong with it
    if manifest["format_version"] == 1:
        return {**dict.fromkeys(ADDED_IN_FORMAT_2), **manifest}
    found = manifest.pop(CHECKSUM_KEY, None)
    if found != _checksum(manifest):
        raise ValueError("its checksum does not fit, so it was changed after it was written; take it from its source")
    return manifest


def load_json(path: Path) -> Any:
    """Raises ResultsError, naming the file and the reason, if it is absent, unreadable or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except RecursionError:
        raise ResultsError(f"{path}: no JSON (nested too deeply)") from None
    except ValueError as error:  # also what is no UTF-8
        raise ResultsError(f"{path}: no JSON ({' '.join(str(error).split())})") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_place(directory: Path, spec: RunSpec) -> None:
    wanted = spec.directory.parts
    if directory.absolute().parts[-len(wanted) :] != wanted:
        raise ValueError(f"belongs to the run {spec}, whose place is {spec.directory}; move it there")


def _check(manifest: Any) -> None:
    """Raises ValueError saying what is wrong, without naming the file."""
    if not isinstance(manifest, Mapping):
        raise ValueError("is no manifest of a run: a JSON object is expected")
    version = manifest.get("format_version")
    if not _is_int(version) or version < 1:
        raise ValueError(f"is no manifest of a run: format_version is {version!r}")
    if version > FORMAT_VERSION:  # before its keys: a newer format may have others
        raise ValueError(
            f"was made by a newer suite (format {version}, this one reads up to {FORMAT_VERSION}): upgrade the suite"
        )
    _require_keys(manifest, MANIFEST_KEYS, "")
    for key, (fits, wanted) in _RULES.items():
        if not fits(manifest[key]):
            raise ValueError(f"{key} must be {wanted}, is {_short(manifest[key])}")
    _check_spec(manifest["spec"])
    _check_hardware(manifest["hardware"])
    _require_keys(manifest["config"], ("baseline", "protocol"), "config: ")
    for key, values in manifest["config"].items():
        if not _is_object(values):
            raise ValueError(f"config: {key} must be an object, is {_short(values)}")
    _require_keys(manifest["score"], EPISODE_KINDS, "score: ")
    for kind, score in manifest["score"].items():
        _require_keys(score, ("mean", "games"), f"score of {kind}: ")
        if not _or_none(_is_number)(score["mean"]) or not _is_count(score["games"]):
            raise ValueError(f"score of {kind} must be a mean and a count of games, is {_short(score)}")
    for name, entry in manifest["files"].items():
        if name not in _TABLE_FILES:
            raise ValueError(f"files: unknown {_short(name)} (allowed: {', '.join(_TABLE_FILES)})")
        _require_keys(entry, ("sha256", "rows"), f"files: {name}: ")
        if not _matches(r"[0-9a-f]{64}")(entry["sha256"]) or not _is_count(entry["rows"]):
            raise ValueError(f"files: {name} must have a SHA-256 and a count of rows, has {_short(entry)}")

    if manifest["actions"] is not None:
        _check_actions(manifest["actions"])


def _check_actions(entry: Mapping[str, Any]) -> None:
    _require_keys(entry, ("sha256", "environments", "vector_steps", "kept"), "actions: ")
    if not (
        _matches(r"[0-9a-f]{64}")(entry["sha256"])
        and _is_count(entry["environments"])
        and _is_count(entry["vector_steps"])
        and _is_one_of(_KEPT)(entry["kept"])
    ):
        raise ValueError(f"actions must have a SHA-256, two counts and one of {', '.join(_KEPT)}, has {_short(entry)}")


def _check_hardware(hardware: Mapping[str, Any]) -> None:
    """What is read of it has its type; older runs lack some keys."""
    for key, (fits, wanted) in _HARDWARE_RULES.items():
        if key in hardware and not fits(hardware[key]):
            raise ValueError(f"hardware: {key} must be {wanted}, is {_short(hardware[key])}")


def _check_spec(spec: Mapping[str, Any]) -> None:
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "baseline": (_matches(r"[a-z0-9][a-z0-9._-]*"), "a name in lower case"),
        "game": (lambda v: isinstance(v, str) and v in GAMES, "one of the 57 Atari games"),
        "frames": (lambda v: _is_count(v) and v > 0, "a positive number of emulator frames"),
        "seed": (_is_count, "a number from 0"),
        "config_hash": (_matches(rf"[0-9a-f]{{{CONFIG_HASH_LENGTH}}}"), f"{CONFIG_HASH_LENGTH} hex digits"),
    }
    _require_keys(spec, tuple(rules), "spec: ")
    for key, (fits, wanted) in rules.items():
        if not fits(spec[key]):
            raise ValueError(f"spec: {key} must be {wanted}, is {_short(spec[key])}")


def _require_keys(mapping: Any, wanted: tuple[str, ...], where: str) -> None:
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{where}must be an object with {', '.join(wanted)}, is {_short(mapping)}")
    missing = [key for key in wanted if key not in mapping]
    unknown = sorted(str(key) for key in mapping if key not in wanted)
    if missing:
        raise ValueError(f"{where}missing {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{where}unknown {', '.join(unknown)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return ((isinstance(value, float) and math.isfinite(value)) or _is_int(value)) and abs(value) <= _LARGEST


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


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


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "spec": (_is_object, "an object"),
    "protocol": (_is_text, "a name"),
    "config": (_is_object, "an object"),
    "off_protocol": (_is_list_of(_is_text), "a list of texts"),
    "status": (_is_one_of(STATUSES), f"one of {', '.join(STATUSES)}"),
    "path": (_is_one_of(_PATHS), f"one of {', '.join(_PATHS)}"),
    "frames_done": (_is_count, "a number of emulator frames"),
    "updates_done": (_is_count, "a number of updates"),
    "score": (_is_object, "an object"),
    "unreported_game_ends": (_is_count, "a number of games"),
    "environment": (_is_object, "an object"),
    "versions": (_is_object, "an object"),
    "hardware": (_is_object, "an object"),
    "revision": (_or_none(_is_object), "an object or null"),
    "started_at": (_is_time, "a time in UTC, ISO 8601"),
    "finished_at": (_or_none(_is_time), "a time in UTC, ISO 8601, or null"),
    "wall_seconds": (lambda v: _is_number(v) and v >= 0, "a number of seconds"),
    "cpu_seconds": (_or_none(lambda v: _is_number(v) and v >= 0), "a number of seconds or null"),
    "frames_per_second": (_or_none(lambda v: _is_number(v) and v >= 0), "a number or null"),
    "interruptions": (_is_list_of(_is_object), "a list of objects"),
    "files": (_is_object, "an object"),
    "actions": (_or_none(_is_object), "an object or null"),
    "error": (_or_none(_is_object), "an object or null"),
}
_HARDWARE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("cpu", "device", "platform"), (_is_text, "a text")),
    "gpu": (_or_none(_is_text), "a text or null"),
    **dict.fromkeys(("cores", "torch_threads", "emulator_threads", "jobs", "memory_bytes"), (_is_count, "a count")),
    **dict.fromkeys(("fast_paths", "fast_paths_missed"), (_is_list_of(_is_text), "a list of texts")),
}
