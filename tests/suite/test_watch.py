"""Videos of logged games, of a real run of a few seconds."""

import hashlib
import json
import sys

import numpy as np
import pytest
from played_runs import copied, opened, play, with_actions, with_games, with_manifest

from baselines.emulator import every_frame
from results.actions import read_log
from results.store import read_episodes
from suite import cli
from suite.errors import UserError
from suite.game_screens import every_agent_step, play_again, why_not_every_frame
from suite.game_screens import every_frame as screens_of
from suite.logged_games import choose, games_of, read_actions
from suite.retraced_game import GameDiffers

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return play(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def run(played, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return copied(played, tmp_path / "runs")


def watch(run, *arguments):
    return cli.main(["watch", str(run.directory), *arguments])


def again(run, which="best"):
    actions = read_actions(run)
    game = choose(which, games_of(run), actions)
    return play_again(run, game, actions.of(game), lambda _: None)


def facts_of(file):
    """(pictures, width, height, pictures a second) of a video."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(video=0))
        return count, stream.width, stream.height, round(float(stream.average_rate))


# Which game --------------------------------------------------------------------------------------------------------


def test_best_and_last_are_greedy_games_and_a_number_is_a_row(run):
    actions, games, table = read_actions(run), games_of(run), read_episodes(run.directory)
    greedy = table[table["kind"] == "greedy"]
    best = choose("best", games, actions)
    assert best.game.episode_return == greedy["episode_return"].max()
    assert best.kind == choose("last", games, actions).kind == "greedy"
    assert choose("last", games, actions).row == greedy.index[-1]
    assert choose("3", games, actions).row == 3


def test_where_no_greedy_actions_are_kept_a_training_game_is_shown_and_that_is_said(run, capsys):
    with_games(run, lambda games: games[games["kind"] == "train"])
    assert watch(opened(run.directory), "--last", "1", "--out", "a.mp4") == 0
    said = capsys.readouterr()
    assert "this is a training game, with exploration" in said.err
    assert "a.mp4: train game of pqn Breakout" in said.out


@pytest.mark.parametrize("which", ["99999", "-1", "worst", "1.5", "²"])
def test_a_game_that_there_is_not_is_one_line(run, which, capsys):
    assert watch(run, "--game", which) == 2
    said = capsys.readouterr().err
    assert "give best, last, or a row from 0 to " in said
    assert said.count("\n") == 1


def test_a_game_whose_actions_are_not_kept_is_refused(run):
    actions, games = read_actions(run), games_of(run)
    game = games[0]
    fewer = type(actions)(actions.kept - {(game.kind, game.environment)}, actions.columns)
    with pytest.raises(UserError, match="whose actions are not kept; the last rows whose actions are"):
        choose("0", games, fewer)


# What is shown -----------------------------------------------------------------------------------------------------


def test_every_game_of_the_table_is_the_same_frame_by_frame(run):
    for row in range(len(games_of(run))):
        game = again(run, str(row))
        assert why_not_every_frame(game) is None
        assert sum(not moment.is_reset for moment in game.moments) == game.game.game.length
        assert game.scores()[-1] == game.game.game.episode_return


def test_the_last_frame_of_an_agent_step_is_the_screen_that_the_runs_own_environment_shows(run):
    game = again(run)
    slow = {screen.step: screen for screen in every_agent_step(game, lambda _: None)}
    last = {screen.step: screen for screen in screens_of(game)}
    assert slow.keys() == last.keys()
    assert len(slow) == len(game.moments)
    for step, screen in last.items():
        assert np.array_equal(screen.pixels, slow[step].pixels)
        assert screen.score == slow[step].score
    assert last[0].frames == 0
    assert sum(1 for _ in screens_of(game)) > 3 * len(slow)


# The command -------------------------------------------------------------------------------------------------------


def test_the_best_game_becomes_a_video_that_is_named_by_it(run, capsys):
    assert watch(run, "--last", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    best = choose("best", games_of(run), read_actions(run))
    assert found["file"] == f"pqn-Breakout-5120-seed-0-game-{best.row}.mp4"
    assert found["score"] == best.game.episode_return
    assert facts_of(found["file"]) == (found["pictures"], 480, 708, 60)
    assert found["pictures"] >= 2 * 60 - 3  # the game may end inside the last agent step
    assert watch(run) == 2
    assert "exists already; choose another name, or add --force" in capsys.readouterr().err


def test_the_same_game_gives_the_same_bytes_and_no_other_file(run, tmp_path):
    hashes = set()
    for _ in range(2):
        assert watch(run, "--game", "last", "--last", "1", "--out", "v.webm", "--force") == 0
        hashes.add(hashlib.sha256((tmp_path / "v.webm").read_bytes()).hexdigest())
    assert len(hashes) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "v.webm"]


def test_a_run_is_also_found_by_its_place_and_by_flags(run, capsys):
    base = ["watch", "--results", "runs", "--last", "1", "--json"]
    assert cli.main([*base, str(run.spec.directory), "--out", "a.mp4"]) == 0
    assert cli.main([*base, "--games", "breakout", "--out", "b.mp4"]) == 0
    assert cli.main([*base, "--games", "pong"]) == 2
    assert cli.main(base) == 2
    assert cli.main([*base, "nowhere"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert ["no run below runs" in said[-3], "which run?" in said[-2], "nowhere is no run" in said[-1]] == [True] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "dopamine"], "RUN names the run"),
        (["--out", "a.gif"], "give a name that ends in .mp4, .webm, .webp"),
        (["--out", "nowhere/a.mp4"], "nowhere is no folder"),
        (["--last", "0"], "--last '0' is not allowed"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(run, tmp_path, arguments, words, capsys):
    assert watch(run, *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_place_that_cannot_be_written_is_refused_before_the_game_is_played(run, tmp_path, monkeypatch, capsys):
    def refuse(*_arguments, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # whatever the reason: tests may run as root
    monkeypatch.setattr("suite.watch.shown", None)
    assert watch(run, "--out", "a.mp4") == 2
    assert f"--out {tmp_path} cannot be written (Permission denied); give another folder" in capsys.readouterr().err


def test_a_score_that_the_actions_do_not_earn_gets_no_video(run, tmp_path, capsys):
    def raised(games):
        games.loc[games["kind"] == "greedy", "episode_return"] += 100
        return games

    assert watch(with_games(run, raised)) == 1
    said = capsys.readouterr().err
    assert "error: no video: greedy environment" in said
    assert "in the table" in said
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_log_whose_digests_were_made_to_fit_gets_no_video(run, capsys):
    assert watch(with_actions(run, np.zeros_like)) == 1
    assert "error: no video: " in capsys.readouterr().err


def test_a_log_that_was_altered_is_refused(run, capsys):
    file = run.directory / "actions.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    assert watch(run) == 2
    assert "actions.parquet" in capsys.readouterr().err


def test_environments_that_are_not_the_seeds_get_no_video(run):
    def other(manifest):
        manifest["environment"]["greedy_seeds"][0] += 1

    with pytest.raises(GameDiffers, match="are not those that seed 0 gives"):
        again(with_manifest(run, other))


def test_an_unfinished_run_is_shown_from_the_log_that_it_appends_to(run):
    log, before = read_log(run), again(run)
    (run.directory / "actions.bin").write_bytes(log.actions(log.names).tobytes() + b"\0")
    (run.directory / "actions.parquet").unlink()

    def unfinished(manifest):
        manifest |= {"status": "interrupted", "actions": None, "finished_at": None}
        del manifest["files"]["actions.parquet"]

    assert again(with_manifest(run, unfinished)).moments == before.moments


def test_a_run_without_a_log_says_so(run, capsys):
    def without(manifest):
        manifest["actions"] = None
        del manifest["files"]["actions.parquet"]

    with_manifest(run, without)
    assert watch(run) == 2
    assert "keeps no action log" in capsys.readouterr().err


def test_where_the_frames_cannot_be_proven_every_fourth_is_shown_and_that_is_said(run, monkeypatch, capsys):
    monkeypatch.setattr(every_frame, "_WITHOUT_FIRE", frozenset({"Breakout-v5"}))  # resets are played wrongly
    assert watch(run, "--json", "--out", "slow.mp4") == 0
    said = capsys.readouterr()
    assert "15 pictures a second, not 60: played frame by frame, it is another game from its agent step" in said.err
    found = json.loads(said.out)
    assert facts_of("slow.mp4") == (found["pictures"], 480, 708, 15)
    assert found["pictures"] == len(again(run).moments)


def test_without_pyav_an_animated_webp_is_made(run, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.setitem(sys.modules, "av", None)
    assert watch(run, "--last", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    file = found["file"]
    assert file.endswith(".webp")
    with Image.open(file) as image:
        assert image.size == (320, 472)
        assert image.n_frames > 10
        image.seek(1)
        image.load()
        shown = found["pictures"], found["pictures_per_second"]
        assert shown == (image.n_frames, round(1000 / image.info["duration"]))
    assert watch(run, "--out", "a.mp4") == 2
    assert "needs the package av (PyAV), which is not installed" in capsys.readouterr().err
