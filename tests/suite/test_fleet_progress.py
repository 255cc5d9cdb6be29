"""What is shown of many runs at once."""

import io

from fake_runs import FakeStatus, spec_of

from suite.executors import Outcome
from suite.fleet_progress import Fleet, FleetProgress


def test_a_line_adds_up_all_runs():
    specs = [spec_of(seed) for seed in range(4)]
    fleet = Fleet({spec: spec.frames for spec in specs})
    for spec in specs[:3]:
        fleet.started(spec)
    fleet.status(specs[0], FakeStatus(frames=500_000.0))
    fleet.status(specs[1], FakeStatus(frames=0.0))
    fleet.finished(Outcome(specs[2], "failed", "no space"))
    # 4M frames less 1M (ended) and 0.5M (under way) at 10,000 a second
    assert fleet.line() == ("1 of 4 runs ended, 1 failed, 2 under way, 10,000 frames/s in total, about 4 min left")


def test_frames_of_an_earlier_life_do_not_count_twice():
    spec = spec_of()
    fleet = Fleet({spec: 600_000})  # 400k of 1M were done before
    fleet.started(spec)
    fleet.status(spec, FakeStatus(frames=500_000.0, frames_per_second=5_000.0))
    assert fleet.seconds_left == 100.0


def test_a_run_that_retraces_has_no_speed_yet():
    fleet = Fleet({spec_of(): 1_000_000})
    fleet.started(spec_of())
    fleet.status(spec_of(), FakeStatus(phase="retracing"))
    assert fleet.seconds_left is None


def test_1425_runs_give_a_line_each_half_minute_and_one_for_each_failure():
    clock = [0.0]
    stream = io.StringIO()
    specs = [spec_of(seed) for seed in range(1425)]
    with FleetProgress(stream, {spec: spec.frames for spec in specs}, clock=lambda: clock[0]) as progress:
        for spec in specs:
            clock[0] += 0.1
            progress.started(spec)
            progress.status(spec, FakeStatus())
            progress.finished(Outcome(spec, "failed" if spec.seed == 7 else "done", "it broke"))
    lines = stream.getvalue().splitlines()
    assert sum("FAILED: it broke" in line for line in lines) == 1
    assert len(lines) == 1 + 142 // 30 + 1  # in 142 seconds; one at the end
    assert lines[-1] == "1,425 of 1,425 runs ended, 1 failed, 0 under way"
