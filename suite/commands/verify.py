"""Recomputes what every run's manifest says of it: checksums, scores, budgets, the config hash."""

from __future__ import annotations

import argparse
import json

from suite import arguments, display, flags

NAME = "verify"
SUMMARY = "recompute the checks of every run"
EXAMPLES = """\
  python -m suite verify
  python -m suite verify --results other/runs --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_results(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    from results.verify import verify

    checked = verify(arguments.results_folder(parsed.results))
    bad = [(found, problems) for found, problems in checked if problems]
    if parsed.json:
        rows = [{"directory": str(found.directory), "problems": problems} for found, problems in checked]
        print(json.dumps({"runs": rows, "sound": len(checked) - len(bad), "unsound": len(bad)}, indent=2))
        return 1 if bad else 0
    for found, problems in bad:
        print(found.directory)
        for problem in problems:
            print(f"  {problem}")
    print(f"{display.plural(len(checked), 'run')} checked, {len(checked) - len(bad)} sound, {len(bad)} not")
    return 1 if bad else 0
