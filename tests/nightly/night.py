"""A night: trains every baseline on a small budget, and holds what comes out against bands.

    python tests/nightly/night.py run        train what the plan says, on the night's seed
    python tests/nightly/night.py bench      measure speed as a share of the emulator's
    python tests/nightly/night.py check      judge both; exit code 1 if something left its band
    python tests/nightly/night.py faults     plant faults; exit code 1 if one is not caught
    python tests/nightly/night.py page       the page of the last 90 nights
    python tests/nightly/night.py bands      make the bands anew

Results go to stdout, progress to stderr. docs/nightly.md has what is held, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bands as held
import faults as planting
import page
import speed
from figures import PLAN_FILE, NightError, Plan, command, figures_of, read_plan
from training import Job, train

from results.atomic import write_bytes
from results.errors import ResultsError
from results.manifest import read_manifest

BENCH_GAME, BENCH_REPEATS = "Breakout", 3
SPEED_FILE, FAULTS_FILE = "speed.json", "faults.json"


def run(arguments: argparse.Namespace, plan: Plan) -> int:
    seed = plan.night_seed if arguments.seed is None else arguments.seed
    jobs = [Job(entry, seed, arguments.out / "runs") for entry in plan.chosen(arguments.baselines)]
    for job in jobs:  # a finished one would be skipped, though the code may have changed since
        shutil.rmtree(job.directory, ignore_errors=True)
    train(jobs, at_once=arguments.jobs, tell=_tell)
    return 0


def bench(arguments: argparse.Namespace, plan: Plan) -> int:
    from suite.bench import busy_percent

    if (busy := busy_percent()) > 10:
        _tell(f"other processes use {busy:.0f} % of this machine; what is measured now is worth little")
    names = [entry.baseline for entry in plan.chosen(arguments.baselines)]
    ratios = speed.measure(names, game=BENCH_GAME, threads=arguments.jobs, repeats=BENCH_REPEATS, tell=_tell)
    _write(arguments.out / SPEED_FILE, ratios)
    for name, ratio in ratios.items():
        print(f"{name}: {held.number(ratio)} of the emulator's speed")
    return 0


def check(arguments: argparse.Namespace, plan: Plan) -> int:
    seed = plan.night_seed if arguments.seed is None else arguments.seed
    made, results = held.read_bands(arguments.bands), arguments.out / "runs"
    judged: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] = {}
    errors: list[NightError] = []
    for entry in plan.chosen(arguments.baselines):
        bands = held.bands_of(entry, made)
        directory = Job(entry, seed, results).directory
        findings: list[held.Finding | held.Lost]
        try:
            figures = figures_of(directory, entry)
        except NightError as error:  # its training failed: the others are judged all the same
            errors.append(error)
            figures, findings = {}, [held.Lost(entry.baseline, str(error))]
        else:
            manifest, findings = read_manifest(directory), [*held.outside(entry, bands, figures)]
        judged[entry.baseline] = {
            "game": entry.game,
            "frames": entry.frames,
            "seed": seed,
            "figures": figures,
            "bands": {name: band.ends for name, band in bands.items()},
            "findings": [{"figure": finding.figure, "line": str(finding)} for finding in findings],
        }
    if not manifest:
        raise errors[0]
    for name, values in judged.items():
        _print_judged(name, values["findings"], len(values["bands"]), seed)
    runner = speed.runner_class({**manifest["hardware"], "torch": manifest["versions"]["torch"]})
    ratios = {name: ratio for name, ratio in _read(arguments.out / SPEED_FILE, {}).items() if name in judged}
    before = [] if arguments.nights is None else page.read_nights(arguments.nights)
    slower, unjudged = speed.slower(ratios, runner, before)
    for line in slower:
        print(f"FAILED  {line}\n        measure again: {command('bench', '--baselines', line.baseline)}")
    if unjudged:
        print(f"speed of {', '.join(unjudged)}: fewer than {speed.LEAST_NIGHTS} nights on such a runner, not judged")
    passed = not slower and not any(values["findings"] for values in judged.values())
    if arguments.nights is not None:
        at = datetime.now(UTC)
        night = {
            "at": at.isoformat(timespec="minutes"),
            "revision": manifest["revision"],
            "runner": runner,
            "versions": manifest["versions"],
            "passed": passed,
            "baselines": judged,
            "speed": ratios,
            "slower": [str(line) for line in slower],
            "faults": _read(arguments.out / FAULTS_FILE, None),
        }
        _write(arguments.nights / f"{at:%Y-%m-%dT%H%M%S}.json", night)
    print("the night passed" if passed else "the night failed")
    return 0 if passed else 1


def faults(arguments: argparse.Namespace, plan: Plan) -> int:
    chosen = planting.chosen(arguments.only)
    made, jobs = held.read_bands(arguments.bands), {}
    for baseline in {fault.baseline for fault in chosen}:
        held.bands_of(plan.entries[baseline], made)  # or an error now rather than after the training
    for fault in chosen:
        source = arguments.out / "faults" / fault.name
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        planting.plant(fault, source)
        entry = plan.entries[fault.baseline]
        jobs[fault] = Job(entry, plan.night_seed, (source / "runs").resolve(), source.resolve(), fault.parts)
    train(list(jobs.values()), at_once=arguments.jobs, tell=_tell)
    found = {}
    for fault, job in jobs.items():
        figures, bands = figures_of(job.directory, job.entry), held.bands_of(job.entry, made)
        findings = held.outside(job.entry, bands, figures, early=fault.parts < job.entry.parts)
        found[fault.name] = {"what": fault.what, "lines": [str(finding) for finding in findings]}
        print(f"{'caught' if findings else 'MISSED'}  {fault.name}: {len(findings)} of {len(bands)} figures outside")
        for finding in findings[: arguments.lines]:
            print(f"        {finding}")
    _write(arguments.out / FAULTS_FILE, _read(arguments.out / FAULTS_FILE, {}) | found)
    return 0 if all(entry["lines"] for entry in found.values()) else 1


def bands(arguments: argparse.Namespace, plan: Plan) -> int:
    entries = plan.chosen(arguments.baselines)
    jobs = {entry: [Job(entry, seed, arguments.out / "runs") for seed in plan.band_seeds] for entry in entries}
    lacking = [job for of_entry in jobs.values() for job in of_entry if not _is_done(job)]
    if lacking:
        train(lacking, at_once=arguments.jobs, tell=_tell)
    made = _read(arguments.bands, {"baselines": {}}) | {"rule": held.RULE}
    for entry, of_entry in jobs.items():
        figures = [figures_of(job.directory, entry) for job in of_entry]
        manifests = [read_manifest(job.directory) for job in of_entry]
        made["baselines"][entry.baseline] = {
            "game": entry.game,
            "frames": entry.frames,
            "parts": entry.parts,
            "seeds": list(plan.band_seeds),
            "config_hash": manifests[0]["spec"]["config_hash"],
            "revisions": sorted({(manifest["revision"] or {}).get("commit", "none") for manifest in manifests}),
            "torch": sorted({manifest["versions"]["torch"] for manifest in manifests}),
            "processors": sorted({manifest["hardware"]["cpu"] for manifest in manifests}),
            "figures": held.by_figure(figures),
        }
        misses = held.left_out(entry, figures)
        count = sum(map(len, misses))
        print(f"{entry.baseline}: {len(held.by_figure(figures))} figures, {len(figures)} seeds; with one seed left out")
        print(f"        {count} of {len(figures) * len(held.by_figure(figures))} would lie outside")
        for finding in [finding for of_seed in misses for finding in of_seed][: arguments.lines]:
            print(f"        {finding}")
    _write(arguments.bands, made)
    return 0


def build_page(arguments: argparse.Namespace, plan: Plan) -> int:
    print(page.build(arguments.nights))
    return 0


def _is_done(job: Job) -> bool:
    """Whether the run is there, whole: `bands` that was stopped goes on with what it has."""
    try:
        return read_manifest(job.directory)["status"] == "done" and bool(figures_of(job.directory, job.entry))
    except (NightError, ResultsError):
        shutil.rmtree(job.directory, ignore_errors=True)
        return False


def _print_judged(baseline: str, findings: Sequence[Mapping[str, str]], count: int, seed: int) -> None:
    if not findings:
        print(f"ok      {baseline}: {count} figures within their bands")
        return
    for finding in findings:
        print(f"FAILED  {finding['line']}")
    which = ["--baselines", baseline, "--seed", seed]
    print(f"        at home: {command('run', *which)} && {command('check', *which)}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(values, indent=1) + "\n").encode("utf-8"))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function in (
        ("run", run),
        ("bench", bench),
        ("check", check),
        ("faults", faults),
        ("page", build_page),
        ("bands", bands),
    ):
        verb = verbs.add_parser(name)
        verb.set_defaults(function=function)
        verb.add_argument("--plan", type=Path, default=PLAN_FILE, metavar="FILE", help="default: %(default)s")
        verb.add_argument("--bands", type=Path, default=held.BANDS_FILE, metavar="FILE", help="default: %(default)s")
        verb.add_argument("--out", type=Path, default=Path("nightly"), metavar="DIR", help="default: nightly")
        if name in ("check", "page"):
            default = Path("nights") if name == "page" else None
            verb.add_argument("--nights", type=Path, default=default, metavar="DIR", help="history, a file a night")
        if name in ("run", "bench", "check", "bands"):
            verb.add_argument("--baselines", metavar="LIST", help="of those planned (default: all)")
        if name in ("run", "check"):
            verb.add_argument("--seed", type=int, metavar="N", help="default: the plan's")
        if name in ("run", "bench", "faults", "bands"):
            cores = os.cpu_count() or 1
            verb.add_argument("--jobs", type=int, default=cores, metavar="N", help="runs at once (default: cores)")
        if name in ("faults", "bands"):
            verb.add_argument(
                "--lines", type=int, default=5, metavar="N", help="findings to print (default: 5 of each)"
            )
        if name == "faults":
            verb.add_argument("--only", metavar="LIST", help="names of faults (default: all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.function(arguments, read_plan(arguments.plan))
    except (NightError, ResultsError, OSError) as error:
        print(f"night: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
