import pytest
import torch

from baselines.fast.paths import KEPT_MEMORY
from suite.machine import prepare, thread_share


@pytest.mark.parametrize(
    ("device", "threads", "jobs", "shares"),
    [
        ("cpu", None, 1, (16, 16)),
        ("cpu", None, 4, (4, 4)),
        ("cpu", None, 32, (1, 1)),
        ("cpu", 3, 4, (3, 3)),
        ("cuda:1", None, 4, (1, 16)),  # torch's threads would spin beside the emulators
        ("cuda:0", 8, 4, (1, 8)),
    ],
)
def test_runs_share_out_the_cores_of_a_cpu_and_each_may_emulate_on_all_beside_a_gpu(device, threads, jobs, shares):
    assert thread_share(device, threads=threads, jobs=jobs, cores=16) == shares


def test_another_gpu_than_the_first_becomes_the_current_one(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: None)
    prepare(torch.device("cuda:1"), threads=1, plain=True)
    prepare(torch.device("cpu"), threads=1, plain=True)
    assert current == [torch.device("cuda:1")]


def test_plain_leaves_the_allocator_as_it_is():
    assert prepare(torch.device("cpu"), threads=1, plain=True).missed == (f"{KEPT_MEMORY}: turned off",)
