import subprocess

import pytest
import torch
from checkouts import checkout_of

from suite import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of one commit, taken for the suite's own."""
    monkeypatch.setattr(provenance, "_CHECKOUT", checkout_of(tmp_path))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    return tmp_path, head.stdout.strip()


@pytest.mark.parametrize("results", ["results/runs", "elsewhere", "deeply/nested/runs"])
def test_results_of_a_run_do_not_make_its_checkout_unclean(checkout, results):
    root, commit = checkout
    (root / results).mkdir(parents=True)
    (root / results / "manifest.json").write_text("{}")
    assert provenance.revision(root / results) == {"commit": commit, "clean": True}


@pytest.mark.parametrize("changed", ["code.py", "new.py"])
def test_any_other_change_does(checkout, changed):
    root, commit = checkout
    (root / changed).write_text("changed")
    assert provenance.revision(root / "runs") == {"commit": commit, "clean": False}
    assert provenance.revision(root) == {"commit": commit, "clean": False}


def test_a_results_folder_outside_changes_nothing(checkout, tmp_path_factory):
    _, commit = checkout
    assert provenance.revision(tmp_path_factory.mktemp("runs")) == {"commit": commit, "clean": True}


@pytest.mark.parametrize(
    ("found", "instructions"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "AVX2"),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX2 avx512_bf16 amx_bf16"),
        ({}, "AVX2"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_vector_instructions(monkeypatch, found, instructions):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    machine = provenance.hardware(torch.device("cpu"), torch_threads=1, emulator_threads=1)
    assert machine["instructions"] == instructions
