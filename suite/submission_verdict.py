"""What came of a bundle, in words: a table on the terminal, Markdown for a pull request, plain data for scripts.

Whatever the submitter wrote is escaped: a name is a name, never markup.
"""

from __future__ import annotations

import html
import re
from typing import Any

from results.credits import cite_link
from suite import display
from suite.submission_checks import CHECKS, Examined, Verdict


def as_table(examined: Examined) -> str:
    """The runs, a line each, and under them why some are refused."""
    rows = [[v.title, f"{len(v.passed)} of {len(CHECKS)}", _games(v), v.word] for v in examined.verdicts]
    lines = [display.table(["run", "checks", "games played again", "verdict"], rows)]
    # A problem can quote what a stranger wrote.
    lines += [display.one_line(f"refused: {v.title}: {problem}") for v in examined.refused for problem in v.problems]
    return "\n".join(lines)


def as_markdown(examined: Examined) -> str:
    """The verdict for a pull request."""
    submission = examined.submission
    refused = len(examined.refused)
    head = (
        f"Refused: {refused} of {display.plural(len(examined.verdicts), 'run')}"
        if refused
        else f"Sound: {display.plural(len(examined.verdicts), 'run')}"
    )
    link = cite_link(submission.cite)
    lines = [
        f"## {_plain(head)}",
        "",
        f"- Bundle: `{_code(examined.file)}`, SHA-256 `{examined.sha256}`",
        f"- By: {_plain(submission.name)}, {_plain(submission.link)} (as the bundle says; is it who sends it?)",
        f"- Licence: {_plain(submission.licence)}. Cite: {_plain(link or submission.cite)}",
        "",
        f"| run | checks ({_plain(', '.join(CHECKS))}) | games played again | verdict |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_plain(v.title)} | {len(v.passed)} of {len(CHECKS)} | {_plain(_games(v))} | {v.word} |"
        for v in examined.verdicts
    ]
    if refused:
        lines += ["", "Why:", ""]
        lines += [f"- {_plain(v.title)}: {_plain(problem)}" for v in examined.refused for problem in v.problems]
    lines += ["", f"{_drawn(examined)} What that proves, and what not: docs/submit.md."]
    return "\n".join(lines)


def refused_whole(file: str, reason: str) -> str:
    """Markdown of a bundle that could not be taken apart."""
    return f"## Refused: the whole bundle\n\n- Bundle: `{_code(file)}`\n- Why: {_plain(reason)}"


def as_data(examined: Examined) -> dict[str, Any]:
    """Plain data, as `--json` prints it."""
    submission = examined.submission
    return {
        "file": examined.file,
        "sha256": examined.sha256,
        "by": {"name": submission.name, "link": submission.link},
        "licence": submission.licence,
        "cite": submission.cite,
        "runs": [
            {
                "run": verdict.place,
                "verdict": verdict.word,
                "problems": verdict.problems,
                "checks_passed": verdict.passed,
                "games": verdict.replayed.games if verdict.replayed else None,
                "games_replayed": verdict.replayed.games_agreed if verdict.replayed else 0,
                "environments_replayed": list(verdict.replayed.agreed) if verdict.replayed else [],
                "escape_probability": verdict.replayed.escape_probability if verdict.replayed else None,
            }
            for verdict in examined.verdicts
        ],
        "refused": len(examined.refused),
    }


def _games(verdict: Verdict) -> str:
    if verdict.replayed is None:
        return "-"
    return f"{display.count(verdict.replayed.games_agreed)} of {display.count(verdict.replayed.games)}"


def _drawn(examined: Examined) -> str:
    if examined.sample.games is None:
        return "Every game whose actions are kept was played again."
    salt = examined.sample.salt
    return "The sample follows from the bundle's hash" + (f" and the salt {_plain(salt)}." if salt else " alone.")


def _plain(text: str) -> str:
    """`text` as Markdown that shows it: no HTML, no links, no emphasis, no table cells."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", html.escape(display.one_line(text), quote=False))


def _code(text: str) -> str:
    """`text` for the inside of backticks."""
    return re.sub(r"[`|<>]", "?", display.one_line(text))
