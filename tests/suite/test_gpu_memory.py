import dataclasses
import json

import pytest

from baselines.memory_plan import memory_plan
from baselines.registry import load_pinned
from results.schema import RunSpec
from suite import display, gpu_memory
from suite.dry_run import DryRun
from suite.errors import UserError
from suite.gpu_memory import device_bytes, gpu_needs, refuse_crowded_gpus
from suite.host_memory import host_bytes
from suite.plan import wanted_states

GB = 10**9


def specs(baseline="rainbow", count=10, frames=40_000_000):
    return [RunSpec(baseline, "Pong", frames, seed, "0" * 64) for seed in range(count)]


def test_ten_rainbow_runs_do_not_fit_onto_80_gigabytes_and_the_refusal_says_how_many_do():
    """Each keeps a ring of 7 GB in one allocation; all ten used to fail at their start."""
    with pytest.raises(
        UserError, match=r"cuda:0: 10 runs at once need about .* GB, 80.0 GB are free; 9 fit: give --jobs 9"
    ):
        refuse_crowded_gpus(specs(), ["cuda:0"] * 10, free=lambda device: 80 * GB)
    refuse_crowded_gpus(specs(), ["cuda:0"] * 9, free=lambda device: 80 * GB)


def test_jobs_are_counted_gpu_by_gpu_and_runs_that_wait_are_not():
    refuse_crowded_gpus(specs(count=30), ["cuda:0", "cuda:1"] * 2, free=lambda device: 20 * GB)
    with pytest.raises(UserError, match=r"cuda:1: 2 runs at once need .* 1 fit: give --jobs 2"):
        refuse_crowded_gpus(specs(), ["cuda:0", "cuda:1"] * 2, free={"cuda:0": 20 * GB, "cuda:1": 10 * GB}.get)


def test_the_largest_runs_count_for_any_may_meet_any():
    mixed = [*specs("pqn", 5), *specs("rainbow", 2)]
    with pytest.raises(UserError, match="1 fit"):
        refuse_crowded_gpus(mixed, ["cuda"] * 2, free=lambda device: 12 * GB)


def test_a_gpu_that_is_full_is_told_so():
    with pytest.raises(UserError, match="not even the largest run alone fits"):
        refuse_crowded_gpus(specs(count=1), ["cuda"], free=lambda device: GB)


def test_nothing_is_asked_where_a_cpu_learns_and_a_silent_gpu_is_let_pass():
    refuse_crowded_gpus(specs(), ["cpu"] * 10, free=lambda device: pytest.fail("a CPU was asked"))
    refuse_crowded_gpus(specs(), ["cuda"] * 10, free=lambda device: None)


def test_a_machine_without_gpu_answers_that_it_does_not_know(monkeypatch):
    assert gpu_memory.free_bytes("cuda:9") is None


@pytest.mark.parametrize("baseline", ["pqn", "hadamax-pqn", "c51", "hadamax-c51", "rainbow"])
def test_a_gpu_holds_frames_and_learner_and_the_host_the_rest(baseline):
    (spec,) = specs(baseline, 1)
    plan = memory_plan(load_pinned(baseline).config, spec.frames)
    assert host_bytes(spec, on_gpu=False) == plan.total == sum(dataclasses.astuple(plan)) - plan.graphs
    assert host_bytes(spec, on_gpu=True) == plan.total - plan.frames - plan.learner
    assert device_bytes(spec) > plan.frames + plan.learner + plan.graphs
    assert plan.frames + plan.learner > 100_000_000


def dry_run(tmp_path, free, jobs=4):
    runs = specs(count=6)
    gpus = gpu_needs(runs, ["cuda:0", "cuda:1"] * (jobs // 2), free=lambda device: free)
    return DryRun.of(wanted_states(runs, tmp_path), tmp_path, jobs=jobs, device="cuda", gpus=gpus)


def test_a_dry_run_says_what_the_jobs_need_of_each_gpu_what_is_free_and_how_many_fit(tmp_path):
    text = dry_run(tmp_path, 80 * GB).as_text(rows=False)
    lines = [line for line in text.splitlines() if line.startswith("GPU:")]
    needed = display.size(2 * device_bytes(specs()[0]))
    assert lines == [
        f"GPU:    cuda:{number}: 2 runs at once need about {needed}, 80.0 GB are free; 6 fit" for number in (0, 1)
    ]
    told = json.loads(dry_run(tmp_path, 80 * GB).as_json())["gpus"]
    assert told[0] == {
        "device": "cuda:0",
        "jobs": 2,
        "needed": 2 * device_bytes(specs()[0]),
        "free": 80 * GB,
        "fit": 6,
    }


def test_a_dry_run_of_jobs_that_do_not_fit_says_that_they_would_be_refused(tmp_path):
    text = dry_run(tmp_path, 10 * GB).as_text(rows=False)
    assert "10.0 GB are free; 1 fit (the command would be refused)" in text


def test_a_dry_run_without_a_gpu_tells_of_none_and_a_silent_one_is_said_to_be_so(tmp_path):
    assert gpu_needs(specs(), ["cpu"] * 3) == []
    assert gpu_needs([], ["cuda:0"]) == []
    assert "how much is free could not be learned" in dry_run(tmp_path, None).as_text(rows=False)
