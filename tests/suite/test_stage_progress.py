"""What the progress of a command's stages says, and when."""

import io

import pytest

from suite.stage_progress import StageProgress


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    stream = io.StringIO()
    progress = StageProgress(stream, clock=clock)
    progress.lines = lambda: stream.getvalue().splitlines()
    return progress


def test_the_time_that_is_left_does_not_count_what_happens_before_the_first_step(clock, progress):
    progress.stage("playing", 1000)
    clock.seconds = 60.0  # an emulator starts
    progress.tick(10)
    clock.seconds = 80.0
    progress.tick(210)
    assert progress.lines() == ["playing: 1.0 %", "playing: 21.0 %, about 79 s left"]


def test_every_stage_has_its_own_speed(clock, progress):
    for done in (0, 10):
        progress.tell("first", done, 20)
        clock.seconds += 100.0
    progress.tell("second", 0, 4)
    clock.seconds += 20.0
    progress.tell("second", 1, 4)
    assert progress.lines() == ["first: 50.0 %, about 2 min left", "second: 25.0 %, about 60 s left"]


def test_off_a_terminal_a_line_comes_every_15_seconds_at_most(clock, progress):
    progress.stage("playing", 100)
    for done in range(1, 41):
        clock.seconds += 1.0
        progress.tick(done)
    assert [line.split(",")[0] for line in progress.lines()] == ["playing: 15.0 %", "playing: 30.0 %"]
