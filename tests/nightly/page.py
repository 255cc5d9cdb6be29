"""The page *Nights*: each figure over the last nights in its band, what changed when, and what last failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from bands import LEARNED
from figures import FOLDER, NightError, command
from markupsafe import Markup

from reports.pages import svg
from results.atomic import write_bytes

NIGHTS = 90
PAGE = "index.html"
TEMPLATE = "nights.html"
STYLE = Path(svg.__file__).parent / "static" / "report.css"
WIDTH, HEIGHT, EDGE = 240.0, 74.0, 5.0


def read_nights(folder: Path) -> list[dict[str, Any]]:
    """The last nights in `folder`, in order; none where there is no folder yet.

    Raises: NightError for a file that is no night.
    """
    found = []
    for path in sorted(folder.glob("*.json"))[-NIGHTS:]:
        try:
            night = json.loads(path.read_text(encoding="utf-8"))
            for key in ("at", "runner", "versions", "passed", "baselines", "speed", "slower"):
                night[key]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NightError(f"{path} is no night ({type(error).__name__}: {error}); remove it") from None
        found.append(night)
    return found


def build(folder: Path) -> Path:
    """Writes the page of the nights in `folder` into it; returns where. Raises NightError if there are none."""
    nights = read_nights(folder)
    if not nights:
        raise NightError(f"{folder} has no night yet; make one with: {command('check', '--nights', folder)}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    text = environment.get_template(TEMPLATE).render(
        style=Markup(STYLE.read_text(encoding="utf-8")),
        nights=nights,
        last=nights[-1],
        sections=[section(name, nights) for name in nights[-1]["baselines"]],
        speeds=[plot_of(f"speed of {name}", _speeds(name, nights), None, nights) for name in nights[-1]["speed"]],
        faults=next((night["faults"] for night in reversed(nights) if night.get("faults")), None),
        changes=list(changes(nights)),
        commands={name: _commands(name, values) for name, values in nights[-1]["baselines"].items()},
    )
    path = folder / PAGE
    write_bytes(path, text.encode("utf-8"))
    return path


def section(baseline: str, nights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The plots of a baseline: those of the end of the run and of what failed, then the others."""
    last = nights[-1]["baselines"][baseline]
    failed = {finding["figure"].removesuffix(LEARNED) for finding in last["findings"]}
    first: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for figure in last["bands"]:
        if figure.endswith(LEARNED):
            continue
        values = [night["baselines"].get(baseline, {}).get("figures", {}).get(figure) for night in nights]
        name, _, part = figure.partition("@")
        at_end = not part or part.split("of")[0] == part.split("of")[1]
        plot = plot_of(figure, values, last["bands"][figure], nights, failed=figure in failed)
        (first if figure in failed or (at_end and "/" not in name) else others).append(plot)
    first.sort(key=lambda plot: not plot["failed"])
    return {"baseline": baseline, "game": last["game"], "frames": last["frames"], "first": first, "others": others}


def plot_of(
    figure: str,
    values: Sequence[float | None],
    band: Sequence[float | None] | None,
    nights: Sequence[Mapping[str, Any]],
    *,
    failed: bool = False,
) -> dict[str, Any]:
    """A figure's small plot, and its newest value in words.

    Args:
        values: a number a night, None where it had none.
        band: [low, high] of the last night, None for an end that there is not.
    """
    bottom, top = (-np.inf, np.inf) if band is None else _limits(band)
    ys = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    ends = [end for end in (bottom, top) if np.isfinite(end)]
    low, high = svg.padded([*ys[np.isfinite(ys)], *ends], share=0.08)
    x = svg.Scale(0, max(len(nights) - 1, 1), EDGE, WIDTH - EDGE)
    y = svg.Scale(low, high, HEIGHT - EDGE, EDGE)
    body = []
    if band is not None:
        across = np.array([0.0, x.high])
        body.append(svg.path(svg.area(across, np.full(2, bottom), np.full(2, top), x, y), "band"))
    for i, (before, night) in enumerate(pairwise(nights), 1):
        if _commit(before) != _commit(night):
            body.append(svg.line(x(i), EDGE, x(i), HEIGHT - EDGE, "change"))
    body.append(svg.path(svg.polyline(np.arange(len(ys), dtype=np.float64), ys, x, y), "curve"))
    for i, value in enumerate(ys):
        if np.isfinite(value):
            out = not bottom <= value <= top
            radius, css = (3, "out") if out else (1.4, "dot")
            body.append(f'<circle cx="{svg.px(x(i))}" cy="{svg.px(y(value))}" r="{radius}" class="{css}"/>')
    newest = values[-1] if values else None
    said = "none" if newest is None else f"{newest:.4g}"
    reach = "" if band is None else f", band {_end(bottom)} to {_end(top)}"
    label = f"{figure}: {said}{reach}"
    return {
        "figure": figure,
        "value": said,
        "reach": reach.removeprefix(", "),
        "failed": failed,
        "svg": Markup(svg.svg(WIDTH, HEIGHT, body, label=label, css="night")),
    }


def changes(nights: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each night that was not as the one before it, the newest first: code, versions, runner, bands, verdict."""
    for before, night in reversed(list(zip([None, *nights], nights, strict=False))):
        said = []
        if before is None:
            said.append(f"the first of these nights, on {night['runner']}")
        else:
            if before["runner"] != night["runner"]:
                said.append(f"runner: {before['runner']} -> {night['runner']}")
            for name, version in night["versions"].items():
                if before["versions"].get(name) != version:
                    said.append(f"{name}: {before['versions'].get(name)} -> {version}")
            for name, values in night["baselines"].items():
                if name not in before["baselines"]:
                    said.append(f"{name} is new")
                elif before["baselines"][name]["bands"] != values["bands"]:
                    said.append(f"bands of {name} were made anew")
        if before is None or _commit(before) != _commit(night):
            said.append(f"code: {_commit(night)[:12]}")
        failed = [finding["line"] for values in night["baselines"].values() for finding in values["findings"]]
        failed += night["slower"]
        if said or failed:
            yield {"at": night["at"], "said": said, "failed": failed}


def _commands(baseline: str, values: Mapping[str, Any]) -> str:
    which = ["--baselines", baseline, "--seed", values["seed"]]
    return f"{command('run', *which)} && {command('check', *which)}"


def _speeds(baseline: str, nights: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Those of the last night's class of runner alone."""
    runner = nights[-1]["runner"]
    return [night["speed"].get(baseline) if night["runner"] == runner else None for night in nights]


def _commit(night: Mapping[str, Any]) -> str:
    return (night.get("revision") or {}).get("commit", "unknown")


def _limits(band: Sequence[float | None]) -> tuple[float, float]:
    low, high = band
    return -np.inf if low is None else low, np.inf if high is None else high


def _end(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "any"
