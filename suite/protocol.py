"""The protocols: what is the same for every baseline, and the identity that protocol and baseline give a run."""

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
from results.schema import FIRST_PROTOCOL, RunSpec

PROTOCOLS_FOLDER = Path(__file__).parent / "protocols"
PROTOCOLS = (FIRST_PROTOCOL, "dopamine")  # in the order in which they are shown; the first is every command's default
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
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r} (allowed: {', '.join(PROTOCOLS)})")
    file = read_pinned(PROTOCOLS_FOLDER / f"{name}.toml", header=("name", "title"))
    return Protocol(
        name=file.header["name"],
        title=file.header["title"],
        environment=fill(EnvironmentConfig, file.values, where=str(file.path)),
        values=file.values,
        sources=file.sources,
        references=file.references,
    )


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


def pinned_hash(pinned: Description, protocol: str) -> str:
    """The config hash of a baseline under the protocol of that name. Raises ConfigError as `load_protocol`."""
    return config_hash(full_config(pinned, load_protocol(protocol)))


def run_spec(pinned: Description, protocol: Protocol, *, game: str, frames: int, seed: int) -> RunSpec:
    """The identity of one run."""
    return RunSpec(pinned.name, game, frames, seed, config_hash(full_config(pinned, protocol)), protocol.name)
