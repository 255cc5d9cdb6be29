"""What a report must know of the baselines and the protocol, as plain data (`reports.catalogue`)."""

from __future__ import annotations

from pathlib import Path

from baselines.registry import BASELINES, VARIANTS, base_of, describe
from reports.catalogue import BaselineInfo, Catalogue, ProtocolInfo
from suite.protocol import chosen_protocol, pinned_hash

DOCS_FOLDER = Path(__file__).parent.parent / "docs" / "baselines"  # absent where the packages are installed alone


def catalogue(docs: Path = DOCS_FOLDER) -> Catalogue:
    """Every baseline and variant under the chosen protocol. Raises ConfigError for a pinned file that can't be read."""
    protocol = chosen_protocol()
    described = [describe(name) for name in (*BASELINES, *VARIANTS)]
    return Catalogue(
        baselines=tuple(
            BaselineInfo(
                name=d.name,
                title=d.title,
                config_hash=pinned_hash(d),
                values=d.values,
                sources=d.sources,
                references=d.references,
                deviations_markdown=deviations(docs / f"{base_of(d.name)}.md"),
                is_variant=d.name in VARIANTS,
            )
            for d in described
        ),
        protocol=ProtocolInfo(name=protocol.name, values=protocol.values, sources=protocol.sources),
    )


def deviations(page: Path) -> str:
    """The text below the heading "Deviations..." of a baseline's page, as Markdown; "" without page or heading."""
    if not page.exists():
        return ""
    lines = page.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("## Deviations")]
    if not starts:
        return ""
    below = lines[starts[0] + 1 :]
    end = next((i for i, line in enumerate(below) if line.startswith("## ")), len(below))
    return "\n".join(below[:end]).strip()
