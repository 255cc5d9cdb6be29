"""The protocol: what is the same for every baseline, and the identity that protocol and baseline give a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from baselines.config import ConfigError, fill, read_pinned
from baselines.emulator.envs import EnvironmentConfig
from baselines.registry import Description
from results.hashing import config_hash
from results.schema import RunSpec

PROTOCOLS_FOLDER = Path(__file__).parent / "protocols"
PAPER = "paper"
DEFAULT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Protocol:
    """A pinned protocol."""

    name: str
    title: str
    environment: EnvironmentConfig
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    references: Mapping[str, str]


@cache
def load_protocol(name: str) -> Protocol:
    """Raises ConfigError for an unknown protocol, or a pinned file with an unknown or missing key."""
    known = sorted(path.stem for path in PROTOCOLS_FOLDER.glob("*.toml"))
    if name not in known:
        raise ConfigError(f"unknown protocol {name!r} (allowed: {', '.join(known)})")
    file = read_pinned(PROTOCOLS_FOLDER / f"{name}.toml", header=("name", "title"))
    return Protocol(
        name=file.header["name"],
        title=file.header["title"],
        environment=fill(EnvironmentConfig, file.values, where=str(file.path)),
        values=file.values,
        sources=file.sources,
        references=file.references,
    )


def chosen_protocol() -> Protocol:
    """The protocol that every command works under."""
    return load_protocol(PAPER)


def full_config(pinned: Description, protocol: Protocol) -> dict[str, Any]:
    """Everything that shapes a run of a baseline under a protocol, as plain data: what the config hash covers.

    Of code of a user's own that is the source file, not what it imports."""
    config: dict[str, Any] = {
        "baseline": {"algorithm": pinned.algorithm, **pinned.values},
        "protocol": {"name": protocol.name, **protocol.values},
    }
    if pinned.code:  # edited code is another configuration; the suite's own is named by the manifest's revision
        config["code"] = {reference: source.sha256 for reference, source in sorted(pinned.code.items())}
    return config


def pinned_hash(pinned: Description) -> str:
    """The config hash of a baseline under the chosen protocol."""
    return config_hash(full_config(pinned, chosen_protocol()))


def run_spec(pinned: Description, protocol: Protocol, *, game: str, frames: int, seed: int) -> RunSpec:
    """The identity of one run."""
    return RunSpec(pinned.name, game, frames, seed, config_hash(full_config(pinned, protocol)))
