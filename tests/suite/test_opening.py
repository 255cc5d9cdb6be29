"""What is asked before a run begins or goes on: its paths, its groups of environments."""

import pytest
import torch
from fault_children import tiny_pinned
from tiny_runs import spec_of

from baselines import registry
from baselines.fast.names import FOURIER, FUSED_BLOCK
from baselines.fast.paths import Paths
from results.manifest import read_manifest
from suite import opening
from suite.opening import RunRefused, _refuse_other_paths, chosen_groups
from suite.plan import groups_problem
from suite.run import RunOptions, execute

SPEC = spec_of("pqn")


def test_a_run_begun_without_a_fast_path_does_not_go_on_with_it(tmp_path):
    """Begun by an earlier version, or on another kind of processor: another path rounds differently."""
    begun = {"fast_paths": [FUSED_BLOCK]}
    _refuse_other_paths(tmp_path, Paths(taken=(FUSED_BLOCK,)), begun)
    with pytest.raises(RunRefused, match=f"was begun without a fast path that is taken here: {FOURIER}; go on where"):
        _refuse_other_paths(tmp_path, Paths(taken=(FUSED_BLOCK, FOURIER)), begun)


def test_a_run_goes_on_only_with_the_layers_on_a_path_that_it_began_with(tmp_path):
    """One layer's proof may fail under another compiler or driver: the rest of the path would hide it."""
    whole, partly = Paths(taken=(FUSED_BLOCK,)), Paths(taken=(FUSED_BLOCK,), missed=(f"{FUSED_BLOCK} in conv2: no",))
    assert partly.partly == (f"{FUSED_BLOCK} in conv2",)
    assert Paths(missed=partly.missed).partly == ()
    begun = {"fast_paths": [FUSED_BLOCK], "fast_paths_partly": []}
    with pytest.raises(RunRefused, match=f"with a fast path that is missing here: {FUSED_BLOCK} in conv2 "):
        _refuse_other_paths(tmp_path, partly, begun)
    with pytest.raises(RunRefused, match=f"without a fast path that is taken here: {FUSED_BLOCK} in conv2; go on"):
        _refuse_other_paths(tmp_path, whole, begun | {"fast_paths_partly": [*partly.partly]})
    for found, at_first in ((whole, []), (partly, [*partly.partly])):
        _refuse_other_paths(tmp_path, found, begun | {"fast_paths_partly": at_first})
        _refuse_other_paths(tmp_path, found, {"fast_paths": [FUSED_BLOCK]})  # from before that was kept


@pytest.mark.parametrize(
    ("options", "state", "groups"),
    [
        ({"device": "cuda", "jobs": 1}, None, None),  # alone: measured
        ({"device": "cuda:1", "jobs": 5}, None, 3),
        ({"device": "cuda", "jobs": 5, "plain": True}, None, None),
        ({"device": "cuda", "jobs": 5, "groups": 2}, None, 2),
        ({"device": "cuda", "jobs": 5}, {"environment_groups": 4}, 4),  # what it had
        ({"device": "cuda", "jobs": 5, "groups": 2}, {"environment_groups": 4}, 2),
        ({"device": "cpu", "jobs": 5}, None, None),
    ],
)
def test_runs_that_share_a_gpu_do_not_measure_how_many_groups_are_fastest(options, state, groups):
    assert chosen_groups(RunOptions(threads=1, emulator_threads=1, **options), state, of_few=None) == groups


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"device": "cuda", "jobs": 1}, 2),
        ({"device": "cuda", "jobs": 5}, 2),
        ({"device": "cuda", "jobs": 1, "groups": 1}, 1),
        ({"device": "cuda", "jobs": 1, "plain": True}, None),
        ({"device": "cpu", "jobs": 1}, None),
    ],
)
def test_on_a_gpu_each_of_few_environments_is_a_group_and_nothing_is_measured(options, groups):
    assert chosen_groups(RunOptions(threads=1, emulator_threads=1, **options), None, of_few=2) == groups


def test_more_groups_than_training_environments_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "load_pinned", tiny_pinned)
    options = RunOptions(device="cpu", threads=1, emulator_threads=1, groups=5)
    with pytest.raises(RunRefused) as refused:
        execute(SPEC, results=tmp_path, options=options, report=lambda _: None, stop_requested=lambda: False)
    assert str(refused.value) == (
        f"{SPEC}: --groups 5 is more than the 4 training environments of pqn; give from 1 to 4, or leave it out"
    )
    assert [path.name for path in (tmp_path / SPEC.directory).iterdir()] == [".lock"]


def test_a_checkpoint_that_the_gpu_has_no_room_for_fails_the_run_with_that_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "load_pinned", tiny_pinned)
    options = RunOptions(device="cpu", threads=1, emulator_threads=1)

    def go(*, stops):
        return execute(SPEC, results=tmp_path, options=options, report=lambda _: None, stop_requested=lambda: stops)

    assert go(stops=True) == "interrupted"

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "load_checkpoint", full)
        with pytest.raises(torch.OutOfMemoryError):
            go(stops=False)
    manifest = read_manifest(tmp_path / SPEC.directory)
    assert manifest["status"] == "failed"
    assert manifest["error"] == {"type": "OutOfMemoryError", "message": "CUDA out of memory"}
    assert go(stops=False) == "done"


def test_groups_say_nothing_to_a_replay_agent():
    config = registry.load_pinned("c51").config
    assert groups_problem("c51", config.train_environments + 1, config) == ""


def test_a_resumed_run_trains_with_the_number_of_threads_it_began_with(tmp_path, monkeypatch):
    """Sums split over threads round differently: with another number it would be another run from there on."""
    monkeypatch.setattr(opening, "load_pinned", tiny_pinned)
    prepare, asked = opening.prepare, []

    def noted(device, *, threads, plain):
        asked.append(threads)
        return prepare(device, threads=1, plain=plain)

    monkeypatch.setattr(opening, "prepare", noted)
    for threads in (1, 2, 3):
        options = RunOptions(device="cpu", threads=threads, emulator_threads=1)
        execute(SPEC, results=tmp_path, options=options, report=lambda _: None, stop_requested=lambda: True)
        assert read_manifest(tmp_path / SPEC.directory)["hardware"]["torch_threads"] == 1
    assert asked == [1, 1, 1]


@pytest.mark.parametrize(
    ("asked_plain", "began_with", "plain"),
    [(False, None, False), (True, None, True), (False, [], True), (True, [FUSED_BLOCK], False)],
)
def test_a_resumed_run_takes_the_path_it_began_with_whatever_is_asked(asked_plain, began_with, plain):
    options = RunOptions(device="cpu", threads=1, emulator_threads=1, plain=asked_plain)
    state = None if began_with is None else {"fast_paths": began_with}
    assert opening._task(SPEC, tiny_pinned("pqn"), options, state).plain is plain
