"""What a report must know of the baselines and the protocol, as plain data (`reports.catalogue`)."""

from __future__ import annotations

from pathlib import Path

from baselines.families import BASELINES, FAMILY_TITLES, PINNED_NAMES, STUDIES, base_of, family_of
from baselines.registry import describe
from reports.catalogue import BaselineInfo, Catalogue, ProtocolInfo
from results.schema import FIRST_PROTOCOL
from suite.protocol import PROTOCOLS, load_protocol, pinned_hash

PROTOCOL_PAGE = "protocol.md"  # beside the folder of the baselines' pages
DOCS_FOLDER = Path(__file__).parent.parent / "docs" / "baselines"  # absent where the packages are installed alone


def catalogue(protocol_name: str = FIRST_PROTOCOL, docs: Path = DOCS_FOLDER) -> Catalogue:
    """Every baseline and variant under a protocol. Raises ConfigError for a pinned file that can't be read."""
    protocol = load_protocol(protocol_name)
    described = [describe(name) for name in PINNED_NAMES]
    return Catalogue(
        baselines=tuple(
            BaselineInfo(
                name=d.name,
                title=d.title,
                config_hash=pinned_hash(d, protocol.name),
                values=d.values,
                sources=d.sources,
                references=d.references,
                deviations_markdown=section(docs / _page(d.name), "Deviations"),
                about_markdown=about(d.name, docs),
                is_variant=d.name not in BASELINES,
                family=family_of(d.name) or "",
            )
            for d in described
        ),
        protocol=ProtocolInfo(
            name=protocol.name,
            values=protocol.values,
            sources=protocol.sources,
            title=protocol.title,
            differences_markdown=section(docs.parent / PROTOCOL_PAGE, f"What still differs from {protocol.name}'s"),
        ),
        other_protocols=tuple(name for name in PROTOCOLS if name != protocol.name),
        families=FAMILY_TITLES,
    )


def _page(name: str) -> str:
    return "variants.md" if base_of(name) in STUDIES else f"{base_of(name)}.md"


def about(name: str, docs: Path = DOCS_FOLDER) -> str:
    """What a baseline is, as a paragraph of Markdown: the first of its page, or a variant's family."""
    family = family_of(name)
    page = docs / _page(name)
    if family is not None:
        words = f"A variant, to ask why an encoder works: {FAMILY_TITLES[family]}."
    elif page.exists():
        words = page.read_text(encoding="utf-8").split("\n\n")[1]
    else:
        return ""
    in_bf16 = " Here the encoder computes in bf16, which no paper's protocol does." if base_of(name) != name else ""
    return f"{words}{in_bf16}"


def section(page: Path, heading: str) -> str:
    """The text below the heading that begins so, as Markdown; "" without page or heading."""
    if not page.exists():
        return ""
    lines = page.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if line.lower().startswith(f"## {heading}".lower())]
    if not starts:
        return ""
    below = lines[starts[0] + 1 :]
    end = next((i for i, line in enumerate(below) if line.startswith("## ")), len(below))
    return "\n".join(below[:end]).strip()
