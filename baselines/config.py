"""Pinned configurations: TOML in which every value names its source, read into frozen dataclasses.

A pinned file looks like

    name = "pqn"
    title = "PQN"
    algorithm = "pqn"
    [sources]
    official = "where the values come from"
    [values]
    train_envs = { value = 128, source = "official: NUM_ENVS" }

There is no second default anywhere: a key that the dataclass does not know, or one that the file lacks, is refused.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

Config = TypeVar("Config")


class ConfigError(ValueError):
    """A pinned file that cannot be used; the message is one line and says which key of which file."""


@dataclass(frozen=True)
class Bounds:
    """Which numbers a value may be: from `low`, or above it, to `high`; no nan."""

    low: float
    high: float = math.inf
    is_open: bool = False  # `low` itself is none of them

    def holds(self, value: float) -> bool:
        return (self.low < value if self.is_open else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        least = f"above {self.low:g}" if self.is_open else f"at least {self.low:g}"
        return least if self.high == math.inf else f"{least} and at most {self.high:g}"


LARGEST = 1e38  # about what float32 holds
Count = Annotated[int, Bounds(1)]
CountFromZero = Annotated[int, Bounds(0)]
Positive = Annotated[float, Bounds(0.0, LARGEST, is_open=True)]
NotNegative = Annotated[float, Bounds(0.0, LARGEST)]
Fraction = Annotated[float, Bounds(0.0, 1.0)]
PositiveFraction = Annotated[float, Bounds(0.0, 1.0, is_open=True)]
Decay = Annotated[float, Bounds(0.0, 0.999999)]  # of a moving average whose bias is corrected
Finite = Annotated[float, Bounds(-LARGEST, LARGEST)]


@dataclass(frozen=True)
class PinnedFile:
    """A pinned file as read, before its values are put into a dataclass."""

    path: Path
    header: Mapping[str, str]  # name, title, ...: the plain strings at the top
    references: Mapping[str, str]  # what each source name stands for
    values: Mapping[str, Any]
    sources: Mapping[str, str]  # of each value


def read_pinned(path: Path, *, header: tuple[str, ...]) -> PinnedFile:
    """Reads a pinned file whose top-level strings are exactly `header`.

    Raises:
        ConfigError: the file is absent or no TOML, a top-level key is missing or unknown, or a value lacks its source.
    """
    document = read_toml(path)
    _require_keys(document.keys(), {*header, "sources", "values"}, f"{path}")
    values, sources = read_sourced(document["values"], where=f"{path}")
    references = read_references(document["sources"], where=f"{path}")
    return PinnedFile(path, {key: document[key] for key in header}, references, values, sources)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises ConfigError if it is absent or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"cannot read pinned file {path}: {reason}") from error


def read_sourced(entries: Mapping[str, Any], *, where: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their sources, of entries written { value = ..., source = "..." }. Raises ConfigError."""
    values, sources = {}, {}
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            raise ConfigError(f'{where}: {key} must be written {{ value = ..., source = "..." }}')
        _require_keys(entry.keys(), {"value", "source"}, f"{where}: {key}")
        if not isinstance(entry["source"], str):
            raise ConfigError(f"{where}: {key}: source must be a text, is {entry['source']!r}; put it in quotes")
        values[key], sources[key] = entry["value"], entry["source"]
    return values, sources


def read_references(entries: Mapping[str, Any], *, where: str) -> dict[str, str]:
    """What each source name stands for, of a table [sources]. Raises ConfigError for one that is no text."""
    for key, text in entries.items():
        if not isinstance(text, str):
            raise ConfigError(f"{where}: [sources] {key} must be a text, is {text!r}; put it in quotes")
    return dict(entries)


def fill(config: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """An instance of the frozen dataclass `config` from `values`, every field given, none unknown, types as annotated.

    A number must lie in the `Bounds` that its field is annotated with. A dataclass whose values must fit together has a
    property `fault`: what does not fit, or "".

    Raises:
        ConfigError: naming `where` and the offending key.
    """
    types = get_type_hints(config, include_extras=True)
    fields = {field.name: types[field.name] for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    left_out = {  # what a file may leave out: a field with a default, which its class gives a reason for
        field.name
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
        if field.name not in values and field.default is not dataclasses.MISSING
    }
    fields = {name: wanted for name, wanted in fields.items() if name not in left_out}
    _require_keys(values.keys(), fields.keys(), where)
    checked = {}
    for key, wanted in fields.items():
        value = values[key]
        wanted, *bounds = get_args(wanted) or (wanted,)
        if wanted is float and type(value) is int:  # TOML writes 1 and 1.0; both mean the number
            try:
                value = float(value)
            except OverflowError:
                raise ConfigError(f"{where}: {key} is a number of more digits than a float holds") from None
        if type(value) is not wanted:
            raise ConfigError(f"{where}: {key} must be {wanted.__name__}, is {value!r}")
        outside = [bound for bound in bounds if isinstance(bound, Bounds) and not bound.holds(value)]
        if outside:
            raise ConfigError(f"{where}: {key} must be {outside[0]}, is {value!r}")
        checked[key] = value
    filled = config(**checked)
    fault = getattr(filled, "fault", "")
    if fault:
        raise ConfigError(f"{where}: {fault}")
    return filled


def _require_keys(given: Any, wanted: Any, where: str) -> None:
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)} (allowed: {', '.join(sorted(wanted))})")
