import subprocess

import pytest
import torch
from checkouts import checkout_of
from stored_runs import store_run

from results.manifest import read_manifest
from results.schema import RunSpec
from suite import provenance
from suite.run_manifest import RunManifest


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


@pytest.mark.parametrize("other", ["narrow.py", "mine.tar.gz", "demo/best.mp4"])
def test_nor_does_what_commands_leave_beside_the_code(checkout, other):
    root, commit = checkout
    (root / other).parent.mkdir(exist_ok=True)
    (root / other).write_text("written by new, export or watch")
    assert provenance.revision(root / "results/runs") == {"commit": commit, "clean": True}


@pytest.mark.parametrize("changed", ["code.py", "suite/new.py", "baselines/pinned/new.toml"])
def test_a_change_of_code_does(checkout, changed):
    root, commit = checkout
    (root / changed).parent.mkdir(parents=True, exist_ok=True)
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


@pytest.mark.parametrize(
    ("before", "now", "is_clean"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_what_changed_code_has_trained_is_not_clean_when_the_run_goes_on(tmp_path, monkeypatch, before, now, is_clean):
    run = store_run(tmp_path)
    previous = read_manifest(run) | {"revision": {"commit": "a" * 40, "clean": before}}
    monkeypatch.setattr(provenance, "revision", lambda home: {"commit": "a" * 40, "clean": now})
    spec = RunSpec(**{**previous["spec"], "protocol": "paper"})
    manifest = RunManifest.begin(run, spec, previous["config"], previous["hardware"], home=tmp_path, previous=previous)
    assert manifest._values["revision"]["clean"] is is_clean
