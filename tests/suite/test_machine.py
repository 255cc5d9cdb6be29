import pytest
import torch

from baselines.fast.names import KEPT_MEMORY
from suite import bench
from suite.commands.run import _slots
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


def test_every_slot_of_a_run_command_beside_a_gpu_emulates_on_all_cores(monkeypatch):
    """One run's learning fills another's emulation; cores / jobs would leave them idle."""
    monkeypatch.setattr("suite.cores.available_cores", lambda: 16)
    slots = _slots(10, jobs=4, threads=None, devices=["cuda:0"], groups=3, plain=False, own=())
    assert [(slot.threads, slot.emulator_threads, slot.groups) for slot in slots] == [(1, 16, 3)] * 4
    slots = _slots(10, jobs=4, threads=None, devices=["cpu"], groups=None, plain=False, own=())
    assert [(slot.threads, slot.emulator_threads) for slot in slots] == [(4, 4)] * 4


def test_runs_measured_at_once_beside_a_gpu_have_all_threads_each(monkeypatch):
    seen = []

    def measured(job, _signals):
        seen.append((job.at_once, job.threads))
        return bench.Measured(job, (1.0,), (1.0,), (1.0,), {}, (), (), 1, None, 1, {}, 0.1)

    monkeypatch.setattr(bench, "_measure_together", measured)
    monkeypatch.setattr(bench, "_in_processes", lambda *_: [(1.0,)])
    for device, shared in (("cuda:0", 16), ("cpu", 4)):
        seen.clear()
        bench.run_bench(
            ["pqn"],
            game="breakout",
            device=device,
            threads=16,
            repeats=1,
            paths=(bench.FAST,),
            at_once=4,
            tell=lambda _: None,
        )
        assert seen == [(1, 16), (4, shared)]


def test_another_gpu_than_the_first_becomes_the_current_one(monkeypatch, number_formats):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    prepare(torch.device("cuda:1"), threads=1, plain=True)
    prepare(torch.device("cpu"), threads=1, plain=True)
    assert current == [torch.device("cuda:1")]


def test_a_gpu_has_tf32_and_sums_of_bf16_products_in_float32(monkeypatch, number_formats):
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    prepare(torch.device("cpu"), threads=1, plain=True)
    assert torch.get_float32_matmul_precision() == "highest"
    prepare(torch.device("cuda:0"), threads=1, plain=True)
    assert torch.get_float32_matmul_precision() == "high"
    assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction


def test_plain_leaves_the_allocator_as_it_is():
    assert prepare(torch.device("cpu"), threads=1, plain=True).missed == (f"{KEPT_MEMORY}: turned off",)
