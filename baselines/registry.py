"""The baselines by name: what is pinned for each and how its agent is built.

An algorithm's module is imported when its configuration is first checked: torch takes seconds to import, and telling
what is pinned (`describe`) does not need it. Baselines of a user's own are known once `add_own` has read their file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from baselines.agent import Agent, Task
from baselines.code import is_reference, keep, load_class
from baselines.config import ConfigError, fill, read_pinned
from baselines.description import Description, Pinned
from baselines.families import BASELINES, BF16, PINNED_NAMES, STUDIES, VARIANTS, base_of
from baselines.own import read_extension

__all__ = [
    "BASELINES",
    "BF16",
    "VARIANTS",
    "Description",
    "Pinned",
    "add_own",
    "base_of",
    "describe",
    "is_own",
    "load_pinned",
    "make_agent",
    "scaled_settings",
]

PINNED_FOLDER = Path(__file__).parent / "pinned"
_ALGORITHMS: Mapping[str, tuple[str, str, str]] = {  # module, its config, its agent
    "pqn": ("baselines.pqn", "PqnConfig", "PqnAgent"),
    "c51": ("baselines.c51", "C51Config", "C51Agent"),
    "rainbow": ("baselines.rainbow", "RainbowConfig", "RainbowAgent"),
}
_own: dict[str, Description] = {}  # of this process, by name


def load_pinned(name: str) -> Pinned:
    """Raises ConfigError for a name without pinned file, or a file with an unknown or missing key."""
    return _check(_own[name]) if name in _own else _load_pinned(name)


@cache
def _load_pinned(name: str) -> Pinned:
    return _check(describe(name))


def describe(name: str) -> Description:
    """What is pinned for a baseline or a variant of it, read without importing its algorithm or any code of a user's.

    Raises ConfigError for a name without pinned file, or a file that cannot be read.
    """
    return _own[name] if name in _own else _describe_pinned(name)


@cache
def _describe_pinned(name: str) -> Description:
    path = _pinned_path(name)
    description = _read_study(path) if base_of(name) in STUDIES else _read_description(path)
    if base_of(name) == name:
        return description
    return dataclasses.replace(
        description,
        name=name,
        title=f"{description.title} (bf16)",
        values={**description.values, "precision": "bf16"},
        sources={**description.sources, "precision": "suite: encoder in mixed precision, not the published protocol"},
        references={**description.references, "suite": "a choice of this suite"},
        extends=base_of(name),
    )


def add_own(path: Path) -> str:
    """Makes a user's baseline known to this process; reads its TOML and its code, executes nothing. Returns its name.

    Raises ConfigError: it cannot be read or used, its name is a pinned one, or another file gave that name before.
    """
    description = read_extension(path, describe)
    if description.algorithm not in _ALGORITHMS and description.algorithm not in description.code:
        raise ConfigError(
            f"{path}: unknown algorithm {description.algorithm!r} "
            f'(allowed: {", ".join(_ALGORITHMS)}, or code of your own, "my_agent.py:MyAgent")'
        )
    if description.name in PINNED_NAMES:
        raise ConfigError(f"{path}: {description.name} is a baseline of the suite's own; give yours another name")
    before = _own.get(description.name)
    if before is not None and before.path is not None and before.path.resolve() != path.resolve():
        raise ConfigError(f"{path} and {before.path} both have the name {description.name}; give one of them another")
    keep(list(description.code.values()))
    _own[description.name] = description
    return description.name


def is_own(name: str) -> bool:
    """Whether `add_own` made the name known."""
    return name in _own


def _check(description: Description) -> Pinned:
    config_type, _ = _types(description.algorithm)
    where = str(description.path or _pinned_path(description.name))
    facts = {field.name: getattr(description, field.name) for field in dataclasses.fields(Description)}
    return Pinned(**facts, config=fill(config_type, description.values, where=where))


def make_agent(pinned: Pinned, task: Task) -> Agent:
    """The agent of a baseline, fresh, with its environments started."""
    _, agent_type = _types(pinned.algorithm)
    return agent_type(pinned.config, task)


def scaled_settings(config: Mapping[str, Any], frames: int) -> tuple[str, ...]:
    """What a budget of `frames` scales of a configuration, in words; empty where nothing, or nobody here can tell.

    Args: `config`: algorithm and values, as a manifest has them. Code of a user's own is not executed.
    """
    algorithm, values = config.get("algorithm"), {key: value for key, value in config.items() if key != "algorithm"}
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        return ()
    from baselines.replay.schedule import ReplayConfig, schedule  # imports torch

    try:
        filled = fill(_types(algorithm)[0], values, where="the configuration")
        return schedule(filled, frames).off_protocol if isinstance(filled, ReplayConfig) else ()
    except ValueError:  # ConfigError too: of an older or a newer suite
        return ()


def _pinned_path(name: str) -> Path:
    if name not in PINNED_NAMES:
        raise ConfigError(f"unknown baseline {name!r} (allowed: {', '.join(BASELINES)}, or NAME{BF16})")
    return PINNED_FOLDER / f"{base_of(name)}.toml"


def _read_study(path: Path) -> Description:
    return dataclasses.replace(read_extension(path, describe), path=None)


def _read_description(path: Path) -> Description:
    file = read_pinned(path, header=("name", "title", "algorithm", "paper"))
    if file.header["algorithm"] not in _ALGORITHMS:
        raise ConfigError(f"{path}: unknown algorithm {file.header['algorithm']!r} (allowed: {', '.join(_ALGORITHMS)})")
    name, title, algorithm, paper = (file.header[key] for key in ("name", "title", "algorithm", "paper"))
    return Description(name, title, algorithm, paper, file.values, file.sources, file.references)


def _types(algorithm: str) -> tuple[Any, Any]:
    """An algorithm's config and agent."""
    if is_reference(algorithm):
        return _own_types(algorithm)
    module_name, config_name, agent_name = _ALGORITHMS[algorithm]
    module = import_module(module_name)
    return getattr(module, config_name), getattr(module, agent_name)


def _own_types(reference: str) -> tuple[Any, Any]:
    """The agent of a user's own, and the frozen dataclass beside it: MyAgentConfig of MyAgent."""
    agent_type = load_class(reference)
    name = f"{agent_type.__name__}Config"
    config_type = getattr(import_module(agent_type.__module__), name, None)
    if not (isinstance(config_type, type) and dataclasses.is_dataclass(config_type)):
        raise ConfigError(f"{reference}: needs a frozen dataclass {name} beside it, a field for every pinned value")
    return config_type, agent_type
