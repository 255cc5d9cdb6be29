"""Clips in reports, of a real run of a few seconds."""

import dataclasses
import sys

import pytest
from played_runs import copied, play, with_games

from reports.build import build
from suite import cli
from suite import clips as module
from suite.catalogue import catalogue
from suite.clips import MAX_BYTES, best_part, make_clips, plan_clips
from suite.stage_progress import StageProgress

pytest.importorskip("av")
UNPINNED = dataclasses.replace(catalogue(), baselines=())  # the tiny runs here are of no pinned configuration


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return play(tmp_path_factory.mktemp("clipped"))


@pytest.fixture
def results(played, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_SECONDS", (1,))
    copied(played, tmp_path / "runs")
    return tmp_path / "runs"


def made(results, catalogue=UNPINNED, processes=1):
    return make_clips(plan_clips([results], catalogue), StageProgress(sys.stderr), processes)


def test_the_best_part_is_where_most_points_are_made():
    assert best_part([0.0, 0, 5, 5, 0, 0, 1], 2) == (2, 4)
    assert best_part([0.0, 0, 0, 1, 0, 0, 0], 3) == (2, 5)  # of three such stretches the middle one
    assert best_part([0.0, -1, 0, 0], 2) == (2, 4)  # nothing is won: the end
    assert best_part([1.0, 1], 5) == (0, 2)


def test_a_report_shows_the_clip_and_a_second_one_makes_nothing_anew(results, tmp_path, monkeypatch):
    first = made(results)
    (clip,) = first.clips
    assert (clip.game, clip.baseline, clip.kind) == ("Breakout", "pqn", "greedy")
    assert 0 < len(clip.video) <= MAX_BYTES
    assert clip.poster.startswith(b"\x89PNG")
    site = build(results=results, out=tmp_path / "html", catalogue=UNPINNED, clips=first).index.parent
    page = (site / "games/Breakout.html").read_text()
    assert 'preload="none"' in page
    assert 'poster="../clips/Breakout/pqn.png"' in page
    assert "autoplay" not in page
    assert (site / "clips/Breakout/pqn.webm").read_bytes() == clip.video
    assert "Watch it play" not in (site / "games/Pong.html").read_text()

    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("it was made already"))
    assert made(results) == first


def test_a_damaged_entry_of_the_cache_is_made_anew(results, tmp_path):
    first = made(results)
    (entry,) = (tmp_path / "cache").rglob("*.clip")
    entry.write_bytes(entry.read_bytes()[:-5])
    assert made(results) == first


def test_another_game_is_another_entry(played, results, tmp_path):
    made(results)
    with_games(copied(played, tmp_path / "other"), lambda games: games.iloc[: len(games) // 2])
    made(tmp_path / "other")
    assert len(list((tmp_path / "cache").rglob("*.clip"))) == 2


def test_a_run_whose_games_are_others_gets_no_clip_and_is_named(played, tmp_path, results):
    def raised(games):
        games.loc[games["kind"] == "greedy", "episode_return"] += 100
        return games

    with_games(copied(played, tmp_path / "forged"), raised)
    found = made(tmp_path / "forged")
    assert found.clips == ()
    (line,) = found.without["Breakout"]
    assert line.startswith("No clip of pqn Breakout 5120 seed 0: greedy environment")
    site = build(results=tmp_path / "forged", out=tmp_path / "html", catalogue=UNPINNED, clips=found).index.parent
    assert "No clip of pqn Breakout" in (site / "games/Breakout.html").read_text()


def test_a_run_of_another_configuration_gets_no_clip(results):
    assert made(results, catalogue()).clips == ()


def test_without_pyav_a_sentence_says_what_to_install(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    found = made(results)
    assert found.clips == ()
    site = build(results=results, out=tmp_path / "html", catalogue=UNPINNED, clips=found).index.parent
    page = (site / "games/Breakout.html").read_text()
    assert "Clips of games need PyAV and Pillow" in page
    assert "<video" not in page


def test_clips_can_be_left_out(results, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("it was left out"))
    assert cli.main(["report", "--results", str(results), "--out", str(tmp_path / "html"), "--no-clips"]) == 0
    assert not (tmp_path / "html/clips").exists()


def test_several_are_made_at_once_and_each_is_kept(results, tmp_path):
    play(results, game="Asterix")
    found = made(results, processes=2)
    assert {(clip.baseline, clip.game) for clip in found.clips} == {("pqn", "Breakout"), ("pqn", "Asterix")}
    assert len(list((tmp_path / "cache").rglob("*.clip"))) == 2
    assert plan_clips([results], UNPINNED).clips == found
    assert found.clips == made(results).clips


def test_the_report_is_there_before_its_clips(results, tmp_path, monkeypatch, capsys):
    real = catalogue
    monkeypatch.setattr("suite.catalogue.catalogue", lambda name="paper": dataclasses.replace(real(name), baselines=()))
    out = tmp_path / "html"
    report = ["report", "--results", str(results), "--out", str(out)]

    def stopped(*_):
        assert (out / "games/Breakout.html").exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_make", stopped)
        assert cli.main(report) == cli.INTERRUPTED
    told = capsys.readouterr().err
    assert f"the report is there: {out / 'index.html'}\nit gets 1 clip of games now" in told
    assert "stopped: the report stands, without the clips that were missing" in told
    assert "<video" not in (out / "games/Breakout.html").read_text()

    assert cli.main(report) == 0
    assert "<video" in (out / "games/Breakout.html").read_text()
    assert "the report is there" in capsys.readouterr().err
    assert cli.main([*report, "--anew"]) == 0  # from what is kept
    assert "the report is there" not in capsys.readouterr().err
