import gc
import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from recorded_on_a_cpu import recorded_on_a_cpu
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from baselines.fast.cuda_graph import Captured, _side_stream, cuda_graph, remember_learner


def learner(device, *, trained=0):
    """A small network, its optimizer and an update of them; `trained` updates old. Every pass changes its buffers."""
    torch.manual_seed(0)
    network = nn.Sequential(spectral_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 2)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, fused=True, capturable=device.type == "cuda")

    def update(inputs, targets):
        losses = (network(inputs) - targets).square().mean(dim=1)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        optimizer.step()
        return losses.detach(), losses.detach().mean()

    for batch in batches(trained, device, seed=9):
        update(*batch)
    return network, optimizer, update


def batches(count, device, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(4, 6, generator=generator).to(device), torch.randn(4, 2, generator=generator).to(device))
        for _ in range(count)
    ]


def assert_the_same_updates(device, record, trained, **tolerance):
    network, _, update = learner(device, trained=trained)
    expected = [update(*batch) for batch in batches(5, device)]
    captured_network, optimizer, update = learner(device, trained=trained)
    captured = Captured(update, lambda: remember_learner(captured_network, optimizer), record)
    found = [captured(*batch) for batch in batches(5, device)]  # all five kept: none is overwritten by a later one
    torch.testing.assert_close(found, expected, **tolerance)
    torch.testing.assert_close(captured_network.state_dict(), network.state_dict(), **tolerance)
    assert all(parameter.grad is not None for parameter in captured_network.parameters())  # for diagnostics


@pytest.mark.parametrize("trained", [0, 3])
def test_recording_leaves_no_trace_in_what_is_learned(trained):
    assert_the_same_updates(torch.device("cpu"), recorded_on_a_cpu, trained, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("trained", [0, 3])
def test_a_cuda_graph_learns_what_the_plain_update_does(cuda, trained):
    assert_the_same_updates(cuda, cuda_graph, trained, rtol=1e-4, atol=1e-6)


SPOILED = "CUDA error: operation failed due to a previous error during capture"


@pytest.fixture
def streams(monkeypatch):
    """Stands in for torch.cuda: the current stream, which one waited, and whether a graph is recorded."""
    found = SimpleNamespace(current="of the run", recording=False, device=0, waits=[], made=[])
    found.pools, found.kept, found.handles = [], [], 0  # recorded into, by device; not given back; made

    @contextmanager
    def graph(_graph, *, pool, stream):
        """As torch's: where its end raises, the stream stays the one of the recording, and the allocator records on."""
        assert stream.name == "aside"
        assert not found.pools, "captures_underway.empty() INTERNAL ASSERT FAILED"
        before, found.current, found.recording = found.current, "of the recording", True
        found.pools.append((found.device, pool))
        found.kept.append((found.device, pool))
        try:
            yield
        except Exception:
            raise RuntimeError(SPOILED)  # noqa: B904
        finally:
            found.recording = False
        found.pools.clear()
        found.current = before

    def handle():
        found.handles += 1
        return 0, found.handles

    def end(*recording):
        if recording not in found.pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        found.pools.remove(recording)

    @contextmanager
    def aside(_stream):
        before, found.current = found.current, "aside"
        try:
            yield
        finally:
            found.current = before

    def side_stream(device):
        found.made.append(device)
        return stream("aside")

    def stream(name):
        return SimpleNamespace(name=name, wait_stream=lambda other: found.waits.append((name, other.name)))

    def set_stream(given):
        found.current = given.name

    monkeypatch.setattr(torch.cuda, "Stream", side_stream)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: found.device)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream(found.current))
    monkeypatch.setattr(torch.cuda, "stream", aside)
    monkeypatch.setattr(torch.cuda, "set_stream", set_stream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", handle)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *recording: found.kept.remove(recording))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None, reset=lambda: None))
    _side_stream.cache_clear()
    yield found
    _side_stream.cache_clear()  # no later test may get a stand-in


def test_all_recordings_of_a_device_share_one_stream(streams):
    """cuBLAS keeps megabytes for every stream that it ever computed in."""
    for streams.device in (0, 0, 1, 0, 1):
        cuda_graph(lambda: (), (), lambda: None)
    assert streams.made == [0, 1]


def test_a_warm_up_that_fails_is_waited_for(streams):
    """What undoes its calls would else overtake work that is still queued."""

    def work():
        raise ValueError("the second kernel")

    with pytest.raises(ValueError, match="the second kernel"):
        cuda_graph(work, (), lambda: None)
    assert streams.waits == [("aside", "of the run"), ("of the run", "aside")]
    assert streams.current == "of the run"


def record_what_cuda_gives_up(streams):
    """Work that reads a number, which no recording may."""

    def work():
        if streams.recording:
            raise ValueError("a number was read")
        return ()

    with pytest.raises(ValueError, match="a number was read"):
        cuda_graph(work, (), lambda: None)


def test_a_recording_that_fails_leaves_the_stream_as_it_was_and_raises_its_reason(streams):
    record_what_cuda_gives_up(streams)
    assert streams.current == "of the run"


def test_a_recording_that_cuda_gives_up_raises_what_cuda_says(streams, monkeypatch):
    @contextmanager
    def graph(_graph, *, pool, stream):
        yield
        streams.current = "of the recording"
        raise RuntimeError(SPOILED)

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RuntimeError, match=SPOILED):
        cuda_graph(lambda: (), (), lambda: None)
    assert streams.current == "of the run"


@pytest.mark.parametrize("device", [0, 1])
def test_after_a_recording_that_cuda_gave_up_another_one_can_be_made(streams, device):
    """torch 2.11 raises before it tells its allocator that the recording has ended."""
    streams.device = device

    record_what_cuda_gives_up(streams)
    assert streams.pools == streams.kept == []
    cuda_graph(lambda: (), (), lambda: None)
    assert streams.kept == [(device, (0, 2))]  # what replays keep


@pytest.mark.gpu
def test_on_a_gpu_a_recording_that_read_a_number_is_followed_by_one_that_works(cuda):
    numbers = torch.ones(4, device=cuda)
    with pytest.raises(RuntimeError, match="captur"):
        cuda_graph(lambda given: (given * given.sum().item(),), (numbers,), lambda: None)
    torch.cuda.empty_cache()
    replay, (doubled,) = cuda_graph(lambda given: (given * 2,), (numbers,), lambda: None)
    replay()
    assert doubled.tolist() == [2.0] * 4


def test_a_recording_that_torch_ended_itself_gives_no_memory_back_twice(streams, monkeypatch):
    """A count below 0 would end the process where the graph is destroyed."""

    @contextmanager
    def graph(_graph, *, pool, stream):
        streams.kept.append((0, pool))
        yield
        raise RuntimeError("cudaGraphInstantiate failed")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RuntimeError, match="cudaGraphInstantiate failed"):
        cuda_graph(lambda: (), (), lambda: None)
    assert streams.kept == [(0, (0, 1))]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("collects", [False, True])
def test_no_garbage_is_collected_while_a_graph_is_recorded(streams, collects, fails):
    """An old graph that is destroyed meanwhile would spoil the new one."""

    class Graph:
        pass

    old = Graph()
    old.itself = old
    gone = weakref.ref(old)
    seen = []

    def work():
        if streams.recording:
            seen.append((gone() is None, gc.isenabled()))
            if fails:
                raise ValueError("a number was read")
        return ()

    was = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        del old
        with pytest.raises(ValueError, match="a number was read") if fails else nullcontext():
            cuda_graph(work, (), lambda: None)
        assert gc.isenabled() is collects
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == [(True, False)]
