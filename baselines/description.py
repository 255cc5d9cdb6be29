"""What is pinned for one baseline, as plain data; nothing of it imports an algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.code import Source


@dataclass(frozen=True)
class Description:
    """One baseline's file as it stands: every value has its source, keys are not yet checked."""

    name: str
    title: str
    algorithm: str
    paper: str
    values: Mapping[str, Any]  # as in the file; what the config hash covers, with `algorithm`
    sources: Mapping[str, str]  # of each value
    references: Mapping[str, str]  # what each source name stands for
    code: Mapping[str, Source] = field(default_factory=dict)  # what is not the suite's own, by reference
    extends: str | None = None  # the baseline that it differs from
    path: Path | None = None  # of a user's file; None for what the suite pins


@dataclass(frozen=True)
class Pinned(Description):
    """One baseline's file, checked."""

    config: Any = None  # the algorithm's frozen dataclass
