"""What `results/README.md` says of the runs, against their manifests."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from reports.judging.claims_file import find_claim, load_claims
from reports.judging.evidence import load
from reports.judging.judge import judge
from reports.judging.timing import timing_of
from reports.numerals import MINUS, number
from reports.statistics.bootstrap import LINEAR, Interval
from results.schema import FIRST_PROTOCOL, format_frames
from results.store import read_episodes
from suite.catalogue import catalogue

RESULTS = Path(__file__).parents[2] / "results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\w/-]+), (\w+), ([\d.]+)([kM]) frames \| ([^|]+) \|", README, re.MULTILINE)
WORDS = (
    *("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
    *("Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen", "Eighteen", "Nineteen", "Twenty"),
)


def manifests(row: tuple[str, ...]) -> list[dict[str, Any]]:
    """Those of the row's scores, in the order of the seeds."""
    baseline, game, count, unit, scores = row
    frames = format_frames(round(float(count) * {"k": 1e3, "M": 1e6}[unit]))
    folders = [RESULTS / "runs" / baseline / game / frames / f"seed-{n}" for n in range(len(scores.split(", ")))]
    return [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in folders]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ", ".join(row[:3]))
def test_a_row_has_the_scores_of_its_runs_as_a_page_rounds_them(row: tuple[str, ...]) -> None:
    for text, manifest in zip(row[4].split(", "), manifests(row), strict=True):
        digits = len(text.partition(".")[2])
        assert text == number(manifest["score"]["train"]["mean"], digits).replace(MINUS, "-")


def test_it_counts_the_runs_that_were_stopped_and_those_on_the_plain_path() -> None:
    assert len(ROWS) == README.count(" frames | ")
    found = [manifest for row in ROWS for manifest in manifests(row)]
    stopped = sum(bool(manifest["interruptions"]) for manifest in found)
    assert f"{WORDS[stopped]} runs were stopped and resumed." in README
    plain = sorted(manifest["spec"]["game"] for manifest in found if manifest["path"] == "plain")
    assert f"{WORDS[len(plain)]} runs of pqn-bf16 (seed 0 of" in README
    assert plain == ["BattleZone", "DoubleDunk", "Phoenix", "Qbert"]


def test_the_documentations_example_of_a_mean_that_one_game_lifts() -> None:
    episodes = read_episodes(RESULTS / "runs/pqn-bf16/Breakout/4M/seed-0")
    last = episodes[episodes["kind"] == "train"]["episode_return"].tail(100).sort_values()
    lone, others, mean = last.iloc[-1], last.iloc[:-1].mean(), last.mean()
    assert (last > 100).sum() == 1
    text = " ".join((RESULTS.parent / "docs/reports.md").read_text(encoding="utf-8").split())
    expected = f"one game of {lone:.0f} lifts a run of PQN in bf16 on Breakout from {number(others, 1)}, the mean"
    assert f"{expected} of the other 99, to {number(mean, 1)}." in text


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("PQN", "pqn"),
        ("PQN in bf16", "pqn-bf16"),
        ("Hadamax-PQN", "hadamax-pqn"),
        ("Hadamax-PQN in bf16", "hadamax-pqn-bf16"),
    ],
)
def test_the_repositorys_readme_has_the_speeds_of_these_runs(title: str, name: str) -> None:
    """Within 2 %: a run more moves the median a little. A baseline's page has it to the digit."""
    readme = (RESULTS.parent / "README.md").read_text(encoding="utf-8")
    (cells,) = re.findall(rf"^\| {title} \| ([\d,]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", readme, re.MULTILINE)
    files = (RESULTS / "runs" / name).glob("*/*/seed-*/manifest.json")
    timings = [timing_of(json.loads(file.read_text(encoding="utf-8")))[0] for file in files]
    seconds = [
        found.seconds_per_frame
        for found in timings
        if found and found.where == "AMD EPYC (AVX512 avx512_bf16), 2 cores, 1 thread, processor time, fast path"
    ]
    assert int(cells[0].replace(",", "")) == pytest.approx(1 / median(seconds), rel=0.02)
    units = {"min": 60, "h": 3600, "days": 86400}
    for text, frames in zip(cells[1:], (4e6, 40e6, 200e6), strict=True):
        told = sum(float(count) * units[unit] for count, unit in re.findall(r"([\d.]+) (\w+)", text))
        assert told == pytest.approx(frames * median(seconds), rel=0.04)


def test_documents_have_the_suites_own_answer_and_what_it_would_be_on_another_scale() -> None:
    """The scale of gains was changed when 22 of its runs were there, and the verdict follows from it."""
    known = catalogue(FIRST_PROTOCOL)
    claim, evidence = find_claim(load_claims(), "one-million"), load(RESULTS / "runs", known)
    as_if = replace(claim, kind=replace(claim.kind, scale=LINEAR))
    found, other = judge(claim, evidence, known), judge(as_if, evidence, known)
    assert (found.verdict, other.verdict) == ("ahead", "inconclusive")
    assert found.estimate is not None
    assert other.estimate is not None
    answer, on_its_own = found.estimate.parts["median"], other.estimate.parts
    readme, reports = (
        " ".join((RESULTS.parent / name).read_text(encoding="utf-8").split())
        for name in ("README.md", "docs/reports.md")
    )
    assert f"score is {100 * answer.estimate:.0f} % above PQN's (95 % interval {in_percent(answer)};" in readme
    assert f"by {100 * answer.estimate:.0f} % in the median, with a 95 % interval of {in_percent(answer)};" in readme
    assert (
        f"the gain of the median would have the interval {in_percent(on_its_own['median'])}, that of the IQM "
        f"{in_percent(on_its_own['iqm'])}, and the question would be open."
    ) in reports


def in_percent(interval: Interval) -> str:
    return f"{100 * interval.low:+.0f} to {100 * interval.high:+.0f} %"
