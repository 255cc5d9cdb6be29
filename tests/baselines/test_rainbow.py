"""What is Rainbow's own; what it shares with C51 is in test_replay_agents."""

import copy

import numpy as np
import pytest
import torch
from tiny_replay_agents import agent_of, train

from baselines import rainbow
from baselines.distributional import support
from baselines.networks.rainbow_network import NoisyLinear, build_rainbow_network
from baselines.rainbow import rainbow_update
from baselines.registry import load_pinned
from baselines.replay.memory import ReplayBatch

ATOMS = support(-10, 10, 51).float()


def network_of(actions=3, sigma=0.5):
    return build_rainbow_network("nature-torso", actions, 51, sigma, torch.Generator().manual_seed(0))


def noise_of(network, rows, seed=0):
    return torch.randn(rows, sum(network.noise_sizes), generator=torch.Generator().manual_seed(seed))


def images(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 4, 84, 84), generator=generator, dtype=torch.uint8)


def test_noise_is_the_sum_the_paper_writes():
    layer = NoisyLinear(2, 1, bias=True)
    with torch.no_grad():
        layer.mean.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.mean.bias.fill_(0.5)
        layer.scale.weight.copy_(torch.tensor([[0.1, 0.2]]))
        layer.scale.bias.fill_(0.3)
        outputs = layer(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, -1.0]]), torch.tensor([[3.0]]))
    # 1 + 2 + 0.5 and (0.1 * 2 - 0.2 * 1 + 0.3) * 3
    assert outputs.item() == pytest.approx(3.5 + 0.9)


def test_one_row_of_noise_is_shared_and_several_are_each_observations_own():
    network, observations = network_of(), images(2)
    rows = noise_of(network, 2)
    with torch.no_grad():
        each = network(observations, noise=rows)
        for i in range(2):
            alone = network(observations, noise=rows[i : i + 1])
            torch.testing.assert_close(each[i], alone[i], rtol=1e-4, atol=1e-5)
        quiet = network(observations)
    assert (each - quiet).abs().max() > 0.01


def test_initial_noise_scales_are_the_published_half():
    assert load_pinned("rainbow").config.noise_scale == 0.5
    network = network_of()
    for layer in (network.advantage_hidden, network.value_hidden):
        assert torch.equal(layer.scale.weight, torch.full_like(layer.scale.weight, 0.5 / 3136**0.5))
        assert torch.equal(layer.scale.bias, torch.full_like(layer.scale.bias, 0.5 / 3136**0.5))
    assert network.value.scale.weight[0, 0].item() == pytest.approx(0.5 / 512**0.5)


def test_the_advantage_is_centred_over_actions():
    network, observations = network_of(), images(2)
    with torch.no_grad():
        before = network(observations)
        network.value_hidden.mean.weight.zero_()
        network.value_hidden.mean.bias.zero_()  # the value head gives 0 now
        torch.testing.assert_close(network(observations).mean(dim=1), torch.zeros(2, 51), rtol=0, atol=1e-6)
    assert before.mean(dim=1).abs().max() > 1e-3


def test_importance_weights_scale_what_each_transition_teaches():
    network = network_of()
    noise = noise_of(network, 3)
    observations, following = images(2, 1), images(2, 2)
    batch = ReplayBatch(observations, torch.tensor([0, 1]), torch.tensor([1.0, -1.0]), torch.zeros(2), following)

    def gradient(weights, rows=slice(None)):
        trained, target = copy.deepcopy(network), copy.deepcopy(network)
        part = ReplayBatch(*(getattr(batch, key)[rows] for key in batch.__dataclass_fields__))
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.0)
        losses, norm = rainbow_update(
            trained, target, optimizer, part, torch.tensor(weights), noise, ATOMS, max_gradient_norm=1e9
        )
        assert len(losses) == len(weights)
        return trained.advantage.mean.weight.grad, norm

    both, _ = gradient([1.0, 0.0])
    alone, norm = gradient([0.5], slice(0, 1))
    torch.testing.assert_close(both, alone, rtol=1e-3, atol=1e-6)
    assert norm > 0


def test_new_priorities_are_the_losses_of_what_was_drawn(monkeypatch):
    agent = agent_of("rainbow", blocks=3, learning_start_agent_steps=24, short_budget_fraction=1.0)
    seen = []
    update, original = agent._sampler.update, rainbow.rainbow_update

    def kept(*arguments):
        losses, norm = original(*arguments)
        seen.append(["losses", losses.clone()])
        return losses, norm

    def noted(indices, priorities):
        seen.append(["priorities", indices, priorities])
        update(indices, priorities)

    monkeypatch.setattr(rainbow, "rainbow_update", kept)
    agent._sampler.update = noted
    train(agent)
    agent.close()
    assert [entry[0] for entry in seen] == ["losses", "priorities"] * 3
    for (_, losses), (_, indices, priorities) in zip(seen[::2], seen[1::2], strict=True):
        np.testing.assert_array_equal(losses, priorities)
        assert len(indices) == 4


def test_a_priority_is_at_most_the_pinned_one(monkeypatch):
    agent = agent_of("rainbow", blocks=2, learning_start_agent_steps=16, short_budget_fraction=1.0, max_priority=0.5)
    given = []
    monkeypatch.setattr(agent._sampler, "update", lambda indices, priorities: given.extend(priorities.tolist()))
    train(agent)
    agent.close()
    assert given == [0.5] * 8  # losses begin near log 51


def test_priorities_weigh_as_the_paper_says_and_a_thousandth_is_uniform():
    agent = agent_of("rainbow", blocks=1)
    agent._sampler.update(np.array([0, 1]), np.array([1.0, 9.0]))
    agent.close()
    wanted = [0.999 / 4 + 0.0005, 0.999 * 3 / 4 + 0.0005]  # omega is 0.5
    np.testing.assert_allclose(agent._sampler.probabilities(np.array([0, 1]), 2), wanted)


def test_importance_weights_have_the_exponent_of_their_agent_step(monkeypatch):
    agent = agent_of("rainbow", blocks=4, learning_start_agent_steps=16, short_budget_fraction=1.0)
    drawn, weights = [], []
    draw, original = agent._sampler.draw, rainbow.rainbow_update

    def noted_draw(*arguments, **more):
        indices, probabilities = draw(*arguments, **more)
        probabilities = probabilities * np.array([1.0, 2.0, 4.0, 8.0])  # as if they were as far apart as this
        drawn.append((probabilities, more["size"]))
        return indices, probabilities

    def noted_update(network, target, optimizer, batch, given, *more):
        weights.append(given.numpy().copy())
        return original(network, target, optimizer, batch, given, *more)

    monkeypatch.setattr(agent._sampler, "draw", noted_draw)
    monkeypatch.setattr(rainbow, "rainbow_update", noted_update)
    train(agent)
    agent.close()
    # From 0.4 at the learning start, agent step 16, to 1 at the last one, 64; an update every eighth.
    exponents = [0.4 + 0.6 * (step - 16) / 48 for step in (24, 32, 40, 48, 56, 64)]
    assert [size for _, size in drawn] == [12, 20, 28, 36, 44, 52]  # all but the newest three of each environment
    for exponent, (probabilities, _), given in zip(exponents, drawn, weights, strict=True):
        np.testing.assert_allclose(given, (probabilities.min() / probabilities) ** exponent, rtol=1e-5)


def test_only_what_can_be_sampled_has_a_priority():
    agent = agent_of("rainbow", blocks=6, replay_transitions=40, max_agent_steps=20)
    train(agent)
    agent.close()
    with_priority = set(np.flatnonzero(agent._sampler.state_dict()["weights"]).tolist())
    open_now = set(np.flatnonzero(agent._memory._startable).tolist())
    assert with_priority == open_now
    assert len(open_now) == agent._memory.size <= 40


def test_the_importance_exponent_reaches_one_with_the_last_agent_step():
    agent = agent_of("rainbow", blocks=4)
    reports = train(agent)
    agent.close()
    exponents = [report.metrics["importance_exponent"] for report in reports]
    assert exponents == sorted(exponents)
    assert exponents[-1] == 1.0


def test_each_environment_acts_with_noise_of_its_own():
    agent = agent_of("rainbow", blocks=1)
    drawn = []
    draw = agent._noise.draw

    def noted(rows, width):
        drawn.append((rows, width))
        return draw(rows, width)

    agent._noise.draw = noted
    train(agent)
    agent.close()
    assert drawn.count((4, agent._noise_width)) == 4  # four vector steps of four environments
    assert set(drawn) <= {(4, agent._noise_width), (3, agent._noise_width)}


def test_the_pinned_values_are_the_papers():
    config = load_pinned("rainbow").config
    assert (config.batch, config.agent_steps_per_update, config.n_steps) == (32, 4, 3)
    assert config.learning_start_agent_steps * 4 == 80_000
    assert config.target_copy_agent_steps * 4 == 32_000
    assert config.adam_epsilon == 0.005 / 32
