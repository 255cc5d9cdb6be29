"""What a report must know of the baselines and the protocol, as plain data (`reports.catalogue`)."""

from __future__ import annotations

from pathlib import Path

from baselines.registry import BASELINES, VARIANTS, describe, varied
from reports.catalogue import BaselineInfo, Catalogue, ProtocolInfo
from results.hashing import config_hash
from suite.protocol import full_config, load_protocol

DOCS_FOLDER = Path(__file__).parent.parent / "docs" / "baselines"  # absent where the packages are installed alone


def catalogue(protocol_name: str, docs: Path = DOCS_FOLDER) -> Catalogue:
    """Every baseline and variant under a protocol. Raises ConfigError for a pinned file that cannot be read."""
    protocol = load_protocol(protocol_name)
    described = [describe(name) for name in (*BASELINES, *VARIANTS)]
    return Catalogue(
        baselines=tuple(
            BaselineInfo(
                name=d.name,
                title=d.title,
                config_hash=config_hash(full_config(d, protocol)),
                values=d.values,
                sources=d.sources,
                references=d.references,
                deviations_markdown=deviations(docs / f"{varied(d.name)}.md"),
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
