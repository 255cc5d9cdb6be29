import pytest
import torch
from fused import require_native
from recorded_on_a_cpu import recorded_on_a_cpu

from baselines import path_trials
from baselines.fast import fused_block
from baselines.fast.names import (
    ACTING_GRAPH,
    EPOCH_GRAPH,
    FOURIER,
    FUSED_BLOCK,
    FUSED_INPUT,
    FUSED_NORM,
    KEPT_MEMORY,
    ROLLOUT_GRAPH,
    UPDATE_GRAPH,
)
from baselines.path_trials import epoch_trial, missing_paths, trials, update_trial
from suite.device_checks import check_paths

CPU = torch.device("cpu")
HADAMAX_ON_CPU = [
    f"{path}, {network} in {precision}"
    for path in (FUSED_BLOCK, FOURIER)
    for network in ("Hadamax-PQN", "Hadamax-C51")
    for precision in ("float32", "bf16")
]
ON_CPU = HADAMAX_ON_CPU + [
    path
    for precision in ("float32", "bf16")
    for path in (f"{FUSED_INPUT}, in {precision}", f"{FUSED_NORM}, PQN in {precision}")
]


@pytest.fixture
def no_bf16(monkeypatch):
    """A processor whose bf16 convolutions are by Fourier transforms too."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"}, raising=False)


def test_a_cpu_proves_its_paths_and_says_how_much_faster_they_are(no_bf16):
    require_native()
    found = list(trials(CPU))
    assert [trial.name for trial in found] == ON_CPU
    assert [trial.why_not for trial in found] == [None] * len(ON_CPU)
    assert all(trial.speed_up is not None for trial in found)


def test_a_machine_without_compiler_says_so_for_every_path(no_bf16, monkeypatch):
    monkeypatch.setattr(fused_block.native, "why_not", lambda *_: "no C++ compiler was found")
    found = list(trials(CPU))
    assert [(trial.name, trial.why_not, trial.speed_up) for trial in found] == [
        (name, "no C++ compiler was found", None) for name in ON_CPU
    ]


@pytest.mark.parametrize(("trial_of", "name"), [(update_trial, UPDATE_GRAPH), (epoch_trial, EPOCH_GRAPH)])
def test_pqns_recorded_learning_is_proven_and_timed(trial_of, name):
    trial = trial_of(CPU, recorded_on_a_cpu)
    assert trial.name == name
    assert trial.why_not is None
    assert trial.speed_up is not None
    assert trial_of(CPU, recorded_on_a_cpu, timed=False).speed_up is None


@pytest.mark.parametrize("trial_of", [update_trial, epoch_trial])
def test_a_graph_that_cannot_be_recorded_is_a_row_and_no_crash(trial_of):
    def record(work, inputs, undo):
        raise RuntimeError("no kernel image is available")

    trial = trial_of(CPU, record)
    assert trial.why_not == "RuntimeError: no kernel image is available"
    assert trial.speed_up is None


def test_a_gpu_is_timed_by_replaying_what_was_recorded(monkeypatch):
    calls = []

    def factor(slow, quick, device):
        calls.clear()
        slow(), quick()
        return 2.0

    monkeypatch.setattr(path_trials, "speed_up", factor)
    plain, fast = (lambda: calls.append("plain")), (lambda: calls.append("fast"))
    trial = path_trials._timed("a path", plain, fast, torch.device("cuda"), recorded_on_a_cpu)
    assert (trial.why_not, trial.speed_up, trial.why_untimed) == (None, 2.0, None)
    assert calls == ["plain", "fast"]


def test_a_proven_path_that_a_gpu_can_not_time_says_why(monkeypatch):
    def record(work, inputs, undo):
        raise RuntimeError("operation not permitted when stream is capturing")

    trial = path_trials._timed("a path", lambda: None, lambda: None, torch.device("cuda"), record)
    assert trial.proven
    assert (trial.speed_up, trial.why_untimed.split(":")[0]) == (None, "RuntimeError")
    monkeypatch.setattr(path_trials, "trials", lambda _device: [trial])
    (row,) = check_paths("cuda")
    assert row.passed
    assert row.detail.startswith("a path: proven; its speed could not be measured: RuntimeError: operation not")


def test_an_epoch_that_keeps_its_first_order_for_ever_is_noticed():
    def keeps_its_inputs(work, inputs, undo):
        return recorded_on_a_cpu(work, [tensor.clone() for tensor in inputs], undo)

    assert epoch_trial(CPU, keeps_its_inputs).why_not.startswith("its outputs are off by")


def test_only_the_paths_that_a_baseline_takes_are_told(no_bf16, monkeypatch):
    monkeypatch.setattr(fused_block.native, "why_not", lambda *_: "no C++ compiler was found")
    monkeypatch.setattr(path_trials, "why_not_kept", lambda: None)
    missing = "no C++ compiler was found"
    assert missing_paths("cpu", ["c51", "rainbow"]) == [f"{FUSED_INPUT}, in float32: {missing}"]
    between = [f"{FUSED_INPUT}, in float32: {missing}", f"{FUSED_NORM}, PQN in float32: {missing}"]
    assert missing_paths("cpu", ["pqn"]) == between
    assert missing_paths("cpu", ["pqn", "hadamax-pqn"]) == [
        *(f"{path}, Hadamax-PQN in float32: {missing}" for path in (FUSED_BLOCK, FOURIER)),
        *between,
    ]
    assert missing_paths("cpu", ["hadamax-c51-bf16"]) == [
        *(f"{path}, Hadamax-C51 in bf16: {missing}" for path in (FUSED_BLOCK, FOURIER)),
        f"{FUSED_INPUT}, in bf16: {missing}",
    ]
    monkeypatch.setattr(path_trials, "why_not_kept", lambda: "no switch")
    assert missing_paths("cpu", ["c51"])[-1] == f"{KEPT_MEMORY}: no switch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_every_path_of_a_baseline_on_a_gpu_is_told_and_no_other():
    found = [line.partition(": ")[0] for line in missing_paths("cuda", ["pqn-bf16"])]
    assert found == [f"{FUSED_INPUT}, in bf16", f"{FUSED_NORM}, PQN in bf16", EPOCH_GRAPH, ROLLOUT_GRAPH]
    assert [line.partition(": ")[0] for line in missing_paths("cuda", ["rainbow"])] == [
        *(f"{FUSED_INPUT}, in float32", UPDATE_GRAPH, ACTING_GRAPH)
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_a_gpu_that_fails_at_everything_is_told_row_by_row():
    found = list(trials(torch.device("cuda")))
    assert len(found) == 4 + 4 + 2 + 2 + 4  # blocks, one convolution, input, norm, graphs
    assert not any(trial.proven for trial in found)
    assert all(trial.why_not for trial in found)


@pytest.mark.gpu
def test_every_path_proves_itself_on_a_gpu(cuda):
    found = list(trials(cuda))
    assert {trial.name: trial.why_not for trial in found if trial.why_not is not None} == {}
    assert {trial.name: trial.why_untimed for trial in found if trial.why_untimed is not None} == {}
