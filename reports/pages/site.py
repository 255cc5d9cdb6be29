"""The generated site: its files, its figures with their numbers beside them, and the templates that hold the markup."""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from reports import numerals
from reports.errors import ReportsError
from reports.pages.charts import NARROW, WIDE, LineChart, Series
from reports.pages.svg import Values
from reports.summary import csv_text
from results.schema import FIRST_PROTOCOL

PACKAGE = Path(__file__).parent
MARKER = ".hadamax-report"  # tells a folder that a report made from any other, and names the report's files
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db")  # what file managers leave in every folder they show
_NEW, _OLD = "new", "old"  # beside `out`: the report that is being made, and the one that it takes the place of
STATIC = ("report.css", "report.js")


class Site:
    """Takes pages and data files into a folder beside `out`, which `finish` puts in its place.

    Each file is written as it comes, so that a report of ten thousand runs need not lie in memory whole. Left without
    `finish`, nothing of it stays.
    """

    def __init__(self, catalogue_title: str, out: Path, *, protocol: str = FIRST_PROTOCOL):
        """`protocol`: whose report it is.

        Raises ReportsError: `out` is a file, or a folder that holds something else than a report.
        """
        if out.exists() and not out.is_dir():
            raise ReportsError(f"{out} is a file; choose another --out")
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
            raise ReportsError(f"{out} holds files that no report made; choose another --out, or empty it")
        foreign = _foreign(out)
        if foreign is not None:
            raise ReportsError(
                f"{out} holds {foreign}, which no report made, and a new report would delete it; move it away, or "
                "choose another --out"
            )
        self._out = out
        # Named by machine and process: two reports at once must not write into each other's.
        self._staging = out.with_name(f"{_beginning(out, _NEW)}{os.getpid()}")
        self._old = out.with_name(f"{_beginning(out, _OLD)}{os.getpid()}")
        self._folder = ""  # of a part: where it lies below the site's top, with a slash
        self.names: set[str] = set()  # of the files, from the site's top
        self._environment = Environment(
            loader=FileSystemLoader(PACKAGE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "score": numerals.score,
            "frames": numerals.frames,
            "counted": numerals.counted,
            "markdown": markdown,
            "command": command,
            "breakable": breakable,
        }
        self._environment.globals |= {
            "site_title": catalogue_title,
            "site_protocol": protocol,
            "top": "",
            "protocols": (),
        }

    def __enter__(self) -> Self:
        _remove_leftovers(self._out)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if not self._out.exists():
                self._old.rename(self._out)  # `finish` failed with the earlier report out of the way
        for folder in (self._staging, self._old):
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: str, content: str | bytes) -> None:
        """Adds a file; `name` leads to it from the site's top. Raises ReportsError if it cannot be written."""
        name = self._folder + name
        target = self._staging / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        except OSError as error:
            raise self._unwritable(error) from error
        self.names.add(name)

    def page(self, name: str, template: str, view: Mapping[str, Any]) -> None:
        """Adds a page; `root` is what leads from it to the site's top."""
        root = "../" * name.count("/")
        self.add(name, self._environment.get_template(template).render(root=root, page=name, **view))

    def tell_protocols(self, shown: tuple[tuple[str, str], ...]) -> None:
        """Lets pages lead to the reports of other protocols: (protocol, its folder below the site's top)."""
        self._environment.globals["protocols"] = shown

    def part(self, protocol: str) -> Site:
        """The report of another protocol, whole in a folder of this site that has its name."""
        part = copy(self)
        part._folder = f"{protocol}/"
        part._environment = self._environment.overlay()
        part._environment.globals = {**self._environment.globals, "site_protocol": protocol, "top": "../"}
        for name, content in _static().items():
            part.add(name, content)
        return part

    def csv(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        """Adds a CSV below `data/` and gives its path from the site's top."""
        place = f"data/{name}.csv"
        self.add(place, csv_text(header, rows))
        return place

    def line_figure(
        self, name: str, title: str, caption: str, chart: LineChart, *, csv: str, rows: int = 10
    ) -> dict[str, Any]:
        """A chart of curves for the template: both sizes, what the script reads out, and a table of every so many
        points."""
        return {
            "id": name,
            "title": title,
            "caption": caption,
            "wide": Markup(chart.draw(WIDE)),
            "narrow": Markup(chart.draw(NARROW)),
            "names": _names(chart),
            "data": json_script(chart.data()),
            "csv": csv,
            "table": curve_table(chart, rows),
        }

    def finish(self) -> None:
        """Puts the site at `out`, in place of an earlier report there. Raises ReportsError if that fails.

        Each report is renamed as a whole, so that `out` never holds a part of one, wherever this is killed.
        """
        for name, content in _static().items():
            self.add(name, content)
        self.add(MARKER, "\n".join(sorted(self.names)))
        try:
            if self._out.exists():
                self._out.rename(self._old)
            self._staging.rename(self._out)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ReportsError:
        return ReportsError(f"{self._out} cannot be written ({error.strerror}); choose another --out")


def _foreign(out: Path) -> str | None:
    """A file in the report at `out` that it did not make itself, from its top; None for none, or of an older report."""
    marker = out / MARKER
    names = set(marker.read_text(encoding="utf-8").splitlines()) if marker.is_file() else set()
    if not names:
        return None
    for folder, _, files in os.walk(out):
        for file in files:
            name = (Path(folder) / file).relative_to(out).as_posix()
            if name not in names and file not in (MARKER, *_OF_THE_SYSTEM):
                return name
    return None


def _remove_leftovers(out: Path) -> None:
    """Deletes what reports of this machine that were killed left beside `out`."""
    for beginning in (_beginning(out, _NEW), _beginning(out, _OLD)):
        for left in out.parent.glob(f"{glob.escape(beginning)}*") if out.parent.is_dir() else ():
            number = left.name.removeprefix(beginning)
            if number.isdecimal() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
                shutil.rmtree(left, ignore_errors=True)


def _beginning(out: Path, kind: str) -> str:
    return f".{out.name}.{kind}-{platform.node()}-"


def _static() -> dict[str, bytes]:
    return {f"static/{name}": (PACKAGE / "static" / name).read_bytes() for name in STATIC}


def json_script(value: object) -> Markup:
    """JSON that may stand inside a script element."""
    dense = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(dense.replace("<", "\\u003c").replace("\N{LINE SEPARATOR}", " "))


def breakable(name: str) -> Markup:
    """The name of a setting, which a narrow column breaks behind an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def command(text: str) -> Markup:
    """A command that breaks before its options only, where it must break."""
    first, *options = text.split(" --")
    return Markup(" ").join([Markup("{}").format(first), *(Markup("<span>--{}</span>").format(o) for o in options)])


def markdown(text: str) -> Markup:
    """Markdown of ours as HTML: no raw HTML, the first heading left out, the others one level below the page's."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    if tokens and tokens[0].type == "heading_open":
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def curve_table(chart: LineChart, rows: int) -> dict[str, Any]:
    """Every so many points of a chart's curves, for reading without the picture."""
    shown = [series for series in chart.series if series.style != "thin"]
    if not shown:
        return {"x_title": chart.x_title, "columns": [], "rows": [], "has_band": False}
    longest = max((series.x for series in shown), key=lambda points: (float(points[-1]), len(points)))
    step = max(1, len(longest) // rows)
    reach = 0.51 * step * abs(longest[1] - longest[0]) if len(longest) > 1 else np.inf
    table = []
    for point in longest[step - 1 :: step]:
        cells = []
        for series in shown:
            index = int(np.argmin(np.abs(series.x - point)))
            is_near = abs(series.x[index] - point) <= reach and point <= _last_told(series.x)
            cells.append(_cell(series, index, chart.is_percent) if is_near else numerals.number(None))
        table.append({"x": chart.x_text(float(point)), "cells": cells})
    return {
        "x_title": chart.x_title,
        "columns": [series.title for series in shown],
        "rows": table,
        "has_band": any(series.low is not None and not np.isnan(series.low).all() for series in shown),
    }


def _names(chart: LineChart) -> dict[str, Any] | None:
    """The curves' names for a list under the figure, where they do not fit beside it; None where they always do."""
    if chart.has_room_for_labels(NARROW):
        return None
    named = [series for series in chart.series if series.style != "thin"]
    return {
        "always": not chart.has_room_for_labels(WIDE),
        "curves": [{"css": s.css, "label": s.title} for s in named],
    }


def _last_told(points: Values) -> float:
    """Beyond the last of `points` by more than their distance a curve says nothing: the run had ended."""
    return float(points[-1]) + (float(points[-1] - points[-2]) if len(points) > 1 else 0.0)


def _cell(series: Series, index: int, is_percent: bool) -> str:
    def write(value: float) -> str:
        return numerals.percent(float(value), signed=True) if is_percent else numerals.score(float(value))

    value = series.y[index]
    if np.isnan(value):
        return numerals.number(None)
    if series.low is None or series.high is None or np.isnan([series.low[index], series.high[index]]).any():
        return write(value)
    return f"{write(value)} [{write(series.low[index])} to {write(series.high[index])}]"
