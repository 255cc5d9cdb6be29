"""The command line in this process: what it refuses, what it prints. As a real process: `test_commands.py`."""

import json
import os
import signal

import pytest
from stored_runs import store_run

from baselines.families import PINNED_NAMES
from baselines.fast.names import DeviceLost
from results.games import ATARI5
from suite.cli import main
from suite.commands import COMMANDS

RUN = ["run", "--device", "cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys):
    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate' (choose from"),
        (["run"], "--games is missing; give atari10"),
        (["run", "--games", "pong"], "--frames is missing; give a budget such as 200k"),
        (["run", "--frames", "4M"], "--games is missing"),
        (["run", "--games", "pogn", "--frames", "4M"], "unknown game 'pogn' (nearest: Pong"),
        (["run", "--games", "", "--frames", "4M"], "empty name"),
        (["run", "--games", "pong", "--frames", "lots"], "--frames 'lots' is no number of frames"),
        (["run", "--games", "pong", "--frames", "0"], "out of range"),
        (["run", "--games", "pong", "--frames", "-4M"], "--frames '-4M' is no number of frames"),
        (["run", "--games", "pong", "--frames=-4M"], "--frames '-4M' is no number of frames"),
        (["run", "--games", "pong", "--frames", "nan"], "is no number of frames"),
        (["run", "--games", "pong", "--frames", "inf"], "is no number of frames"),
        ([*RUN, "--games", "pong", "--frames", "10k"], "the least that works is 16384 frames"),
        (["run", "--games", "pong", "--frames", "4M", "--baselines", "dqn"], "unknown baseline 'dqn'"),
        (["run", "--games", "pong", "--frames", "4M", "--baselines", ""], "empty name"),
        (["run", "--games", "pong", "--frames", "4M", "--seeds", "0"], "--seeds 0 is no count"),
        (["run", "--games", "pong", "--frames", "4M", "--seeds", "a,b"], "--seeds 'a' is no count and no list"),
        (["run", "--games", "pong", "--frames", "4M", "--seeds", ","], "empty name"),
        (
            ["run", "--games", "pong", "--frames", "4M", "--jobs", "-1"],
            "--jobs '-1' is not allowed; give a whole number",
        ),
        (["run", "--games", "pong", "--frames", "4M", "--jobs", "0"], "--jobs '0' is not allowed; give a whole number"),
        (["run", "--games", "pong", "--frames", "4M", "--threads", "x"], "--threads 'x' is not allowed"),
        (["run", "--games", "pong", "--frames", "4M", "--device", "tpu"], "unknown device 'tpu'; allowed: auto, cpu"),
        (["run", "--games", "pong", "--frames", "4M", "--device", "cuda:999"], "--device cuda:999: "),
        (["run", "--game", "pong", "--frames", "4M"], "unrecognized arguments: --game pong"),
        (["status", "--frames", "0"], "out of range"),
        (["list", "everything"], "invalid choice: 'everything'"),
        (["doctor", "--games", "pogn"], "unknown game 'pogn'"),
        (["doctor", "--baselines", "pqn"], "doctor checks the suite's own baselines anyway; leave out --baselines"),
        (["doctor", "--device", "tpu"], "unknown device 'tpu'; allowed: auto, cpu"),
        (["doctor", "--executor", "ray", "--device", "tpu"], "unknown device 'tpu'; allowed: auto, cpu"),
        (["export", "runs.zip"], "runs.zip is neither .tar.gz (runs) nor .csv (scores)"),
        (["export", "nowhere/runs.tar.gz"], "nowhere is no folder"),
        (["export", "runs.tar.gz"], "see what is there with: python -m suite status --results results/runs"),
        (["export", "scores.csv"], "see what is there with: python -m suite status --results results/runs"),
        (["list", "--baselines", "narow.toml"], "there is no file narow.toml; write a baseline of your own with"),
        (["report", "--against", ""], "--against takes one baseline; give a name such as pqn"),
        (["report", "--against", "pqn,c51"], "--against takes one baseline; give a name such as pqn"),
        (["export", "scores.csv", "--without-logs"], "a table of scores has no action logs; leave out --without-logs"),
        (["import"], "give one of FILE (.tar.gz or .csv) and --dopamine AGENT"),
        (["import", "runs.zip"], "neither .tar.gz (runs) nor .csv (scores)"),
        (["import", "absent.csv"], "absent.csv: cannot be read"),
        (["import", "absent.tar.gz"], "absent.tar.gz"),
        (["import", "--dopamine", "alphazero"], "unknown Dopamine agent 'alphazero'"),
        (
            ["import", "--dopamine", "c51", "--name", "theirs"],
            "--name goes with a FILE; leave it out",
        ),
        (["import", "a.tar.gz", "--name", "theirs"], "--name goes with a table of scores, FILE.csv; leave it out"),
        (["import", "a.tar.gz", "--new-baselines", "x"], "--new-baselines goes with a table of scores, FILE.csv"),
        (["import", "--dopamine", "c51", "--salt", "x"], "--salt goes with a FILE; leave it out beside --dopamine"),
        (["status", "--log", "pqn/Pong/4M/seed-0", "--json"], "as it is; leave out --json"),
        (["status", "--log", "pqn/Pong/4M/seed-0", "--games", "qbert"], "as it is; leave out --json and the flags"),
        (["status", "--log", "pqn/Pong/4M/seed-0", "--protocol", "dopamine"], "and the flags that choose runs"),
        (["status", "--log", ""], "an empty path"),
        (["status", "--log", "x" * 300], "a path too long"),
        (["pack", ""], "an empty path"),
        (["pack", "x" * 300], "a path too long"),
        (["pack", "pqn", "--actions", ""], "an empty path"),
        (["pack", "nowhere"], "list the runs with: python -m suite status --results results/runs"),
        (["bench", "--show", ""], "an empty path"),
        (["bench", "--compare", "a.json", "x" * 300], "a path too long"),
        (["list", "games", "--protocol", "dopamine"], "games are the same under every protocol; leave out --protocol"),
        (["report", "--markdown", "--no-clips"], "--markdown writes no report; leave out --no-clips"),
        (["run", "--games", "pong", "--frames", "4M", "--address", ""], "--address goes with --executor ray"),
        (["run", "--games", "pong", "--frames", "4M", "--cpus-per-run", ""], "--cpus-per-run goes with --executor ray"),
        (["run", "--games", "pong", "--frames", "4M", "more"], "arguments: more; see: python -m suite run --help"),
        (["new", "encoder", "dopamine"], "dopamine is the name of a protocol, whose runs have that folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_written(call, tmp_path, arguments, words):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--games", "pong", "--frames", "4M", "--device", "cpu"],
        ["run", "--games", "pong", "--frames", "4M", "--device", "cpu", "--dry-run"],
        ["status"],
        ["status", "--games", "pong", "--frames", "4M"],
        ["verify"],
        ["report", "--out", "html"],
        ["export", "runs.tar.gz"],
        ["import", "--dopamine", "rainbow"],
    ],
)
def test_a_results_folder_that_is_a_file_is_refused_by_every_command(call, tmp_path, command):
    (tmp_path / "file").write_text("keep me")
    for folder in ("file", "file/runs"):
        code, out, err = call(*command, "--results", folder)
        assert (code, out) == (2, "")
        assert "is not a folder" in err
    assert (tmp_path / "file").read_text() == "keep me"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
def test_a_run_whose_folder_holds_another_configuration_is_refused(call, tmp_path, extra):
    directory = store_run(tmp_path / "runs", values={"discount": 0.9})
    before = (directory / "manifest.json").read_bytes()
    arguments = [*RUN, "--games", "pong", "--frames", "200k", "--baselines", "pqn", "--seeds", 1, "--results", "runs"]
    code, out, err = call(*arguments, *extra)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "made with another configuration; move it away or choose another --results" in err
    assert (directory / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 99}', '{"hello": "world"}'])
def test_a_run_whose_folder_holds_an_unreadable_or_foreign_manifest_is_refused(call, tmp_path, text):
    manifest = store_run(tmp_path / "runs") / "manifest.json"
    manifest.write_text(text)
    code, out, err = call(
        *RUN, "--games", "pong", "--frames", "200k", "--baselines", "pqn", "--seeds", 1, "--results", "runs"
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "manifest.json" in err
    assert manifest.read_text() == text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_every_commands_help_shows_examples_that_it_takes_itself(call, command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command.NAME, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert text.count(f"  python -m suite {command.NAME}") >= 2
    assert command.__doc__.splitlines()[0] in text


def test_what_is_done_is_skipped_and_shown(call, tmp_path):
    store_run(tmp_path / "runs")
    arguments = [*RUN, "--games", "pong", "--frames", "200k", "--baselines", "pqn", "--seeds", 1, "--results", "runs"]
    code, out, err = call(*arguments)
    assert code == 0
    assert out.splitlines()[1].split() == ["pqn", "Pong", "200k", "0", "skipped", "196,608", "-20.00", "2", "9,830"]
    assert err == "1 run of 1 done already\n"
    code, out, _ = call(*arguments, "--json")
    (row,) = json.loads(out)["runs"]
    assert (code, row["result"], row["score"], row["state"]) == (0, "skipped", -20.0, "done")


def test_a_dry_run_tells_what_is_done_and_needed_and_writes_nothing(call, tmp_path):
    store_run(tmp_path / "runs", frames_per_second=1000.0)
    before = sorted(tmp_path.rglob("*"))
    arguments = [*RUN, "--games", "pong", "--frames", "200k", "--baselines", "pqn", "--seeds", 2, "--results", "runs"]
    code, out, err = call(*arguments, "--dry-run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[:4] == ["pqn", "2", "1", "200,000"]
    assert lines[3].startswith("2 runs (1 done, 1 missing), 1 left to do on cpu, 1 at once")
    assert "time:   about 3 min, at the speeds of runs already there: pqn 1,000 frames/s" in lines
    code, out, _ = call(*arguments, "--dry-run", "--rows")
    assert [line.split()[3:5] for line in out.splitlines()[1:3]] == [["0", "done"], ["1", "missing"]]
    code, out, _ = call(*arguments, "--dry-run", "--json")
    facts = json.loads(out)
    assert facts["baselines"]["pqn"]["frames"] == 200_000
    assert (facts["left"], facts["seconds"], len(facts["runs"])) == (1, 200.0, 2)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_tells_the_time_of_what_is_measured_and_what_is_not(call, tmp_path):
    store_run(tmp_path / "runs", frames_per_second=1000.0)
    arguments = [*RUN, "--games", "pong", "--frames", "200k", "--baselines", "pqn,c51", "--seeds", 2]
    arguments += ["--results", "runs", "--dry-run"]
    _, out, _ = call(*arguments)
    assert (
        "time:   about 3 min for 1 of the runs, at the speeds of runs already there: pqn 1,000 frames/s; "
        "unknown for the other 2: no run of c51 on cpu has measured its speed yet"
    ) in out.splitlines()
    facts = json.loads(call(*arguments, "--json")[1])
    assert (facts["seconds"], facts["seconds_measured"], facts["unmeasured"]) == (None, 200.0, ["c51"])


def test_a_dry_run_of_150_runs_is_a_line_a_baseline(call):
    code, out, _ = call(*RUN, "--games", "atari10", "--frames", "40M", "--dry-run")
    assert code == 0
    assert len(out.splitlines()) == 12
    assert [line.split()[1] for line in out.splitlines()[1:6]] == ["30"] * 5
    assert call(*RUN, "--games", "pong", "--frames", "4M", "--rows")[0] == 2


def test_a_dry_run_admits_that_it_knows_no_speed(call):
    code, out, _ = call(*RUN, "--games", "pong", "--frames", "4M", "--baselines", "pqn", "--dry-run")
    assert code == 0
    assert "time:   unknown: no run of pqn on cpu has measured its speed yet" in out


def test_status_shows_the_wanted_matrix_with_what_is_missing(call, tmp_path):
    store_run(tmp_path / "runs")
    store_run(tmp_path / "runs", seed=1, status="interrupted", finished_at=None, frames_done=49_152)
    matrix = ["--games", "pong", "--frames", "200k", "--baselines", "pqn", "--results", "runs"]
    code, out, err = call("status", *matrix)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[3] for row in rows[1:4]] == ["0", "1", "2"]
    assert rows[1][4:7] == ["done", "100.0", "%"]
    assert rows[2][4:8] == ["part", "done", "24.5", "%"]
    assert rows[3][4] == "missing"
    assert out.splitlines()[-1] == "3 runs: 1 done, 1 part done, 1 missing"
    code, out, _ = call("status", *matrix, "--json")
    facts = json.loads(out)
    assert facts["counts"] == {"done": 1, "part done": 1, "missing": 1}
    assert [row["fraction"] for row in facts["runs"]] == [1.0, 0.24576, 0.0]


def test_status_without_a_matrix_shows_what_is_there_broken_runs_too(call, tmp_path):
    store_run(tmp_path / "runs")
    store_run(tmp_path / "runs", game="Breakout")
    (store_run(tmp_path / "runs", seed=1) / "manifest.json").write_text("{")
    code, out, _ = call("status", "--results", "runs", "--games", "pong", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["counts"] == {"done": 1, "broken": 1}  # a broken one may be anything


def test_status_of_nothing_says_how_to_make_runs(call, tmp_path):
    code, out, _ = call("status")
    assert code == 0
    assert "no runs in results/runs; make some with: python -m suite run" in out
    assert list(tmp_path.iterdir()) == []


def test_list_has_games_sets_and_baselines_with_their_sources(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["Pong", "Pong-v5", "-20.7", "14.6", "atari57"] in lines
    assert ["Qbert", "Qbert-v5", "163.9", "13,455.0", "atari57,", "atari10,", "atari5"] in lines
    assert "arXiv 2505.15345" in out
    assert "arXiv" not in call("list", "games")[1]
    assert "official: LAMBDA" in call("list", "baselines")[1]
    facts = json.loads(call("list", "--json")[1])
    assert [b["name"] for b in facts["baselines"]] == list(PINNED_NAMES)
    assert facts["baselines"][0]["values"]["discount"] == {"value": 0.99, "source": "official: GAMMA"}
    assert facts["sets"]["atari5"] == list(ATARI5)
    assert len(facts["games"]) == 57


def test_verifying_nothing_is_no_success(call, tmp_path):
    code, out, err = call("verify", "--results", "rnus")
    assert (code, out) == (2, "")
    assert "no runs in rnus, so nothing was verified" in err
    store_run(tmp_path / "runs")
    code, _, err = call("verify", "--results", "runs", "--games", "qbert")
    assert code == 2
    assert "no run below runs is meant, so nothing was verified; see: python -m suite status --results runs" in err


def test_verify_names_what_is_wrong_and_fails(call, tmp_path):
    store_run(tmp_path / "runs")
    assert call("verify", "--results", "runs")[:2] == (0, "1 run checked, 1 sound, 0 not\n")
    directory = store_run(tmp_path / "runs", seed=1)
    (directory / "metrics.parquet").write_bytes(b"spoiled")
    code, out, _ = call("verify", "--results", "runs")
    assert code == 1
    assert "metrics.parquet" in out
    assert out.endswith("2 runs checked, 1 sound, 1 not\n")
    facts = json.loads(call("verify", "--results", "runs", "--json")[1])
    assert (facts["sound"], facts["unsound"]) == (1, 1)


def test_exported_runs_come_back_the_same(call, tmp_path):
    directory = store_run(tmp_path / "runs")
    store_run(tmp_path / "runs", game="Breakout")
    assert call("export", "pong.tar.gz", "--games", "pong", "--results", "runs")[0] == 0
    assert call("import", "pong.tar.gz", "--results", "theirs")[1] == "1 run added to theirs\n"
    theirs = tmp_path / "theirs" / directory.relative_to(tmp_path / "runs")
    for name in ("manifest.json", "episodes.parquet", "metrics.parquet"):
        assert (theirs / name).read_bytes() == (directory / name).read_bytes()
    again = call("import", "pong.tar.gz", "--results", "theirs", "--json")[1]
    assert json.loads(again) == {"added": [], "present": ["pqn/Pong/200k/seed-0"], "completed": []}


def test_exported_scores_are_what_import_takes(call, tmp_path):
    store_run(tmp_path / "runs")
    store_run(tmp_path / "runs", seed=1, games=[])
    assert call("export", "scores.csv", "--results", "runs")[0] == 0
    assert (tmp_path / "scores.csv").read_text() == "baseline,game,seed,frames,score\npqn,Pong,0,200000,-20.0\n"
    code, out, _ = call("import", "scores.csv", "--results", "elsewhere/runs", "--source", "a colleague")
    assert code == 0
    assert out.startswith("1 external score kept in ")
    assert json.loads((tmp_path / "elsewhere" / "external" / "scores.json").read_text())["source"] == "a colleague"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--name", ""], "'' is no name for a set of scores; give one with --name"),
        (["--source", ""], "the source '' must be one line of 1 to 1000 characters"),
        (["--protocol", " "], "the protocol ' ' must be one line of 1 to 1000 characters"),
    ],
)
def test_an_empty_text_about_scores_is_refused_and_no_default_takes_its_place(call, tmp_path, given, words):
    (tmp_path / "scores.csv").write_text("baseline,game,seed,frames,score\npqn,Pong,0,40M,19\n")
    code, out, err = call("import", "scores.csv", "--results", "runs", *given)
    assert (code, out) == (2, "")
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize(("file", "spoiled"), [("scores.csv", "episodes.parquet"), ("runs.tar.gz", "manifest.json")])
def test_export_names_the_runs_that_it_passes_over(call, tmp_path, file, spoiled):
    store_run(tmp_path / "runs")
    (store_run(tmp_path / "runs", seed=1) / spoiled).write_bytes(b"spoiled")
    code, out, err = call("export", file, "--results", "runs")
    assert code == 0
    assert out.startswith(f"1 run exported to {file}")
    assert err.startswith("passed over: ")
    assert err.count("\n") == 1
    assert f"seed-1/{spoiled}" in err
    (line,) = json.loads(call("export", file, "--results", "runs", "--force", "--json")[1])["passed_over"]
    assert err == f"passed over: {line}\n"


def test_export_does_not_write_over_a_file_unasked(call, tmp_path):
    store_run(tmp_path / "runs")
    (tmp_path / "mine.csv").write_text("mine")
    code, _, err = call("export", "mine.csv", "--results", "runs")
    assert code == 2
    assert "exists already; choose another name, or add --force" in err
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert call("export", "mine.csv", "--results", "runs", "--force")[0] == 0


def test_a_bad_row_of_scores_is_refused_with_its_line_and_nothing_kept(call, tmp_path):
    (tmp_path / "scores.csv").write_text("baseline,game,seed,frames,score\npqn,Pong,0,40M,19\npqn,Pogn,0,40M,19\n")
    code, _, err = call("import", "scores.csv", "--results", "runs")
    assert code == 2
    assert "line 3, column game" in err
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_imported_scores_of_a_baseline_of_ones_own_must_be_announced(call, tmp_path):
    (tmp_path / "scores.csv").write_text("baseline,game,seed,frames,score\nhadamx-pqn,Pong,0,40M,19\n")
    code, _, err = call("import", "scores.csv", "--results", "runs")
    assert code == 2
    assert "line 2, column baseline: unknown baseline 'hadamx-pqn' (nearest: hadamax-pqn" in err
    assert "if it is new, add --new-baselines hadamx-pqn" in err
    assert len(err) < 300
    for unfit in ("", "hadamx-pqn,", "Hadamx PQN,hadamx-pqn"):
        code, _, err = call("import", "scores.csv", "--results", "runs", "--new-baselines", unfit)
        assert code == 2
        assert "--new-baselines: " in err
        assert "is no name" in err
    assert not (tmp_path / "external").exists()
    assert call("import", "scores.csv", "--results", "runs", "--new-baselines", "hadamx-pqn")[0] == 0


def test_doctor_prints_a_row_per_check_and_fails_if_one_fails(call, tmp_path, monkeypatch):
    code, out, err = call("doctor", "--games", "freeway", "--device", "cpu", "--results", "runs")
    assert (code, err) == (0, "")
    assert "ok    Freeway               3 actions; 100 agent steps" in out
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("baselines.path_trials.trials", lambda *_, **__: iter(()))  # they take ten seconds
    code, out, err = call("doctor", "--games", "freeway", "--device", "cpu", "--results", "file")
    assert code == 1
    assert "FAIL  results" in out
    assert "failed: results" in err
    facts = json.loads(call("doctor", "--games", "freeway", "--device", "cpu", "--results", "file", "--json")[1])
    assert facts["failed"] == ["results"]


LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "--results", ""], "an empty path; write . for the folder you are in"),
        (["status", "--results", LONG], "a path too long (300 bytes, 300 in one name)"),
        (["status", "--results", "é" * 150], "a path too long (300 bytes"),
        (["status", "--results", "a/" * 2000], "a path too long (4000 bytes"),
        ([*RUN, "--games", "pong", "--frames", "4M", "--results", LONG], "a path too long"),
        (["report", "--out", LONG], "a path too long"),
        (["report", "--claims", LONG], "a path too long"),
        (["export", f"{LONG}.csv"], "a path too long"),
        (["import", f"{LONG}.csv"], "a path too long"),
        (["report", "--out", "."], "holds the folder you are in"),
        (["report", "--out", ".."], "holds the folder you are in"),
        (["report", "--out", "link"], "is a link"),
        (["status", "--results", "rnus"], "--results rnus: no such folder"),
        (["report", "--results", "rnus"], "--results rnus: no such folder"),
        (["pack", "--results", "rnus"], "--results rnus: no such folder"),
        (["report", "--results", ".", "--results", "mien", "--markdown"], "--results mien: no such folder"),
    ],
)
def test_a_path_that_cannot_be_used_is_one_line_and_nothing_is_written(call, tmp_path, arguments, words):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*RUN, "--games", "x" * 5000, "--frames", "4M"],
        [*RUN, "--games", "pong", "--frames", "9" * 5000],
        ["run", "--games", "pong", "--frames", "4M", "--device", "x " * 2500],
        ["x" * 5000],
        ["import", "--dopamine", "x" * 5000],
    ],
)
def test_a_value_of_5000_characters_is_not_echoed_whole(call, arguments):
    code, _out, err = call(*arguments)
    assert code == 2
    assert "characters)" in err
    assert len(err) < 2100


def test_an_error_of_the_system_is_one_line_that_names_the_file(call, monkeypatch):
    def full(_parsed):
        raise OSError(28, "No space left on device", "results/runs/x")

    monkeypatch.setattr("suite.commands.status.run", full)
    assert call("status") == (1, "", "error: results/runs/x cannot be written or read (No space left on device)\n")


def test_sigterm_ends_a_command_as_ctrl_c_does_so_that_it_clears_up(call, monkeypatch, tmp_path):
    before, cleared = signal.getsignal(signal.SIGTERM), []

    def work(_parsed):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleared.append(True)

    monkeypatch.setattr("suite.commands.status.run", work)
    assert call("status") == (130, "", "")
    assert cleared
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_gpu_that_a_fast_path_broke_is_one_line(call, monkeypatch):
    def broken(_parsed):
        raise DeviceLost("the fast path failed: run again with --plain")

    monkeypatch.setattr("suite.commands.status.run", broken)
    assert call("status") == (1, "", "error: the fast path failed: run again with --plain\n")


def test_a_fault_of_ours_is_not_taken_for_one_of_the_system(call, monkeypatch):
    def wrong(_parsed):
        raise OSError("a library's own")

    monkeypatch.setattr("suite.commands.status.run", wrong)
    with pytest.raises(OSError, match="own"):
        call("status")


def test_a_table_as_a_spreadsheet_on_windows_names_it_is_taken(call, tmp_path):
    text = "\ufeffbaseline,game,seed,frames,score\r\npqn,ALE/Pong-v5,0,40M,19\r\n"
    (tmp_path / "SCORES.CSV").write_bytes(text.encode())
    assert call("import", "SCORES.CSV", "--results", "runs")[0] == 0
    (tmp_path / "\u8868.csv").write_bytes(text.encode())
    code, _, err = call("import", "\u8868.csv", "--results", "elsewhere/runs")
    assert code == 2
    assert "give one with --name" in err


def test_verify_prints_what_a_stranger_wrote_on_one_line(call, tmp_path):
    entry = {"file": "x.py", "sha256": "0" * 64}
    directory = store_run(tmp_path / "runs", code={"\x1b[2J\n1 run checked, 1 sound:A": entry})
    (directory / "code").mkdir()
    (directory / "code" / "x.py").touch()
    code, out, _ = call("verify", "--results", "runs")
    assert code == 1
    assert "\x1b" not in out
    assert "the manifest says" in out
    assert not any(line.startswith("1 run checked, 1 sound") for line in out.splitlines())
