import pytest
from stored_runs import store_run

from results.store import scan
from suite.estimate import at_once, estimate, measured_speeds
from suite.host_memory import host_bytes
from suite.plan import plan_runs, wanted_states


def needed(results, *, baselines=("pqn",), seeds=(0, 1), jobs=1, device="cpu", frames=200_000):
    states = wanted_states(plan_runs(baselines, ["Pong"], frames, seeds), results)
    return estimate(states, scan(results), jobs=jobs, device=device)


def test_time_comes_from_runs_of_the_same_baseline_on_the_same_kind_of_device(tmp_path):
    for seed, speed in ((7, 1000.0), (8, 3000.0), (9, 2000.0)):
        store_run(tmp_path, seed=seed, frames_per_second=speed)
    store_run(tmp_path, seed=6, frames_per_second=1.0, hardware={"device": "cuda", "cpu": "", "gpu": "H200"})
    assert measured_speeds(scan(tmp_path), "cpu") == {"pqn": 2000.0}
    assert measured_speeds(scan(tmp_path), "cuda") == {"pqn": 1.0}
    assert needed(tmp_path).seconds == pytest.approx(2 * 200_000 / 2000)
    assert needed(tmp_path, jobs=2).seconds == pytest.approx(200_000 / 2000)
    assert needed(tmp_path, jobs=4).seconds == pytest.approx(200_000 / 2000)  # a run is never split


def test_what_is_done_is_not_counted_and_what_is_part_done_only_for_its_rest(tmp_path):
    store_run(tmp_path, seed=0, frames_per_second=1000.0)
    store_run(tmp_path, seed=1, frames_per_second=1000.0, status="interrupted", finished_at=None, frames_done=150_000)
    found = needed(tmp_path)
    assert found.runs == 1
    assert found.seconds == pytest.approx(50.0)


def test_a_run_beside_other_work_is_as_fast_as_its_processor_time_says(tmp_path):
    busy = {"frames_per_second": 1000.0, "frames_done": 200_000}  # 200 s on the wall
    store_run(tmp_path, seed=7, cpu_seconds=50.0, **busy)
    assert measured_speeds(scan(tmp_path), "cpu") == {"pqn": 4000.0}
    store_run(tmp_path, baseline="c51", cpu_seconds=800.0, **busy)  # of four threads: no clock but the wall's
    assert measured_speeds(scan(tmp_path), "cpu")["c51"] == 1000.0
    on_a_gpu = {"device": "cuda", "cpu": "", "gpu": "H200"}
    store_run(tmp_path, baseline="rainbow", cpu_seconds=50.0, hardware=on_a_gpu, **busy)  # the GPU took the rest
    assert measured_speeds(scan(tmp_path), "cuda") == {"rainbow": 1000.0}


def test_no_time_is_made_up_where_a_baseline_has_no_measured_speed(tmp_path):
    found = needed(tmp_path, baselines=("pqn", "hadamax-pqn"))
    assert (found.seconds, found.runs_unmeasured) == (None, 4)
    store_run(tmp_path, seed=9, frames_per_second=1000.0)
    found = needed(tmp_path, baselines=("pqn", "hadamax-pqn"))
    assert found.seconds == needed(tmp_path).seconds == pytest.approx(400.0)
    assert (found.unmeasured, found.runs_unmeasured) == (("hadamax-pqn",), 2)
    assert found.speeds == {"pqn": 1000.0}


def test_nothing_left_needs_nothing(tmp_path):
    store_run(tmp_path)
    found = needed(tmp_path, seeds=(0,))
    assert (found.runs, found.frames, found.disk_bytes, found.memory_bytes, found.seconds) == (0, 0, 0, 0, None)


def test_disk_holds_a_byte_for_every_action_of_every_environment(tmp_path):
    small, large = (needed(tmp_path, seeds=(0,), frames=frames).disk_bytes for frames in (4_000_000, 44_000_000))
    assert large - small == 10_000_000 * 136 / 128  # 40M frames more; 8 greedy environments beside 128


def test_disk_has_room_for_the_spare_checkpoints_of_the_runs_that_train(tmp_path):
    one, two = (needed(tmp_path, seeds=(0, 1, 2), jobs=jobs).disk_bytes for jobs in (1, 2))
    assert two - one == 2 * 60_000_000  # an older one and one being written, of one run more


def test_memory_is_that_of_the_runs_that_run_at_once(tmp_path):
    one = needed(tmp_path).memory_bytes
    assert needed(tmp_path, jobs=2).memory_bytes == 2 * one
    assert needed(tmp_path, jobs=3).memory_bytes == 2 * one  # there are only two
    assert needed(tmp_path, device="cuda").memory_bytes < one  # frames and learner lie on the GPU


@pytest.mark.parametrize(
    ("baseline", "least", "most"),
    # Measured peaks: 0.95 and 2.04 GB. A million transitions are 7.06 GB of frames.
    [("pqn", 0.95e9, 1.2e9), ("hadamax-pqn", 2.04e9, 2.4e9), ("c51", 7.06e9, 9e9), ("rainbow", 7.06e9, 9e9)],
)
def test_memory_is_near_what_was_measured(tmp_path, baseline, least, most):
    assert least < needed(tmp_path, baselines=(baseline,), frames=40_000_000).memory_bytes < most


@pytest.mark.parametrize(
    ("runs", "cores", "runs_in_memory", "threads", "wanted"),
    [
        pytest.param(10, 8, 100, None, 8, id="a run a core"),
        pytest.param(3, 8, 100, None, 3, id="no more than there are"),
        pytest.param(10, 8, 5, None, 5, id="no more than memory holds"),
        pytest.param(10, 8, 100, 3, 2, id="runs of three threads"),
        pytest.param(10, 2, 100, 16, 1, id="more threads than cores"),
        pytest.param(10, 8, 0, None, 1, id="one at least: run refuses what can't be"),
        pytest.param(0, 8, 100, None, 1, id="nothing left"),
    ],
)
def test_a_cpu_takes_as_many_runs_at_once_as_it_can(monkeypatch, runs, cores, runs_in_memory, threads, wanted):
    specs = plan_runs(["pqn"], ["Pong"], 200_000, range(runs))
    one = host_bytes(plan_runs(["pqn"], ["Pong"], 200_000, [0])[0], on_gpu=False)
    monkeypatch.setattr("suite.estimate.available_cores", lambda: cores)
    monkeypatch.setattr("suite.estimate.free_bytes", lambda: one * runs_in_memory + one // 2)
    assert at_once(specs, ["cpu"], threads=threads) == wanted


def test_a_gpu_takes_one_run_at_once():
    specs = plan_runs(["pqn"], ["Pong"], 200_000, range(10))
    assert at_once(specs, ["cuda:0", "cuda:1"], threads=None) == 2
