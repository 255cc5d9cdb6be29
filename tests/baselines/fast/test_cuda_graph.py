import pytest
import torch
from recorded_on_a_cpu import recorded_on_a_cpu
from torch import nn

from baselines.fast.cuda_graph import Captured, cuda_graph, remember_learner


def learner(device, *, trained=0):
    """A small network, its optimizer and an update of them; `trained` updates old."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
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
    torch.testing.assert_close(list(captured_network.parameters()), list(network.parameters()), **tolerance)
    assert all(parameter.grad is not None for parameter in captured_network.parameters())  # for diagnostics


@pytest.mark.parametrize("trained", [0, 3])
def test_recording_leaves_no_trace_in_what_is_learned(trained):
    assert_the_same_updates(torch.device("cpu"), recorded_on_a_cpu, trained, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("trained", [0, 3])
def test_a_cuda_graph_learns_what_the_plain_update_does(cuda, trained):
    assert_the_same_updates(cuda, cuda_graph, trained, rtol=1e-4, atol=1e-6)
