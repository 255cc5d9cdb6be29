"""What is asked before a run begins or goes on: its paths, its groups of environments."""

import pytest

from baselines.fast.paths import FOURIER, FUSED_BLOCK, Paths
from suite.opening import RunRefused, _groups, _refuse_other_paths
from suite.run import RunOptions


def test_a_run_begun_without_a_fast_path_does_not_go_on_with_it(tmp_path):
    """Begun by an earlier version, or on another kind of processor: another path rounds differently."""
    begun = {"fast_paths": [FUSED_BLOCK]}
    _refuse_other_paths(tmp_path, Paths(taken=(FUSED_BLOCK,)), begun)
    with pytest.raises(RunRefused, match=f"was begun without a fast path that is taken here: {FOURIER}; go on where"):
        _refuse_other_paths(tmp_path, Paths(taken=(FUSED_BLOCK, FOURIER)), begun)


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
    assert _groups(RunOptions(threads=1, emulator_threads=1, **options), state) == groups
