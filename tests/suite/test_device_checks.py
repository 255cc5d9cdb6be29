import pytest
import torch

from baselines.fast.names import DeviceLost
from baselines.fast.trials import Trial
from suite import device_checks


@pytest.mark.parametrize(
    ("built", "driver", "works", "passed", "said"),
    [
        (None, None, False, True, "is built for the CPU alone; no NVIDIA driver is here"),
        (None, "12.8", False, True, "goes up to CUDA 12.8: to train on the GPU, install a torch for CUDA"),
        ("13.0", None, False, True, "no NVIDIA driver is here: to train on a GPU, install its driver"),
        ("13.0", "12.2", False, False, "update the driver, or install a torch for CUDA 12.2 or older"),
        ("9.2", "12.10", False, False, "check CUDA_VISIBLE_DEVICES and nvidia-smi"),
        ("13.0", "13.1", True, True, "is built for CUDA 13.0; the NVIDIA driver goes up to CUDA 13.1"),
    ],
)
def test_torchs_cuda_and_the_driver_are_told_with_what_to_do(monkeypatch, built, driver, works, passed, said):
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
    monkeypatch.setattr(device_checks, "driver_cuda", lambda: driver)
    check = device_checks.check_cuda()
    assert check.passed is passed
    assert said in check.detail
    assert check.detail.startswith(f"torch {torch.__version__}")


def test_the_drivers_version_is_read_from_its_library(monkeypatch):
    class Library:
        def __init__(self, name):
            assert name == "libcuda.so.1"

        def cuDriverGetVersion(self, address):  # noqa: N802
            address._obj.value = 12_080
            return 0

    monkeypatch.setattr(device_checks.ctypes, "CDLL", Library)
    assert device_checks.driver_cuda() == "12.8"


def test_a_fast_path_is_a_row_that_never_fails(monkeypatch):
    found = [Trial("graph", "RuntimeError: no"), Trial("block", None, 2.94), Trial("stacks", None)]
    monkeypatch.setattr("baselines.path_trials.trials", lambda device: found)
    rows = [(check.name, check.passed, check.detail) for check in device_checks.check_paths("cpu")]
    assert rows == [
        ("fast path 1", True, "graph: the plain one is used, slower: RuntimeError: no"),
        ("fast path 2", True, "block: proven, 2.9 times the plain one's speed"),
        ("fast path 3", True, "stacks: proven"),
    ]


def test_the_paths_of_a_second_gpu_are_tried_on_that_gpu_as_a_run_computes(monkeypatch, number_formats):
    """Graphs and Triton's kernels go to the current device, whichever the tensors are on."""
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr("baselines.path_trials.trials", lambda device: [Trial("block", None)] if current else [])
    (row,) = device_checks.check_paths("cuda:1")
    assert current == [torch.device("cuda:1")]
    assert row.passed
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, DeviceLost])
def test_a_gpu_that_is_full_or_lost_is_a_failed_row(monkeypatch, error):
    def trials(_device):
        yield Trial("block", None)
        raise error("the GPU has too little free memory")

    monkeypatch.setattr("baselines.path_trials.trials", trials)
    rows = [(check.name, check.passed, check.detail) for check in device_checks.check_paths("cpu")]
    assert rows == [
        ("fast path 1", True, "block: proven"),
        ("fast path 2", False, "the GPU has too little free memory"),
    ]
