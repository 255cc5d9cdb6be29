import pytest
import torch
from fused import require_native
from recorded_on_a_cpu import recorded_on_a_cpu

from baselines.fast import fused_block
from baselines.fast.paths import FUSED_BLOCK, UPDATE_GRAPH
from baselines.path_trials import trials, update_trial

CPU = torch.device("cpu")
BLOCKS = [
    f"{FUSED_BLOCK}, {network} in {precision}"
    for network in ("Hadamax-PQN", "Hadamax-C51")
    for precision in ("float32", "bf16")
]


def test_a_cpu_proves_its_blocks_and_says_how_much_faster_they_are():
    require_native()
    found = list(trials(CPU))
    assert [trial.name for trial in found] == BLOCKS
    assert [trial.why_not for trial in found] == [None] * 4
    assert all(trial.speed_up is not None for trial in found)


def test_a_machine_without_compiler_says_so_for_every_block(monkeypatch):
    monkeypatch.setattr(fused_block.native, "why_not", lambda: "no C++ compiler was found")
    found = list(trials(CPU))
    assert [(trial.name, trial.why_not, trial.speed_up) for trial in found] == [
        (name, "no C++ compiler was found", None) for name in BLOCKS
    ]


def test_pqns_recorded_step_is_proven_and_timed():
    trial = update_trial(CPU, recorded_on_a_cpu)
    assert trial.name == UPDATE_GRAPH
    assert trial.why_not is None
    assert trial.speed_up is not None


def test_a_graph_that_cannot_be_recorded_is_a_row_and_no_crash():
    def record(work, inputs, undo):
        raise RuntimeError("no kernel image is available")

    trial = update_trial(CPU, record)
    assert trial.why_not == "RuntimeError: no kernel image is available"
    assert trial.speed_up is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_a_gpu_that_fails_at_everything_is_told_row_by_row():
    found = list(trials(torch.device("cuda")))
    assert len(found) == 6
    assert not any(trial.proven for trial in found)
    assert all(trial.why_not for trial in found)
