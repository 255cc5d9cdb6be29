"""What a claim lacks: runs, commands, cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_up_runs import CLAIMED_GAMES, make_catalogue, write_run

from reports.build import build
from reports.errors import ReportsError
from reports.judging.claims_file import find_claim, load_claims
from reports.judging.evidence import load
from reports.judging.judge import judge
from reports.judging.missing import Cost, Missing, estimate_cost, find_missing, missing_runs, run_arguments
from reports.wording import cost_text, sentence
from results.games import ATARI10
from results.schema import RunSpec

CATALOGUE = make_catalogue()


def test_a_single_run_goes_after_no_other() -> None:
    """It read "1 run, about 2.0 hours one after the other"."""
    runs = tuple(RunSpec("pqn", "Pong", 4_000_000, seed, "0" * 16) for seed in range(2))
    texts = [cost_text(Missing(runs[:n], (), "", (), Cost(7200.0, "this CPU")), CATALOGUE) for n in (1, 2)]
    assert texts[0] == "1 run, about 2.0 hours, as measured on this CPU."
    assert texts[1] == "2 runs, about 2.0 hours one after the other, as measured on this CPU."


def test_without_results_a_claim_lacks_three_seeds_of_every_game_on_both_sides(tmp_path: Path) -> None:
    runs = missing_runs("c51-70", results=tmp_path / "none", catalogue=CATALOGUE)
    assert len(runs) == 60
    assert runs == sorted(runs)
    assert {run.game for run in runs} == set(ATARI10)
    assert {run.seed for run in runs} == {0, 1, 2}
    pinned = CATALOGUE.find("c51")
    assert pinned is not None
    assert {run.config_hash for run in runs if run.baseline == "c51"} == {pinned.config_hash}


def test_the_whole_set_is_one_command(tmp_path: Path) -> None:
    claim = find_claim(load_claims(), "c51-70")
    missing = find_missing(load(tmp_path / "runs", CATALOGUE), claim, CATALOGUE)
    where = f" --results {tmp_path / 'runs'}"
    assert missing.command == f"python -m suite run --claim c51-70{where}"
    assert missing.commands == (
        f"python -m suite run --baselines c51,hadamax-c51 --games atari10 --frames 40M --seeds 3{where}",
    )
    assert missing.cost is None


def test_a_claim_of_ones_own_is_spelled_out_for_run_does_not_know_its_name(tmp_path: Path, own_claim: Path) -> None:
    claim = find_claim(load_claims(own_claim), "own")
    missing = find_missing(load(tmp_path, CATALOGUE), claim, CATALOGUE)
    assert "--claim" not in missing.command
    assert missing.command == " && ".join(missing.commands)


def test_done_runs_are_not_asked_for_and_begun_ones_keep_their_seed(tmp_path: Path, own_claim: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5)
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 7, 0.5, status="interrupted", frames_done=2_000_000)
    write_run(tmp_path, "pqn", "Qbert", 4_000_000, 1, 0.5, status="failed", frames_done=2_000_000)
    runs = missing_runs("own", results=tmp_path, catalogue=CATALOGUE, claims_file=own_claim)
    pqn = {game: [r.seed for r in runs if (r.baseline, r.game) == ("pqn", game)] for game in CLAIMED_GAMES}
    assert pqn == {"Pong": [1, 7], "Breakout": [0, 1, 2], "Qbert": [0, 1, 2]}


def test_folders_taken_by_foreign_or_broken_runs_are_avoided(tmp_path: Path, own_claim: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5, changes={"discount": 0.9})
    (write_run(tmp_path, "pqn", "Pong", 4_000_000, 2, 0.5) / "manifest.json").write_text("{")
    runs = missing_runs("own", results=tmp_path, catalogue=CATALOGUE, claims_file=own_claim)
    assert [run.seed for run in runs if (run.baseline, run.game) == ("pqn", "Pong")] == [1, 3, 4]


def test_a_settled_claim_lacks_nothing(mixed_results: Path, own_claim: Path) -> None:
    assert missing_runs("own", results=mixed_results, catalogue=CATALOGUE, claims_file=own_claim) == []


def test_a_question_of_the_suites_own_is_asked_for_by_name_and_number_of_seeds(tmp_path: Path) -> None:
    missing = find_missing(load(tmp_path / "runs", CATALOGUE), find_claim(load_claims(), "bf16-alike"), CATALOGUE, 9)
    assert missing.command == f"python -m suite run --claim bf16-alike --seeds 9 --results {tmp_path / 'runs'}"
    assert (missing.there, missing.needed) == (0, 2 * 9)


def test_more_seeds_may_be_asked_for(mixed_results: Path, own_claim: Path) -> None:
    runs = missing_runs("own", results=mixed_results, catalogue=CATALOGUE, claims_file=own_claim, seeds=5)
    assert {(run.baseline, run.game, run.seed) for run in runs} == {
        (baseline, game, seed) for baseline in ("pqn", "hadamax-pqn") for game in CLAIMED_GAMES for seed in (3, 4)
    }


@pytest.mark.parametrize(("claim", "seeds", "reason"), [("c51-70", 2, "2 are too few"), ("cost", 5, "is about time")])
def test_a_number_of_seeds_that_settles_nothing_is_refused(tmp_path: Path, claim: str, seeds: int, reason: str) -> None:
    with pytest.raises(ReportsError, match=reason):
        missing_runs(claim, results=tmp_path, catalogue=CATALOGUE, seeds=seeds)


def test_a_claim_about_baselines_that_do_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportsError, match=r"needs hadamax-pqn-no-maxpool.* which the suite does not have"):
        missing_runs("ablation", results=tmp_path, catalogue=CATALOGUE)


def test_arguments_ask_for_exactly_the_runs() -> None:
    def run(baseline: str, game: str, seed: int) -> RunSpec:
        return RunSpec(baseline, game, 4_000_000, seed, "x")

    runs = (
        *(run(baseline, game, seed) for baseline in ("c51", "pqn") for game in ("Pong", "Qbert") for seed in range(3)),
        run("pqn", "Breakout", 4),
        run("rainbow", "Breakout", 1),
        run("rainbow", "Breakout", 2),
    )
    assert run_arguments(runs) == [
        "--baselines c51,pqn --games Pong,Qbert --frames 4M --seeds 3",
        "--baselines pqn --games Breakout --frames 4M --seeds 4,",
        "--baselines rainbow --games Breakout --frames 4M --seeds 1,2",
    ]


def test_cost_is_what_is_left_at_the_median_speed_measured(tmp_path: Path) -> None:
    for seed, speed in enumerate((9000.0, 10_000.0, 40_000.0)):
        write_run(tmp_path, "pqn", "Pong", 1_000_000, seed, 0.5, frames_per_second=speed)
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5, status="interrupted", frames_done=3_000_000)
    evidence = load(tmp_path, CATALOGUE)
    seconds = sorted(1 / e.run.frames_per_second for e in evidence.entries if e.run and e.run.status == "done")
    runs = (RunSpec("pqn", "Pong", 4_000_000, 0, "x"), RunSpec("c51", "Pong", 4_000_000, 0, "x"))
    cost = estimate_cost(evidence, runs)
    assert cost is not None
    assert cost.seconds == pytest.approx(1_000_000 * seconds[1])
    assert cost.unknown == ("c51",)
    assert "Made-up CPU" in cost.hardware
    assert estimate_cost(evidence, runs[1:]) is None


UNANSWERED = {
    "layers": (
        {"kind": "below", "measure": "dead_fraction", "layers": ["conv9"], "claimed": 0.1},
        "the runs of pqn have no layer conv9; they have conv1, conv2",
    ),
    "layers not measured": (
        {"kind": "below", "measure": "effective_rank", "layers": ["conv1"], "claimed": 0.1},
        "the runs of pqn have no effective_rank of any layer",
    ),
    "games": (
        {"kind": "ahead", "measure": "median", "reference": "c51"},
        "in the runs of c51 on Pong no game was finished by frame 4M",
    ),
    "layers without games": (
        {"kind": "below", "baseline": "c51", "measure": "dead_fraction", "layers": ["conv1"], "claimed": 0.1},
        "in the runs of c51 on Pong no game was finished by frame 4M",
    ),
    "an early frame": (
        {"kind": "reaches", "measure": "median", "reference": "c51", "at_frames": "4k"},
        "in the runs of pqn on Pong no game was finished by frame 4k",
    ),
    "off the protocol": (
        {"kind": "ahead", "measure": "median", "reference": "c51", "frames": "200k"},
        "with 200k frames c51 is off the protocol (learning starts late)",
    ),
    "timed off the protocol": (
        {"kind": "ratio", "measure": "seconds_per_frame", "reference": "c51", "games": "any", "claimed": 2.0}
        | {"tolerance": 0.2, "try_games": ["Pong"], "try_frames": "200k", "frames": None},
        "with 200k frames c51 is off the protocol (learning starts late)",
    ),
}


@pytest.mark.parametrize(("facts", "reason"), UNANSWERED.values(), ids=UNANSWERED)
def test_what_finished_runs_cannot_answer_asks_for_no_more_of_them(
    tmp_path: Path, facts: dict[str, object], reason: str
) -> None:
    dead = {"dead_fraction/conv1": 0.1, "dead_fraction/conv2": 0.1}
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5, diagnostics=dead)
    write_run(tmp_path, "c51", "Pong", 4_000_000, 0, 0.5, games=0, diagnostics=dead)
    write_run(tmp_path, "c51", "Pong", 200_000, 0, 0.5, off_protocol=["learning starts late"])
    file = tmp_path / "claims.toml"
    common = {
        "id": "odd",
        "title": "Odd",
        "statement": "Odd.",
        "source": "us",
        "baseline": "pqn",
        "games": ["Pong"],
        "frames": "4M",
    }
    file.write_text(
        "[[claim]]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in (common | facts).items() if value is not None)
    )
    with pytest.raises(ReportsError, match=re.escape(f"cannot be answered at its budget: {reason}; change")):
        missing_runs("odd", results=tmp_path, catalogue=CATALOGUE, claims_file=file)
    claim = find_claim(load_claims(file), "odd")
    evidence = load(tmp_path, CATALOGUE, fractions=[0.001])
    missing = find_missing(evidence, claim, CATALOGUE)
    assert (missing.unanswered, missing.runs, missing.command, missing.next_command) == (reason, (), "", "")
    assert reason in sentence(judge(claim, evidence, CATALOGUE, repetitions=100), CATALOGUE)


def test_a_seed_without_a_game_beside_one_that_has_some_does_not_stop_a_claim(tmp_path: Path, own_claim: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 0, 0.5, games=0)
    write_run(tmp_path, "pqn", "Pong", 4_000_000, 1, 0.5)
    runs = missing_runs("own", results=tmp_path, catalogue=CATALOGUE, claims_file=own_claim)
    assert [run.seed for run in runs if (run.baseline, run.game) == ("pqn", "Pong")] == [2, 3]


def test_the_page_of_a_claim_that_cannot_be_answered_offers_no_command(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, 0, 0.5, diagnostics={"dead_fraction/conv1": 0.1})
    file = tmp_path / "claims.toml"
    file.write_text(
        '[[claim]]\nid = "odd"\nkind = "below"\nmeasure = "dead_fraction"\nlayers = ["conv9"]\nclaimed = 0.1\n'
        'title = "Odd"\nstatement = "Odd."\nsource = "us"\nbaseline = "pqn"\ngames = ["Pong"]\nframes = "4M"\n'
    )
    build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE, claims_file=file)
    page = (tmp_path / "html/claims/odd.html").read_text(encoding="utf-8")
    assert "No command: the runs of pqn have no layer conv9; they have conv1." in page
    assert "python -m suite run" not in page
    assert "none settles it: the runs of pqn have no layer conv9" in (tmp_path / "html/index.html").read_text("utf-8")
