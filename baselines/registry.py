"""The baselines by name: what is pinned for each and how its agent is built.

An algorithm's module is imported when its configuration is first checked: torch takes seconds to import, and telling
what is pinned (`describe`) does not need it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from baselines.agent import Agent, Task
from baselines.config import ConfigError, fill, read_pinned

PINNED_FOLDER = Path(__file__).parent / "pinned"
BASELINES = ("pqn", "hadamax-pqn", "c51", "hadamax-c51", "rainbow")  # in the order in which they are shown
BF16 = "-bf16"
VARIANTS = tuple(name + BF16 for name in BASELINES)  # the same with `precision` bf16: other results, hence other names
_ALGORITHMS: Mapping[str, tuple[str, str, str]] = {  # module, its config, its agent
    "pqn": ("baselines.pqn", "PqnConfig", "PqnAgent"),
    "c51": ("baselines.c51", "C51Config", "C51Agent"),
    "rainbow": ("baselines.rainbow", "RainbowConfig", "RainbowAgent"),
}


@dataclass(frozen=True)
class Description:
    """One baseline's pinned file as it stands: every value has its source, keys are not yet checked."""

    name: str
    title: str
    algorithm: str
    paper: str
    values: Mapping[str, Any]  # as in the file; what the config hash covers, with `algorithm`
    sources: Mapping[str, str]  # of each value
    references: Mapping[str, str]  # what each source name stands for


@dataclass(frozen=True)
class Pinned(Description):
    """One baseline's pinned file, checked."""

    config: Any  # the algorithm's frozen dataclass


@cache
def load_pinned(name: str) -> Pinned:
    """Raises ConfigError for a name without pinned file, or a file with an unknown or missing key."""
    return _check(describe(name), _pinned_path(name))


def describe(name: str) -> Description:
    """What is pinned for a baseline or a variant of it, read without importing its algorithm.

    Raises ConfigError for a name without pinned file, or a file that cannot be read.
    """
    description = _read_description(_pinned_path(name))
    if name in BASELINES:
        return description
    return dataclasses.replace(
        description,
        name=name,
        title=f"{description.title} (bf16)",
        values={**description.values, "precision": "bf16"},
        sources={**description.sources, "precision": "suite: encoder in mixed precision, not the published protocol"},
        references={**description.references, "suite": "a choice of this suite"},
    )


def _check(description: Description, path: Path) -> Pinned:
    config_type, _ = _types(description.algorithm)
    return Pinned(**vars(description), config=fill(config_type, description.values, where=str(path)))


def make_agent(pinned: Pinned, task: Task) -> Agent:
    """The agent of a baseline, fresh, with its environments started."""
    _, agent_type = _types(pinned.algorithm)
    return agent_type(pinned.config, task)


def base_of(name: str) -> str:
    """The baseline that `name` of `VARIANTS` is a variant of; any other name as it is."""
    return name.removesuffix(BF16) if name in VARIANTS else name


def _pinned_path(name: str) -> Path:
    if name not in (*BASELINES, *VARIANTS):
        raise ConfigError(f"unknown baseline {name!r} (allowed: {', '.join(BASELINES)}, or NAME{BF16})")
    return PINNED_FOLDER / f"{base_of(name)}.toml"


def _read_description(path: Path) -> Description:
    file = read_pinned(path, header=("name", "title", "algorithm", "paper"))
    if file.header["algorithm"] not in _ALGORITHMS:
        raise ConfigError(f"{path}: unknown algorithm {file.header['algorithm']!r} (allowed: {', '.join(_ALGORITHMS)})")
    return Description(**file.header, values=file.values, sources=file.sources, references=file.references)


def _types(algorithm: str) -> tuple[Any, Any]:
    """An algorithm's config and agent."""
    module_name, config_name, agent_name = _ALGORITHMS[algorithm]
    module = import_module(module_name)
    return getattr(module, config_name), getattr(module, agent_name)
