import dataclasses

import pytest

from baselines.memory_plan import memory_plan
from baselines.registry import load_pinned
from results.schema import RunSpec
from suite import gpu_memory
from suite.errors import UserError
from suite.estimate import memory_bytes
from suite.gpu_memory import device_bytes, refuse_crowded_gpus

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
    assert memory_bytes(spec) == plan.total == sum(dataclasses.astuple(plan))
    assert device_bytes(spec) > plan.frames + plan.learner
    assert plan.frames + plan.learner > 100_000_000
