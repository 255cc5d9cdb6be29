"""A browser without network, and reports to open in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from made_up_runs import LAYERS, make_catalogue, write_run

from reports.build import build

FOLDER = Path(__file__).parent
ARGUMENTS = ("--no-sandbox", "--disable-background-networking")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    executable = os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"the browser tests need Chromium: none of {', '.join(NAMES)} on the PATH, and CHROMIUM is not set")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what it did that it should not."""

    page: Any
    complaints: list[str] = field(default_factory=list)  # console messages, errors, requests beyond files


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """visit(path, width=1024, scheme="light", scripts=True) -> Visit"""
    contexts = []

    def open_page(path: Path, *, width: int = 1024, scheme: str = "light", scripts: bool = True) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts, offline=True
        )
        contexts.append(context)
        visit = Visit(context.new_page())
        page = visit.page
        page.on("console", lambda message: visit.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
        page.on("request", lambda request: _note_request(visit, request.url))
        page.on("requestfailed", lambda request: visit.complaints.append(f"failed: {request.url}"))
        page.goto(path.as_uri())
        return visit

    yield open_page
    for context in contexts:
        context.close()


def _note_request(visit: Visit, url: str) -> None:
    if not url.startswith(("file:", "data:")):
        visit.complaints.append(f"request: {url}")


@pytest.fixture(scope="session")
def axe() -> str:
    return (FOLDER / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def full_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every kind of content: verdicts, bands, diagnostics, published curves, left-out runs."""
    root = tmp_path_factory.mktemp("browser") / "runs"
    for game in ("Pong", "Breakout", "Qbert", "DoubleDunk"):
        for seed in range(3):
            for name, hns, rank in (("pqn", 0.5, 30.0), ("hadamax-pqn", 0.9, 55.0), ("rainbow", 0.7, 40.0)):
                found = {f"effective_rank/{layer}": rank + seed for layer in LAYERS}
                found |= {f"dead_fraction/{layer}": 0.04 + 0.001 * seed for layer in LAYERS}
                speed = 4500.0 if name == "hadamax-pqn" else 10_000.0
                write_run(
                    root,
                    name,
                    game,
                    4_000_000,
                    seed,
                    hns * (1 + 0.05 * seed),
                    diagnostics=found,
                    frames_per_second=speed,
                )
    write_run(root, "c51", "Pong", 4_000_000, 0, 0.2, off_protocol=["replay of 100k, not 1M"])
    write_run(root, "pqn", "Pong", 40_000_000, 0, 0.9, status="interrupted", frames_done=20_000_000)
    write_run(root, "pqn", "Qbert", 40_000_000, 0, 0.9, changes={"discount": 0.97})
    (write_run(root, "pqn", "Alien", 4_000_000, 0, 0.9) / "manifest.json").write_text("{")
    claims = root.parent / "claims.toml"
    claims.write_text(_CLAIM)
    return build(results=root, out=root.parent / "html", catalogue=make_catalogue(), claims_file=claims).index.parent


@pytest.fixture(scope="session")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of nothing."""
    place = tmp_path_factory.mktemp("empty")
    return build(results=place / "runs", out=place / "html", catalogue=make_catalogue()).index.parent


_CLAIM = """
[[claim]]
id = "own"
kind = "gain"
title = "Hadamax-PQN gains 50 % on four games"
statement = "A claim of ours."
source = "nobody"
baseline = "hadamax-pqn"
reference = "pqn"
games = ["Pong", "Breakout", "Qbert", "DoubleDunk"]
frames = "4M"
measure = "median"
claimed = 0.5
"""
