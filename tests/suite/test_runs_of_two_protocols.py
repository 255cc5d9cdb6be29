"""Runs of a second protocol: where they live, what commands make of them, and that sticky actions are played again."""

import dataclasses
import json
import os
import signal

import pytest
from checkouts import checkout_of
from played_runs import copied, opened, play, tiny_pinned, with_games, with_manifest
from submitted_runs import export, stated, take
from test_commands import ROOT, start, suite, wait_for

from baselines.registry import describe
from results.credits import read_credits
from results.schema import RunSpec
from results.store import run_directory, scan
from suite import flags, provenance, submission_rules
from suite.arguments import parse_baselines
from suite.cli import main
from suite.errors import UserError
from suite.plan import plan_runs, state_of
from suite.proof import replay
from suite.protocol import PROTOCOLS, full_config, load_protocol, pinned_hash

PINNED_BEFORE = ["pqn/Pong/4M/seed-0", "c51/Breakout/3M/seed-0", "rainbow/Breakout/1200k/seed-0"]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """One run of each protocol, of the same spec but for that."""
    folder = tmp_path_factory.mktemp("both")
    return [stated(play(folder, updates=60, protocol=name)) for name in PROTOCOLS]


@pytest.fixture
def results(tmp_path, played):
    for run in played:
        copied(run, tmp_path / "runs")
    return tmp_path / "runs"


def test_the_first_protocols_runs_keep_their_places_and_hashes():
    committed = {str(run.spec.directory): run.spec for run in scan(ROOT / "results" / "runs")}
    for place in PINNED_BEFORE:
        assert committed[place].config_hash == pinned_hash(describe(committed[place].baseline), "paper")
    assert "full_action_space" not in full_config(describe("pqn"), load_protocol("paper"))["protocol"]


def test_each_protocol_has_its_own_hash_and_place(played):
    ours, theirs = (run.spec for run in played)
    assert ours.config_hash != theirs.config_hash
    assert str(theirs.directory) == f"dopamine/{ours.directory}"
    assert dataclasses.replace(ours, config_hash="", protocol="") == dataclasses.replace(
        theirs, config_hash="", protocol=""
    )
    assert "protocol" not in json.loads((played[1].directory / "manifest.json").read_text())["spec"]


def test_games_among_sticky_actions_are_played_again_to_the_last(played):
    outcome = replay(played[1], sample=None, threads=2, tick=lambda _: None)
    assert outcome.problems == []
    assert outcome.games_agreed == outcome.games > 3
    assert len(outcome.agreed) == 6


def test_an_altered_game_is_found_among_sticky_actions(results):
    def altered(games):
        games.loc[games.index[-1], "episode_return"] += 1
        return games

    forged = with_games(opened(results / "dopamine" / "pqn" / "Breakout" / "7680" / "seed-0"), altered)
    (problem,) = replay(forged, sample=None, threads=1, tick=lambda _: None).problems
    assert "episode return" in problem


def test_a_run_that_claims_another_protocol_than_it_was_played_under_is_found_out(results):
    run = opened(results / "dopamine" / "pqn" / "Breakout" / "7680" / "seed-0")
    forged = with_manifest(run, lambda m: m["environment"]["envpool_config"].update(repeat_action_probability=0.0))
    (problem,) = replay(forged, sample=None, threads=1, tick=lambda _: None).problems
    assert problem.startswith("envpool's repeat_action_probability is 0.25 here")


def test_runs_of_either_protocol_in_one_folder_leave_their_checkout_clean(tmp_path, monkeypatch):
    """A submission of a run that was made by changed code is refused."""
    monkeypatch.setattr(provenance, "_CHECKOUT", checkout_of(tmp_path))
    runs = [play(tmp_path / "mine", updates=1, protocol=name) for name in PROTOCOLS]
    assert [run.manifest["revision"]["clean"] for run in runs] == [True] * len(PROTOCOLS)


def test_status_shows_one_protocol_and_says_what_else_there_is(results, capsys):
    def shown(*more):
        assert main(["status", "--results", str(results), *more]) == 0
        return capsys.readouterr().out

    assert "1 run of the protocol dopamine not shown: add --protocol dopamine" in shown()
    assert shown("--protocol", "dopamine").count("Breakout") == 1
    every = shown("--protocol", "all")
    assert [line.split()[0] for line in every.splitlines() if "Breakout" in line] == ["paper", "dopamine"]
    rows = json.loads(shown("--protocol", "all", "--json"))["runs"]
    assert [row["protocol"] for row in rows] == ["paper", "dopamine"]


def test_verify_says_what_it_did_not_check(results, capsys):
    assert main(["verify", "--results", str(results)]) == 0
    assert "1 run of the protocol dopamine not checked" in capsys.readouterr().out
    assert main(["verify", "--results", str(results), "--protocol", "all"]) == 0
    assert "2 runs checked, 2 sound, 0 not" in capsys.readouterr().out


def test_a_plan_is_of_one_protocol_and_is_spelled_so():
    specs = plan_runs(["pqn"], ["Pong"], 4_000_000, [0, 1], "dopamine")
    assert {spec.config_hash for spec in specs} == {pinned_hash(describe("pqn"), "dopamine")}
    (line,) = flags.spell_selection(list(specs))
    assert line == "--games Pong --frames 4M --baselines pqn --seeds 2 --protocol dopamine"
    assert len(flags.spell_selection([*specs, *plan_runs(["pqn"], ["Pong"], 4_000_000, [0, 1])])) == 2


def test_a_run_of_a_protocol_that_the_suite_lacks_is_named(tmp_path, played):
    run = with_manifest(copied(played[0], tmp_path / "other"), lambda manifest: None)
    unknown = dataclasses.replace(run, spec=dataclasses.replace(run.spec, protocol="mine"))
    state = state_of(unknown)
    assert state.state == "other configuration"
    assert "'mine', which this suite does not have (allowed: paper, dopamine)" in state.note


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_baseline_of_ones_own_cannot_have_a_protocols_name(tmp_path, name):
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "{name}"\nextends = "pqn"\n')
    with pytest.raises(UserError, match=f"{name} is the name of a protocol, whose runs have that folder"):
        parse_baselines(str(file))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["run", "--games", "pong", "--frames", "4M", "--protocol", "nature"], "allowed: paper, dopamine"),
        (["status", "--protocol", "nature"], "allowed: paper, dopamine, all"),
        (["run", "--games", "pong", "--frames", "4M", "--protocol", "all"], "unknown protocol 'all'"),
        (["run", "--claim", "pqn-80", "--protocol", "dopamine"], "judged on the protocol paper alone"),
        (["export", "scores.csv", "--protocol", "all"], "a table of scores is of one protocol"),
        (["bench", "--protocol", "nature"], "allowed: paper, dopamine"),
        (["doctor", "--protocol", "nature"], "allowed: paper, dopamine"),
        (["report", "--protocol", "nature"], "allowed: paper, dopamine"),
        (["list", "--protocol", "nature"], "allowed: paper, dopamine"),
    ],
)
def test_a_mistaken_protocol_is_one_clear_line(line, words, capsys):
    assert main(line) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_runs_travel_in_an_archive_with_their_protocol(results, tmp_path, capsys):
    file = tmp_path / "theirs.tar.gz"
    assert main(["export", str(file), "--protocol", "dopamine", "--results", str(results)]) == 0
    assert main(["import", str(file), "--results", str(tmp_path / "elsewhere")]) == 0
    assert [str(run.spec.directory) for run in scan(tmp_path / "elsewhere")] == ["dopamine/pqn/Breakout/7680/seed-0"]


def test_a_submission_lands_in_its_protocols_folder_with_its_credit(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(submission_rules, "describe", tiny_pinned)
    file, elsewhere = tmp_path / "bundle.tar.gz", tmp_path / "elsewhere"
    assert export(results, file, "--protocol", "all") == 0
    assert take(file, elsewhere, "--replay-all") == 0
    runs = scan(elsewhere)
    assert [run.spec.protocol for run in runs] == ["paper", "dopamine"]
    credits = read_credits(elsewhere)
    assert all(credits.of(run).name == "Ada Lovelace" for run in runs)


def test_a_submission_of_values_that_the_protocol_does_not_have_is_refused(results, tmp_path, monkeypatch, capsys):
    from results.hashing import config_hash

    monkeypatch.setattr(submission_rules, "describe", tiny_pinned)
    run = opened(results / "dopamine" / "pqn" / "Breakout" / "7680" / "seed-0")

    def without_sticking(manifest):
        manifest["config"]["protocol"]["repeat_action_probability"] = 0.0
        manifest["spec"]["config_hash"] = config_hash(manifest["config"])

    with_manifest(run, without_sticking)
    assert export(results, tmp_path / "bundle.tar.gz", "--protocol", "dopamine") == 2
    assert "protocol: repeat_action_probability is 0.0, pinned 0.25" in capsys.readouterr().err


@pytest.mark.slow  # four starts of 136 environments; in the fast tests agents and processes are stopped apart
def test_a_killed_run_resumes_to_the_bytes_of_one_that_was_not(tmp_path):
    arguments = ("run", "--games", "breakout", "--frames", 25_600, "--baselines", "pqn", "--seeds", 1)
    arguments += ("--device", "cpu", "--threads", 1, "--protocol", "dopamine")
    assert suite(tmp_path, *arguments, "--results", "whole").returncode == 0
    process = start(tmp_path, *arguments, "--results", "killed")
    folder = run_directory(tmp_path / "killed", RunSpec("pqn", "Breakout", 25_600, 0, "", "dopamine"))
    wait_for(lambda: (folder / "actions.bin").exists() and (folder / "actions.bin").stat().st_size > 600)
    os.killpg(process.pid, signal.SIGINT)  # a checkpoint is written
    process.communicate()
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    process = start(tmp_path, *arguments, "--results", "killed")
    wait_for(lambda: json.loads((folder / "manifest.json").read_text())["status"] == "running")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert suite(tmp_path, *arguments, "--results", "killed").returncode == 0
    whole = run_directory(tmp_path / "whole", RunSpec("pqn", "Breakout", 25_600, 0, "", "dopamine"))
    for name in ("episodes.parquet", "metrics.parquet", "actions.parquet"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
