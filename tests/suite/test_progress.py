import io
import re

import pytest
from fake_runs import FakeStatus, spec_of

from suite import progress
from suite.executors import Outcome
from suite.progress import LiveProgress, PlainProgress, progress_display


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_status_tells_frames_speed_time_left_and_return():
    assert progress.status_line(spec_of(), FakeStatus()) == (
        "pqn Pong 1M seed 0: 25.0 % of 1,000,000 frames, 5,000 frames/s, 2 min left, mean return -20.50"
    )


def test_a_status_without_speed_or_games_leaves_them_out():
    status = FakeStatus(frames=0, frames_per_second=None, mean_return=None)
    assert progress.status_line(spec_of(), status) == "pqn Pong 1M seed 0: 0.0 % of 1,000,000 frames"


def test_replaying_is_not_training():
    status = FakeStatus(phase="retracing", frames=500, total_frames=1000, frames_per_second=None)
    assert progress.status_line(spec_of(), status) == "pqn Pong 1M seed 0: resuming, 50.0 % of its past re-played"


def test_a_pipe_gets_plain_lines_now_and_then():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, 2, clock=clock) as display:
        display.started(spec_of())
        for clock.now in (1.0, 29.0, 31.0, 45.0, 62.0):
            display.status(spec_of(), FakeStatus())
        display.finished(Outcome(spec_of(), "done"))
        display.finished(Outcome(spec_of(1), "failed", "ValueError: no"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "pqn Pong 1M seed 0: started"
    assert [line.split(":")[1].split(" of")[0] for line in lines[1:3]] == [" 25.0 %", " 25.0 %"]
    assert lines[3] == "pqn Pong 1M seed 0: done (1 of 2)"
    assert lines[4].startswith("pqn Pong 1M seed 1: FAILED: ValueError: no")
    assert len(lines) == 5
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (io.StringIO(), "xterm-256color", PlainProgress),
        (Terminal(), "dumb", PlainProgress),
        (Terminal(), "", PlainProgress),
        (Terminal(), "xterm-256color", LiveProgress),
    ],
)
def test_only_a_capable_terminal_gets_the_live_display(monkeypatch, stream, term, kind):
    monkeypatch.setenv("TERM", term)
    assert type(progress_display(stream, 1)) is kind


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-79]|4[0-79]|9[0-7]|[34]8;)[0-9;]*m")


def shown_live(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")  # room for a bar
    stream = Terminal()
    with LiveProgress(stream, 2) as display:
        display.started(spec_of())
        display.status(spec_of(), FakeStatus())
        display.stopping()
        display.finished(Outcome(spec_of(), "failed", "ValueError: [red]no[/red]"))
    return stream.getvalue()


def test_a_terminal_shows_a_bar_in_colour(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown_live(monkeypatch)
    assert COLOUR.search(text)
    assert "FAILED: ValueError: [red]no[/red]" in text
    assert "Ctrl-C again" in text


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(shown_live(monkeypatch))


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        (60, "25.0 %, 2 min left"),
        (80, "25.0 %, 2 min left, mean return -20.50"),
        (100, "25.0 %, 5,000 frames/s, 2 min left, mean return -20.50"),
        (160, "25.0 % of 1,000,000 frames, 5,000 frames/s, 2 min left, mean return -20.50"),
    ],
)
def test_a_narrow_terminal_shows_whole_names_and_fewer_facts(columns, facts, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    spec = spec_of(baseline="hadamax-pqn-bf16", game="NameThisGame")
    stream = Terminal()
    with LiveProgress(stream, 1) as display:
        display.started(spec)
        display.status(spec, FakeStatus())
    *_, line = (
        line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\n") if "seed" in line
    )
    assert line.startswith(f"{spec} ")
    assert line.endswith(f" {facts}")
