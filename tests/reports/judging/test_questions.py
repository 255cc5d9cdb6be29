"""What the suite asks of its own: equivalence, costs on one kind of device, and ranks over enough observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from made_up_runs import HARDWARE, LAYERS, make_catalogue, write_run

from baselines import c51, pqn, rainbow
from reports.errors import ReportsError
from reports.judging.claims_file import BUILT_IN, find_claim, load_claims
from reports.judging.evidence import load
from reports.judging.judge import Judgement, judge
from reports.judging.missing import missing_runs
from reports.judging.run_figures import OBSERVATIONS, ranks_by_sample
from reports.judging.verdicts import alike_verdict, higher_verdict
from reports.pages.claims_table import claims_table
from reports.statistics.bootstrap import Interval
from reports.summary import Report
from reports.wording import devices, more_seeds, sentence
from results.games import ATARI5

NAMES = ("pqn", "hadamax-pqn", "c51", "hadamax-c51", "pqn-bf16", "hadamax-pqn-bf16")
CATALOGUE = make_catalogue(NAMES)
GPU = {**HARDWARE, "device": "cuda", "gpu": "Made-up GPU"}
MARGIN = (-0.2, 0.25)


def judged(root: Path, name: str) -> Judgement:
    return judge(find_claim(load_claims(), name), load(root, CATALOGUE), CATALOGUE, repetitions=300)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, 0.1, "alike"),
        (-0.2, 0.25, "alike"),
        (-0.3, 0.1, "inconclusive"),  # no difference was found, which is not enough
        (0.05, 0.1, "alike"),  # a difference, and one too small to matter
        (0.2, 0.4, "inconclusive"),
        (0.25, 0.4, "inconclusive"),  # the edge is within
        (-0.4, -0.2, "inconclusive"),
        (0.3, 0.5, "different"),
        (-0.5, -0.3, "different"),
        (None, 0.1, "inconclusive"),  # an open end lies beyond every margin
        (0.1, None, "inconclusive"),
        (None, None, "inconclusive"),
    ],
)
def test_alike_asks_that_the_whole_interval_lies_within_the_margin(
    low: float | None, high: float | None, verdict: str
) -> None:
    assert alike_verdict(Interval(0.0, low, high), MARGIN) == verdict


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, "alike"), (1.6, "different")])
def test_bf16_is_judged_alike_or_different_on_three_seeds(tmp_path: Path, ratio: float, verdict: str) -> None:
    for seed in range(3):
        write_run(tmp_path, "pqn", "Breakout", 4_000_000, seed, 1.0 + 0.01 * seed, metric_rows=2)
        write_run(tmp_path, "pqn-bf16", "Breakout", 4_000_000, seed, ratio * (1.0 + 0.01 * seed), metric_rows=2)
    found = judged(tmp_path, "bf16-alike")
    assert found.verdict == verdict
    assert "margin (within \N{MINUS SIGN}20" in sentence(found, CATALOGUE)


def test_a_difference_in_rank_that_is_too_small_is_not_reproduced() -> None:
    assert higher_verdict([Interval(8.0, 6.0, 9.0)], least=5.0) == "reproduced"
    assert higher_verdict([Interval(6.0, 4.0, 9.0)], least=5.0) == "inconclusive"
    assert higher_verdict([Interval(-6.0, -9.0, -4.0)], least=5.0) == "not reproduced"


def write_ranked_runs(root: Path, frames: int, measure: str, **ranks: float) -> None:
    for game in find_claim(load_claims(), "rank").games:
        for seed in range(3):
            for name, rank in ranks.items():
                found = {f"{measure}/{layer}": rank + seed for layer in LAYERS}
                write_run(root, name.replace("_", "-"), game, frames, seed, 1.0, diagnostics=found, games=100)


def test_ranks_over_256_observations_settle_nothing_and_the_runs_are_asked_for_again(tmp_path: Path) -> None:
    write_ranked_runs(tmp_path, 40_000_000, "effective_rank", pqn=200.0, hadamax_pqn=200.0)
    found = judged(tmp_path, "rank")
    assert found.verdict == "insufficient evidence"
    assert not found.missing.has_coarse
    assert (found.missing.there, found.missing.needed) == (0, 60)
    assert found.basis is not None
    assert not found.basis.has_off_protocol
    said = "Preliminary, with ranks over 256 observations, and not 2,048, from Atari-10"
    assert said in sentence(found, CATALOGUE)
    assert {run.seed for run in found.missing.runs} == {3, 4, 5}  # the other folders are taken


def test_ranks_over_2048_observations_settle_the_claim(tmp_path: Path) -> None:
    write_ranked_runs(tmp_path, 40_000_000, "effective_rank_2048", pqn=300.0, hadamax_pqn=340.0)
    found = judged(tmp_path, "rank")
    assert found.verdict == "reproduced"
    assert found.interval.estimate == pytest.approx(40.0, abs=0.5)


def write_one_seed(root: Path, measure: str, seed: int, **ranks: float) -> None:
    for name, rank in ranks.items():
        found = {f"{measure}/{layer}": rank for layer in LAYERS}
        write_run(root, name.replace("_", "-"), "Qbert", 4_000_000, seed, 1.0, diagnostics=found, games=100)


def test_a_first_estimate_never_mixes_ranks_over_different_numbers_of_observations(tmp_path: Path) -> None:
    write_one_seed(tmp_path, "effective_rank", 0, pqn=200.0, hadamax_pqn=210.0)
    write_one_seed(tmp_path, "effective_rank_2048", 1, hadamax_pqn=900.0)
    found = judged(tmp_path, "rank")
    assert found.basis is not None
    assert found.basis.runs == 2
    assert found.interval.estimate == pytest.approx(10.0)
    write_one_seed(tmp_path, "effective_rank_2048", 1, pqn=860.0)
    found = judged(tmp_path, "rank")
    assert found.interval.estimate == pytest.approx(40.0)


def test_nor_does_a_verdict_on_a_claim_that_takes_ranks_over_any_number(tmp_path: Path) -> None:
    """256 against 2,048 observations are two ceilings: it was "reproduced", by a difference of 700."""
    rank = find_claim(load_claims(), "rank")
    claim = replace(rank, games=("Qbert",), frames=4_000_000, least=None, observations=None)
    for seed in range(3):
        write_one_seed(tmp_path, "effective_rank", seed, pqn=200.0 + seed)
        write_one_seed(tmp_path, "effective_rank_2048", seed, hadamax_pqn=900.0 + 2 * seed)
    found = judge(claim, load(tmp_path, CATALOGUE), CATALOGUE, repetitions=300)
    assert (found.verdict, found.basis) == ("insufficient evidence", None)
    assert {(run.baseline, run.seed) for run in found.missing.runs} == {("pqn", seed) for seed in (3, 4, 5)}
    for seed in (3, 4, 5):
        write_one_seed(tmp_path, "effective_rank_2048", seed, pqn=850.0 + seed)
    found = judge(claim, load(tmp_path, CATALOGUE), CATALOGUE, repetitions=300)
    assert found.verdict == "reproduced"
    assert found.interval.estimate == pytest.approx(902 - 854)
    assert found.missing.runs == ()


def test_the_largest_sample_that_every_layer_has_is_taken() -> None:
    def rows(value: float) -> tuple[np.ndarray, np.ndarray]:
        return np.array([1]), np.array([value])

    metrics = {"loss": rows(1.0), "effective_rank/conv1": rows(9.0), "effective_rank/conv2": rows(8.0)}
    metrics |= {"effective_rank_2048/conv1": rows(90.0)}
    assert list(ranks_by_sample(metrics)) == [256]
    metrics |= {"effective_rank_2048/conv2": rows(80.0)}
    found = ranks_by_sample(metrics)
    assert {size: {layer: float(at[1][0]) for layer, at in of.items()} for size, of in found.items()} == {
        256: {"conv1": 9.0, "conv2": 8.0},
        2048: {"conv1": 90.0, "conv2": 80.0},
    }


def test_a_budget_without_ranks_over_so_many_observations_offers_no_command(tmp_path: Path) -> None:
    file = tmp_path / "claims.toml"
    text = BUILT_IN.read_text("utf-8")
    claim = text[text.index('id = "rank"') :].split("[[claim]]")[0]
    claim = claim.replace('id = "rank"', 'id = "short"').replace('frames = "40M"', 'frames = "400k"')
    file.write_text("[[claim]]\n" + claim, "utf-8")
    found = judge(
        find_claim(load_claims(file), "short"), load(tmp_path / "none", CATALOGUE), CATALOGUE, repetitions=300
    )
    assert found.missing.has_coarse
    assert (found.missing.runs, found.missing.next_command, found.missing.there) == ((), "", 0)
    said = sentence(found, CATALOGUE)
    assert "needs ranks over 2,048 observations. Runs of this budget take them over 256" in said
    with pytest.raises(ReportsError, match=r"needs ranks over 2,048 observations.* no run settles it"):
        missing_runs("short", results=tmp_path / "none", catalogue=CATALOGUE, claims_file=file)


def test_what_reports_take_for_the_number_of_observations_is_what_baselines_use() -> None:
    assert {module.DIAGNOSTIC_BATCH for module in (pqn, c51, rainbow)} == {OBSERVATIONS}


def timed(root: Path, name: str, speed: float, game: str = "Pong", **options: object) -> None:
    for seed in range(3):
        write_run(root, name, game, 4_000_000, seed, 0.5, frames_per_second=speed, metric_rows=2, **options)


def test_costs_on_a_cpu_and_on_a_gpu_are_two_answers(tmp_path: Path) -> None:
    timed(tmp_path, "pqn", 9000.0)
    timed(tmp_path, "hadamax-pqn", 1000.0)
    timed(tmp_path, "pqn", 90_000.0, "Alien", hardware=GPU)
    timed(tmp_path, "hadamax-pqn", 40_000.0, "Alien", hardware=GPU)
    on_gpu, on_cpu = judged(tmp_path, "cost"), judged(tmp_path, "cost-cpu")
    assert on_gpu.interval.estimate == pytest.approx(2.25, rel=0.05)
    assert on_cpu.interval.estimate == pytest.approx(9.0, rel=0.05)
    assert (on_gpu.verdict, on_cpu.verdict) == ("reproduced", "not reproduced")


def test_sides_that_trained_on_unlike_devices_are_told(tmp_path: Path) -> None:
    for seed, hardware in enumerate((HARDWARE, GPU)):
        write_run(tmp_path, "pqn", "Breakout", 4_000_000, seed, 1.0, hardware=hardware)
        write_run(tmp_path, "pqn-bf16", "Breakout", 4_000_000, seed, 1.0, hardware=GPU)
    found = judged(tmp_path, "bf16-alike")
    assert "pqn-bf16 trained on a GPU and PQN trained on GPUs and CPUs." in devices(found, CATALOGUE)
    assert judged(tmp_path, "cost-cpu").basis is None
    assert devices(judged(tmp_path, "cost-cpu"), CATALOGUE) == ""


def test_sides_that_trained_on_like_devices_need_no_word(tmp_path: Path) -> None:
    for name in ("pqn", "pqn-bf16"):
        write_run(tmp_path, name, "Breakout", 4_000_000, 0, 1.0, hardware=GPU)
    found = judged(tmp_path, "bf16-alike")
    assert found.basis is not None
    assert devices(found, CATALOGUE) == ""


def test_runs_on_a_cpu_do_not_fill_the_place_of_those_on_a_gpu(tmp_path: Path) -> None:
    timed(tmp_path, "pqn", 9000.0, "Breakout")
    timed(tmp_path, "hadamax-pqn", 4000.0, "Breakout")
    found = judged(tmp_path, "cost")
    assert found.verdict == "insufficient evidence"
    assert (found.missing.there, found.missing.needed) == (0, 6)
    assert found.missing.command.endswith("--device cuda")
    assert {run.seed for run in found.missing.runs} == {3, 4, 5}  # the other folders are taken
    assert found.missing.cost is None


def test_replay_agents_timed_off_protocol_give_a_labelled_figure_and_no_verdict(tmp_path: Path) -> None:
    scaled = ["replay of 100k, not 1M"]
    timed(tmp_path, "c51", 900.0, off_protocol=scaled)
    timed(tmp_path, "hadamax-c51", 300.0, off_protocol=scaled)
    found = judged(tmp_path, "cost-c51-cpu")
    assert found.verdict == "insufficient evidence"
    assert found.interval.estimate == pytest.approx(3.0, rel=0.05)
    assert "Preliminary, on runs off the protocol" in sentence(found, CATALOGUE)
    [row] = claims_table([found], cast("Report", None))
    assert row["rests_on"].endswith(", on runs off the protocol")


def test_the_next_run_is_of_a_game_that_the_other_side_has_played(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn-bf16", "Phoenix", 4_000_000, 0, 0.5)
    found = judged(tmp_path, "one-million").missing
    assert (found.there, found.needed) == (1, 30)
    assert "run --baselines hadamax-pqn-bf16 --games Phoenix --frames 4M --seeds 1" in found.next_command


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rank", "no game has a final effective rank of every side at one budget and sample size"),
        ("cost", "no game was timed for every side on one GPU, with like paths"),
        ("c51-70", "no game has been played by every side at one budget"),
    ],
)
def test_where_nothing_can_be_estimated_the_reason_is_that_of_the_kind_of_claim(
    tmp_path: Path, name: str, reason: str
) -> None:
    for baseline in ("pqn", "hadamax-pqn"):  # played by both at one budget, on a CPU and without diagnostics
        write_run(tmp_path, baseline, "Breakout", 200_000, 0, 0.5, metric_rows=2)
    found = judged(tmp_path, name)
    assert found.basis is None
    assert (found.interval.reason, found.power.reason) == (reason, reason)


def test_runs_on_a_cpu_are_not_set_aside_of_a_claim_about_a_gpu(tmp_path: Path) -> None:
    older = {name: value for name, value in HARDWARE.items() if name != "instructions"}
    for hardware, game in ((older, "Pong"), ({**GPU, "jobs": 2}, "Alien")):
        write_run(tmp_path, "pqn", game, 4_000_000, 0, 0.5, metric_rows=2, hardware=hardware)
    assert {name: [e.game for e in judged(tmp_path, name).set_aside] for name in ("cost", "cost-cpu")} == {
        "cost": ["Alien"],
        "cost-cpu": ["Pong"],
    }
    assert "Of 1 run the time is not known" in sentence(judged(tmp_path, "cost"), CATALOGUE)


@pytest.mark.parametrize(
    ("score", "spread", "told"),
    [
        (0.8, 0.02, ""),  # ahead
        (0.6, 0.3, "of every game and side:"),
        (0.51, 0.9, "more than this suite asks for."),
    ],
)
def test_an_open_question_says_what_would_tell_more(tmp_path: Path, score: float, spread: float, told: str) -> None:
    for seed, factor in enumerate((1 - spread, 1.0, 1 + spread)):
        for game in ATARI5:
            write_run(tmp_path, "hadamax-pqn-bf16", game, 4_000_000, seed, score * factor, metric_rows=2)
            write_run(tmp_path, "pqn-bf16", game, 4_000_000, seed, 0.5 * factor, metric_rows=2)
    found = judged(tmp_path, "one-million")
    assert found.verdict == ("inconclusive" if told else "ahead")
    assert told in more_seeds(found, CATALOGUE)
    assert bool(told) == bool(more_seeds(found, CATALOGUE))
