"""What `suite bench --json` wrote, as tables in Markdown: of one measurement, or of two side by side."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.processors import processor
from suite import display
from suite.errors import UserError

_PARTS = ("waiting for emulation", "acting", "sampling", "learning", "the rest")


def read(path: Path) -> dict[str, Any]:
    """A measurement from its file. Raises UserError, naming the file, if it is none."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        rows = facts["rows"]
        wanted = {"baseline", "label", "agent_steps_per_second", "slowest", "fastest", "time_shares", "runs_at_once"}
        if not isinstance(rows, list) or not all(wanted <= row.keys() for row in rows):
            raise KeyError("rows")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no measurement; make one with: python -m suite bench --json > bench.json"
        ) from error
    return facts


def tables(facts: Mapping[str, Any]) -> str:
    """The speeds of every baseline and path, then where the time of the fast loop goes; agent steps a second."""
    emulator = "; ".join(
        f"{display.count(statistics.median(speeds))} ({display.count(min(speeds))} to {display.count(max(speeds))}) "
        f"with {environments} environments"
        for environments, speeds in facts["emulator"].items()
    )
    speeds = _table(
        ("baseline", "path"),
        (
            *("whole loop", "lowest, highest", "acting alone", "learning alone"),
            *("of envpool alone", "of learning alone"),
            *("times plain", "times one environment", "times one run", "CPU ms a step", "peak memory"),
        ),
        [_speed_row(row) for row in facts["rows"]],
    )
    shares = _table(
        ("baseline",),
        _PARTS,
        [
            [row["baseline"], *(_or_nothing(display.percent, row["time_shares"].get(part)) for part in _PARTS)]
            for row in facts["rows"]
            if row["label"] == "fast"
        ],
    )
    return f"envpool alone, random actions: {emulator}.\n\n{speeds}\n\nWhere the time goes, one fast run:\n\n{shares}"


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Speeds that both measured, and their ratio. They are of two runs of `bench`, perhaps of two machines."""
    earlier = {(row["baseline"], row["label"]): row for row in before["rows"]}
    lines = []
    for row in after["rows"]:
        old = earlier.get((row["baseline"], row["label"]))
        if old is None:
            continue
        ratio = row["agent_steps_per_second"] / old["agent_steps_per_second"]
        overlap = old["slowest"] <= row["fastest"] and row["slowest"] <= old["fastest"]
        lines.append(
            [row["baseline"], row["label"], _range(old), _range(row), f"{ratio:.2f}", "yes" if overlap else ""]
        )
    if not lines:
        raise UserError("the two measurements have no baseline and path in common")
    header = ("baseline", "path"), ("before (lowest, highest)", "after (lowest, highest)", "ratio", "ranges overlap")
    return _table(*header, lines)


def machine(facts: Mapping[str, Any]) -> str:
    """What was measured on, in one line."""
    hardware, versions = facts["hardware"], facts["versions"]
    return (
        f"{hardware['gpu'] or processor(hardware)}, {display.plural(hardware['cores'], 'core')}, "
        f"{hardware['torch_threads']} threads; {facts['game']}; "
        f"torch {versions['torch']}, envpool {versions['envpool']}"
    )


def _speed_row(row: Mapping[str, Any]) -> list[str]:
    mark = "~" if row.get("is_worthless") else ""
    cpu = row.get("cpu_seconds_per_agent_step")
    return [
        row["baseline"],
        row["label"],
        mark + display.count(row["agent_steps_per_second"]),
        f"{display.count(row['slowest'])}, {display.count(row['fastest'])}",
        _or_nothing(display.count, row["acting_alone"]),
        _or_nothing(display.count, row["learning_alone"]),
        display.percent(row["share_of_emulator"]),
        _or_nothing(display.percent, row["share_of_learning_alone"]),
        *(_or_nothing("{:.2f}".format, row[key]) for key in ("over_plain", "over_one_environment")),
        _or_nothing("{:.2f}".format, row["over_one_run"] if row["runs_at_once"] > 1 else None),
        "" if cpu is None else f"{1000 * cpu:.2f}",
        display.size(row["peak_bytes"]),
    ]


def _range(row: Mapping[str, Any]) -> str:
    speeds = (row[key] for key in ("agent_steps_per_second", "slowest", "fastest"))
    median, slowest, fastest = map(display.count, speeds)
    return f"{median} ({slowest}, {fastest})"


def _or_nothing(spell: Callable[[float], str], value: float | None) -> str:
    return "" if value is None else spell(value)


def _table(left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`left` columns hold text or are read first; `right` ones are aligned to the right."""
    rule = ["---"] * len(left) + ["---:"] * len(right)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in ([*left, *right], rule, *rows))
