import numpy as np
import pytest

from baselines.agent import FinishedGame, Progress
from suite.recorder import Recorder


def progress(frames, games=(), **metrics):
    return Progress(frames, frames, np.zeros((1, 1), dtype=np.uint8), tuple(games), metrics)


def game(score, *, kind="train", frames=1):
    return FinishedGame(frames, 0, score, 10, kind, "game_over")


def rows(recorder, name):
    return [(frames, value) for frames, found, value in recorder.metrics if found == name]


def test_metrics_are_means_over_half_a_per_cent_of_the_budget():
    recorder = Recorder(total_frames=400)  # a row each 2 frames
    for frames, loss in [(1, 1.0), (2, 3.0), (3, 5.0), (4, 9.0)]:
        recorder.add(progress(frames, loss=loss), seconds=1.0)
    assert rows(recorder, "loss") == [(2, 2.0), (4, 7.0)]


def test_a_metric_missing_from_some_updates_is_averaged_over_those_that_had_it():
    recorder = Recorder(total_frames=400)
    recorder.add(progress(1, epsilon=1.0), seconds=1.0)
    recorder.add(progress(2, epsilon=0.5, loss=6.0), seconds=1.0)
    assert rows(recorder, "loss") == [(2, 6.0)]
    assert rows(recorder, "epsilon") == [(2, 0.75)]


def test_timing_counts_frames_a_second_since_the_row_before():
    recorder = Recorder(total_frames=400)
    for frames, seconds in [(1, 1.0), (2, 1.0), (3, 0.25), (4, 0.25)]:
        recorder.add(progress(frames), seconds=seconds)
    assert recorder.timing == [(2, 2.0, 1.0), (4, 2.5, 4.0)]


@pytest.mark.parametrize(
    ("updates", "times", "first"), [(1, 1, 1), (2, 1, 2), (9, 3, 3), (244, 81, 4), (1000, 100, 10)]
)
def test_diagnostics_are_due_each_per_cent_and_at_most_every_third_update(updates, times, first):
    update = 16_384
    recorder = Recorder(total_frames=updates * update)
    due = []
    for done in range(1, updates + 1):
        before = recorder.frames
        recorder.add(progress(done * update), seconds=1.0)
        if recorder.diagnostics_due(before):
            due.append(done)
    assert (len(due), due[0], due[-1]) == (times, first, updates)
    assert len(due) == 1 or min(np.diff(due)) >= 3


def test_the_score_is_the_mean_of_the_last_hundred_games_of_its_kind():
    recorder = Recorder(total_frames=10)
    assert recorder.score()["train"] == {"mean": None, "games": 0}
    recorder.add_games([game(1000.0)] + [game(1.0)] * 60 + [game(7.0, kind="greedy")] + [game(2.0)] * 40)
    assert recorder.score() == {
        "train": {"mean": pytest.approx(1.4), "games": 100},
        "greedy": {"mean": 7.0, "games": 1},
    }


def test_a_restored_recorder_goes_on_as_if_never_stopped():
    updates = [progress(frames, loss=float(frames)) for frames in range(1, 8)]
    whole = Recorder(total_frames=400)
    for update in updates:
        whole.add(update, seconds=1.0)
    first = Recorder(total_frames=400)
    for update in updates[:3]:  # in the middle of a row
        first.add(update, seconds=1.0)
    second = Recorder(total_frames=400)
    second.load_state_dict(first.state_dict())
    for update in updates[3:]:
        second.add(update, seconds=1.0)
    assert second.metrics == whole.metrics
    assert second.timing == whole.timing


def test_processor_time_is_kept_beside_the_clocks_and_goes_on_after_a_resume():
    """Claims about costs rest on it: of a resumed run the last part alone would be counted, over the frames of all."""
    first, second = Recorder(total_frames=400), Recorder(total_frames=400)
    first.add(progress(1), seconds=1.0, cpu_seconds=2.5)
    second.load_state_dict(first.state_dict())
    second.add(progress(2), seconds=2.0, cpu_seconds=0.75)
    assert (second.elapsed_seconds, second.cpu_seconds) == (3.0, 3.25)


def test_processor_time_of_a_run_begun_before_it_was_measured_stays_unknown():
    old, resumed = Recorder(total_frames=400).state_dict(), Recorder(total_frames=400)
    del old["cpu_seconds"]
    resumed.load_state_dict(old)
    resumed.add(progress(1), seconds=1.0, cpu_seconds=1.0)
    assert resumed.cpu_seconds is None
    assert resumed.state_dict()["cpu_seconds"] is None


@pytest.mark.parametrize(
    ("total_frames", "due"),
    [
        (400_000, []),
        (1_998_848, [1_998_848]),
        (3_997_696, [1_998_848, 3_997_696]),
        (39_993_344, [7_998_669, 15_997_338, 23_996_007, 31_994_676, 39_993_344]),
    ],
)
def test_ranks_over_a_large_sample_are_due_at_few_marks_and_at_the_end(total_frames, due):
    update = 16_384
    recorder = Recorder(total_frames)
    found = []
    for frames in [*range(update, total_frames, update), total_frames]:
        before = recorder.frames
        recorder.add(progress(frames), seconds=1.0)
        if recorder.ranks_due(before):
            found.append(frames)
    assert len(found) == len(due)
    assert all(mark <= frames < mark + update for mark, frames in zip(due, found, strict=True))
