"""What a report must know of baselines and protocol, as plain data.

The report imports neither; whoever builds it fills these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results.schema import FIRST_PROTOCOL


@dataclass(frozen=True)
class BaselineInfo:
    """One pinned baseline."""

    name: str
    title: str
    config_hash: str  # of the pinned baseline under the pinned protocol; runs with another one are not comparable
    values: Mapping[str, Any]
    sources: Mapping[str, str]  # of each value, by its name
    references: Mapping[str, str]  # what each source's short name stands for
    deviations_markdown: str  # from the official code, numbered; "" where none are written down
    about_markdown: str = ""  # what it is, in a paragraph; links to NAME.md are to the baseline of that name
    is_variant: bool = False  # of another one: shown only where it has results
    family: str = ""  # of a variant that asks why a baseline works: a key of `Catalogue.families`
    is_own: bool = False  # a user's, as its runs keep it
    file: str = ""  # of a user's own: the TOML that a command takes for it
    code: Mapping[str, str] = field(default_factory=dict)  # of a user's own: file name -> text; shown, never executed


@dataclass(frozen=True)
class ProtocolInfo:
    """A pinned protocol."""

    name: str
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    title: str = ""
    differences_markdown: str = ""  # what still differs from what others published under it, numbered; "" for nothing

    @property
    def judges_the_paper(self) -> bool:
        """Whether the paper's claims, and the suite's own questions, are asked of its runs."""
        return self.name == FIRST_PROTOCOL

    @property
    def flag(self) -> str:
        """What a command says to mean it."""
        return "" if self.name == FIRST_PROTOCOL else f" --protocol {self.name}"


@dataclass(frozen=True)
class Catalogue:
    """All baselines, in the order in which they are shown, and the protocol they are pinned under."""

    baselines: tuple[BaselineInfo, ...]
    protocol: ProtocolInfo
    command: str = "python -m suite"  # what the commands that the report prints begin with
    families: Mapping[str, str] = field(default_factory=dict)  # of variants: name -> what it changes
    hidden: tuple[BaselineInfo, ...] = ()  # variants without results: known by title, not shown
    other_protocols: tuple[str, ...] = ()  # that the suite has: their runs are in other reports, and not read for this

    def shown_with(self, results_of: Collection[str]) -> Catalogue:
        """This catalogue without the variants that have no results."""
        kept = tuple(info for info in self.baselines if not info.is_variant or info.name in results_of)
        return replace(self, baselines=kept, hidden=tuple(info for info in self.baselines if info not in kept))

    def find(self, name: str) -> BaselineInfo | None:
        """The baseline of that name, if it is pinned."""
        return next((baseline for baseline in self.baselines if baseline.name == name), None)

    def title(self, name: str) -> str:
        """How a baseline is called in text; its name where it is not pinned."""
        return next((info.title for info in (*self.baselines, *self.hidden) if info.name == name), name)
