"""`python -m suite verify --replay` and `--retrain`, on two real runs."""

import json

import pytest
from played_runs import copied, play, tiny_pinned, with_games, with_manifest

from results.errors import ResultsError
from results.proofs import PROOF_FILE, read_proofs
from suite import proof, retraining
from suite.cli import main


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    return [play(folder, game=game, updates=30) for game in ("Breakout", "Qbert")]


@pytest.fixture
def runs(played, tmp_path):
    return [copied(run, tmp_path) for run in played]


def verify(root, *arguments):
    return main(["verify", *arguments, "--results", str(root)])


def richer(games):
    games.loc[games.index[0], "episode_return"] += 1
    return games


def test_all_games_are_played_again_and_it_is_kept_and_said(runs, tmp_path, capsys):
    assert verify(tmp_path, "--replay", "--all") == 0
    said = capsys.readouterr()
    assert said.out.count("proof: re-played") == 2
    assert "in 6 of 6 environments; " in said.out
    assert "2 runs checked, 2 sound, 0 not" in said.out
    assert "games agree (2 of 2)" in said.err
    before = (tmp_path / PROOF_FILE).read_bytes()
    assert verify(tmp_path, "--replay", "--sample", "1", "--sample-seed", "3", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["sample_seed"] == 3
    # What a smaller sample finds again adds nothing, and takes nothing away.
    assert [row["proof"] for row in rows["runs"]] == ["re-played", "re-played"]
    assert rows["runs"][0]["replayed"]["environments_replayed"] == 1
    assert 0 < rows["runs"][0]["replayed"]["escape_probability"] < 1
    assert (tmp_path / PROOF_FILE).read_bytes() == before


def test_the_parts_together_are_all_games(runs, tmp_path, capsys):
    for number in range(1, 8):  # one more than a run has environments: of one part it has none
        assert verify(tmp_path, "--replay", "--part", f"{number}/7", "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["part"], said["sample_seed"]) == ({"number": number, "of": 7}, None)
        assert all(row["replayed"]["environments_replayed"] <= 1 for row in said["runs"])
    assert [row["proof"] for row in said["runs"]] == ["re-played", "re-played"]
    assert [len(proof.replayed) for proof in read_proofs(tmp_path).values()] == [6, 6]


def test_a_forged_game_ends_with_1_names_run_environment_and_game_and_undoes_the_proof(runs, tmp_path, capsys):
    assert verify(tmp_path, "--replay", "--all", "--games", "breakout") == 0
    with_games(runs[0], richer)
    assert verify(tmp_path) == 0  # every checksum fits
    capsys.readouterr()
    assert verify(tmp_path, "--replay", "--all") == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == str(runs[0].directory)
    assert lines[1].startswith("  WRONG: ")
    assert ", game 1: episode return " in lines[1]
    assert "proof: on its word" in lines[3]
    assert "DIFFERS" in said.err
    assert list(read_proofs(tmp_path)) == [str(runs[1].spec.directory)]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(KeyboardInterrupt(), 130, ""), (ResultsError("the log went bad"), 2, "error: the log went bad\n")],
)
@pytest.mark.parametrize("number", [0, 1])
def test_what_agreed_before_ctrl_c_or_an_error_is_kept_and_said(
    runs, tmp_path, monkeypatch, capsys, error, code, words, number
):
    replays, replay = [], proof.replay

    def until_stopped(run, **how):
        if len(replays) == number:
            raise error
        replays.append(run)
        return replay(run, **how)

    monkeypatch.setattr(proof, "replay", until_stopped)
    assert verify(tmp_path, "--replay", "--all") == code
    assert list(read_proofs(tmp_path)) == [str(run.spec.directory) for run in runs[:number]]
    said = capsys.readouterr()
    kept = f"what agreed is kept in {tmp_path / PROOF_FILE}" if number else "nothing new is kept"
    assert said.err.endswith(f"stopped: {number} of 2 runs played again; {kept}\n{words}")
    assert said.out == ""


def without_log(manifest):
    manifest["actions"] = None
    del manifest["files"]["actions.parquet"]


def test_a_run_without_a_log_is_on_its_word(runs, tmp_path, capsys):
    with_manifest(runs[0], without_log)
    (runs[0].directory / "actions.parquet").unlink()
    assert verify(tmp_path, "--replay", "--sample", "2") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [str(runs[0].directory), "  proof: on its word"]
    assert verify(tmp_path, "--replay", "--sample", "2", "--games", runs[0].spec.game) == 1
    assert "error: no game was played again: no finished, sound run here keeps its actions" in capsys.readouterr().err


def test_the_drawn_seed_is_said_and_draws_the_same_again(runs, tmp_path, capsys):
    assert verify(tmp_path, "--replay", "--sample", "2", "--games", "breakout") == 0
    first = read_proofs(tmp_path)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("environments drawn by")]
    (tmp_path / PROOF_FILE).unlink()
    assert verify(tmp_path, "--replay", "--sample", "2", "--games", "breakout", *line.split()[3:]) == 0
    assert [proof.replayed for proof in read_proofs(tmp_path).values()] == [proof.replayed for proof in first.values()]


def test_training_again_tells_of_the_runs_that_it_cannot_train(runs, tmp_path, capsys, monkeypatch):
    assert verify(tmp_path, "--retrain", "2", "--games", "breakout") == 1  # this tiny PQN is not the pinned one
    said = capsys.readouterr()
    assert "not trained again: pqn Breakout 3840 seed 0: its configuration" in said.out
    assert said.err.endswith("error: no run was trained again; the reasons stand beside the runs\n")
    monkeypatch.setattr(retraining, "load_pinned", tiny_pinned)
    assert verify(tmp_path, "--retrain", "2", "--games", "breakout") == 0
    said = capsys.readouterr()
    assert "the same actions in 6 environments" in said.out
    assert said.err == "pqn Breakout 3840 seed 0 (1 of 1): training 2 updates again\n"
    with_manifest(runs[0], without_log)
    (runs[0].directory / "actions.parquet").unlink()
    assert verify(tmp_path, "--retrain", "2") == 0  # the other one can be
    assert "keeps no action log" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sample", "2"], "add --replay"),
        (["--all"], "add --replay"),
        (["--replay", "--all", "--sample", "2"], "--all leaves nothing to sample"),
        (["--part", "1/7"], "add --replay"),
        (["--replay", "--part", "1/7", "--all"], "--part says which environments; leave out --all"),
        (["--replay", "--part", "0/7"], "--part 0/7 is none; give which of how many"),
        (["--replay", "--part", "8/7"], "--part 8/7 is none"),
        (["--replay", "--part", "seven"], "--part seven is none"),
        (["--replay", "--sample", "0"], "--sample '0' is not allowed; give a whole number from 1 to 32768"),
        (["--replay", "--sample-seed", "-1"], "--sample-seed '-1' is not allowed; give a whole number from 0 to"),
        (["--replay", "--threads", "0"], "--threads '0' is not allowed"),
        (["--retrain", "0"], "--retrain '0' is not allowed"),
        (["--replay", "--sample", "many"], "--sample 'many' is not allowed; give a whole number from 1 to 32768"),
        (["--threads", "2"], "--threads is of the emulators that play games again; add --replay"),
        (["--retrain", "2", "--threads", "2"], "a run is trained again with the threads that it had"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, arguments, words, capsys):
    assert verify(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_table_of_proofs_that_cannot_be_read_is_told_of_before_the_work(runs, tmp_path, capsys):
    (tmp_path / PROOF_FILE).write_text("[]")
    assert verify(tmp_path, "--replay") == 2
    said = capsys.readouterr().err
    assert "is no table of proofs" in said
    assert "agree" not in said
