import pytest
import torch
from fused import require_native
from recorded_on_a_cpu import recorded_on_a_cpu

from baselines.fast import fused_block
from baselines.fast.paths import FUSED_BLOCK, UPDATE_GRAPH
from baselines.path_proofs import proofs, update_proof

CPU = torch.device("cpu")
BLOCKS = [
    f"{FUSED_BLOCK}, {network} in {precision}"
    for network in ("Hadamax-PQN", "Hadamax-C51")
    for precision in ("float32", "bf16")
]


def test_a_cpu_proves_its_blocks_and_says_how_much_faster_they_are():
    require_native()
    found = list(proofs(CPU))
    assert [proof.name for proof in found] == BLOCKS
    assert [proof.why_not for proof in found] == [None] * 4
    assert all(proof.speed_up > 1 for proof in found)


def test_a_machine_without_compiler_says_so_for_every_block(monkeypatch):
    monkeypatch.setattr(fused_block.native, "why_not", lambda: "no C++ compiler was found")
    found = list(proofs(CPU))
    assert [(proof.name, proof.why_not, proof.speed_up) for proof in found] == [
        (name, "no C++ compiler was found", None) for name in BLOCKS
    ]


def test_pqns_recorded_step_is_proven_and_timed():
    proof = update_proof(CPU, recorded_on_a_cpu)
    assert proof.name == UPDATE_GRAPH
    assert proof.why_not is None
    assert proof.speed_up > 0.3  # the stand-in gains nothing


def test_a_graph_that_cannot_be_recorded_is_a_row_and_no_crash():
    def record(work, inputs, undo):
        raise RuntimeError("no kernel image is available")

    proof = update_proof(CPU, record)
    assert proof.why_not == "RuntimeError: no kernel image is available"
    assert proof.speed_up is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_a_gpu_that_fails_at_everything_is_told_row_by_row():
    found = list(proofs(torch.device("cuda")))
    assert len(found) == 6
    assert not any(proof.proven for proof in found)
    assert all(proof.why_not for proof in found)
