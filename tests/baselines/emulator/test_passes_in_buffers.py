"""A user's encoder may change its buffers at every pass: what tries it out or records it takes its passes back."""

import pytest
import torch
from recorded_on_a_cpu import recorded_on_a_cpu
from tiny_replay_agents import agent_of
from torch import nn

from baselines import c51, rainbow
from baselines.emulator import frame_stacks
from baselines.emulator.frame_stacks import StackedEvaluation, why_not_stacked
from baselines.fast.cuda_graph import remember_buffers, remember_learner
from baselines.fast.paths import Paths
from baselines.fast.trials import why_not_captured

CPU = torch.device("cpu")
REPLACED = "a pass puts another tensor in the place of the buffer passes; write into it (copy_) instead"


class CountsItsPasses(nn.Module):
    """Every pass gives more than the one before."""

    def __init__(self, *, in_place=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("passes", torch.ones(()))
        self.in_place = in_place

    def forward(self, images):
        if self.in_place:
            self.passes += 1
        else:
            self.passes = self.passes + 1
        return (images.float().mean(dim=(1, 2, 3)) * self.passes * self.weight,)

    @torch.no_grad()
    def evaluate(self, images):
        return self(images)


def test_the_proof_of_acting_begins_both_passes_of_a_step_alike_and_leaves_none():
    network = CountsItsPasses()
    assert why_not_stacked(CPU, network.evaluate, 3, record=recorded_on_a_cpu, network=network) is None
    assert network.passes == 1


def test_a_graph_of_acting_makes_one_pass_a_step_the_first_one_too():
    network, group = CountsItsPasses(), frame_stacks._MadeUpGroup(3)
    evaluation = StackedEvaluation(network.evaluate, 3, CPU, recorded_on_a_cpu, network=network)
    for step in range(3):
        _, values = evaluation(group)
        assert network.passes == 2 + step
        torch.testing.assert_close(values, torch.from_numpy(group.observations).float().mean((1, 2, 3)) * (2 + step))
        group.step()


def test_a_network_that_puts_other_tensors_in_the_place_of_buffers_acts_and_learns_without_graphs():
    """Replays would read the buffer's first tensor for ever, and nothing would raise."""
    network = CountsItsPasses(in_place=False)
    kept = network.passes
    assert why_not_stacked(CPU, network.evaluate, 3, record=recorded_on_a_cpu, network=network) == REPLACED
    assert network.passes is kept
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-9, fused=True, capturable=True)

    def update(images):
        optimizer.zero_grad(set_to_none=True)
        loss = network(images)[0].mean()
        loss.backward()
        optimizer.step()
        return (loss.detach(),)

    batches = [(torch.full((2, 4, 8, 8), float(value)),) for value in (1, 2)]
    assert why_not_captured(update, network, optimizer, batches, recorded_on_a_cpu) == REPLACED
    assert network.passes is kept
    assert kept == 1


def test_buffers_go_back_to_where_they_were_in_parts_of_a_network_too():
    network = nn.Sequential(CountsItsPasses(), CountsItsPasses(in_place=False))
    undo = remember_buffers(network)
    for part in network:
        part(torch.ones(1, 4, 2, 2))
    undo()
    assert [float(buffer) for buffer in network.buffers()] == [1, 1]


def test_a_network_that_no_optimizer_steps_gets_no_state_there():
    """The optimizer could not be saved any more."""
    network, target = CountsItsPasses(), CountsItsPasses()
    optimizer = torch.optim.Adam(network.parameters(), capturable=True)
    undo = remember_learner(nn.ModuleList([network, target]), optimizer)
    target(torch.ones(1, 4, 2, 2))
    undo()
    assert target.passes == 1
    optimizer.state_dict()


@pytest.mark.parametrize(("module", "name"), [(c51, "c51"), (rainbow, "rainbow")])
def test_an_update_that_is_recorded_takes_back_passes_of_the_target_network_too(monkeypatch, module, name):
    seen = []

    def captured(update, networks, *_, **__):
        seen.extend(networks.modules())
        return update, Paths()

    monkeypatch.setattr(module, "captured", captured)
    agent = agent_of(name, blocks=1)
    assert {id(part) for part in seen} >= {id(agent.network), id(agent.target)}
    agent.close()
