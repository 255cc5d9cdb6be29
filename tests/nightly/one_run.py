"""One run of the night in a process of its own: trains, or goes on, and leaves the run and its probe.json.

    python tests/nightly/one_run.py SOURCE BASELINE GAME FRAMES SEED STOP_AT RESULTS

SOURCE is the folder whose suite is to be trained: this checkout, or a copy with a planted fault. The run stops with the
first update that reaches STOP_AT frames.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from probe import Probe

import baselines
import suite
from baselines.registry import load_pinned
from results.manifest import read_manifest
from results.store import run_directory
from suite.protocol import load_protocol, run_spec
from suite.run import execute
from suite.run_messages import RunOptions, RunStatus

PROBE_FILE = "probe.json"


def main(source: str, baseline: str, game: str, frames: str, seed: str, stop_at: str, results: str) -> int:
    for package in (suite, baselines):
        if not Path(str(package.__file__)).resolve().is_relative_to(Path(source).resolve()):
            print(f"{package.__name__} comes from {package.__file__}, not from {source}", file=sys.stderr)
            return 2
    spec = run_spec(load_pinned(baseline), load_protocol("paper"), game=game, frames=int(frames), seed=int(seed))
    reached = 0.0
    probe = Probe()
    probe.attach()

    def report(status: RunStatus) -> None:
        nonlocal reached
        reached = status.frames

    outcome = execute(
        spec,
        results=Path(results),
        # One thread: sums do not depend on how many cores a machine has. No checkpoint but the last: a night that was
        # killed begins anew, so that the probe has seen all of it.
        options=RunOptions("cpu", threads=1, emulator_threads=1, jobs=os.cpu_count() or 1, checkpoint_seconds=1e9),
        report=report,
        stop_requested=lambda: reached >= int(stop_at),
    )
    directory = run_directory(Path(results), spec)
    if outcome != "skipped":
        probe.finish(directory, read_manifest(directory))
        found = {"series": probe.series, "whole": probe.whole}
        (directory / PROBE_FILE).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
