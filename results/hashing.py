"""Fingerprints: of a configuration, which is part of a run's identity, and of a file's bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG_HASH_LENGTH = 16  # hex digits


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of `config` as canonical JSON.

    Canonical: keys sorted, no blanks, ASCII, floats in their shortest form that reads back the same. The order of keys
    does not matter; `1` and `1.0` are different values. The hash of a configuration read back from JSON is the same.

    Raises:
        ValueError: a float is not finite.
        TypeError: a key is no string, or a value is nothing that JSON knows.
    """
    text = json.dumps(_plain(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_hex(text.encode("ascii"))[:CONFIG_HASH_LENGTH]


def sha256_hex(data: bytes | memoryview) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """64 hex digits; of a file of any size, read piece by piece. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind as dicts and lists; json itself would turn a key 1 into "1" unasked."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys of a configuration are strings, not {key!r}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
