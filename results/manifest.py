"""The manifest of a run: written complete, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from results.atomic import write_json
from results.errors import ResultsError
from results.hashing import sha256_hex
from results.manifest_rules import check_manifest
from results.schema import (
    ADDED_IN_FORMAT_2,
    CHECKSUM_KEY,
    CODE_KEY,
    FORMAT_VERSION,
    MANIFEST_FILE,
    MANIFEST_KEYS,
    RunSpec,
)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest` in the order of `MANIFEST_KEYS`, its checksum last; one of an older format in today's.

    Raises ValueError for a missing, unknown or unfit value.
    """
    values = {**manifest, "format_version": FORMAT_VERSION}
    check_manifest(values)
    ordered = {key: values[key] for key in (*MANIFEST_KEYS, CODE_KEY) if key in values}
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
        manifest, checksum = _opened(manifest)
        check_manifest(manifest)
        _check_place(directory, read_spec(manifest))
        if manifest["format_version"] > 1 and checksum != _checksum(manifest):
            raise ValueError(
                "its checksum does not fit, so it was changed after it was written; take it from its source"
            )
    except ValueError as error:
        raise ResultsError(f"{path}: {error}") from None
    return manifest


def read_spec(manifest: Mapping[str, Any]) -> RunSpec:
    """The run's identity, from a checked manifest."""
    return RunSpec(**manifest["spec"], protocol=manifest["protocol"])


def _checksum(values: Mapping[str, Any]) -> str:
    return sha256_hex(json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii"))


def _opened(manifest: Any) -> tuple[Any, Any]:
    """A manifest without its checksum, and the checksum; one of format 1, which has none, with the keys it lacks."""
    if not isinstance(manifest, dict):
        return manifest, None  # `check_manifest` says what is wrong with it
    if manifest.get("format_version") == 1 and not manifest.keys() & {*ADDED_IN_FORMAT_2}:
        return {**dict.fromkeys(ADDED_IN_FORMAT_2), **manifest}, None
    checksum = manifest.pop(CHECKSUM_KEY, None)
    if manifest.get("format_version") == 1:
        raise ValueError(f"says it is of format 1, which has no {' or '.join(ADDED_IN_FORMAT_2)}")
    return manifest, checksum


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
