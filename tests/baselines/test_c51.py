"""What is C51's own; what it shares with Rainbow is in test_replay_agents."""

import copy

import numpy as np
import pytest
import torch
from tiny_replay_agents import agent_of, config_of, train

from baselines import c51
from baselines.c51 import c51_update
from baselines.distributional import action_values, support
from baselines.networks.distribution_network import build_c51_network, image_norm
from baselines.registry import load_pinned
from baselines.replay.memory import ReplayBatch

ATOMS = support(-10, 10, 51).float()


def batch_of(rewards, discounts):
    generator = torch.Generator().manual_seed(1)
    count = len(rewards)
    images = torch.randint(256, (2, count, 4, 84, 84), generator=generator, dtype=torch.uint8)
    return ReplayBatch(
        observations=images[0],
        actions=torch.arange(count) % 3,
        rewards=torch.tensor(rewards),
        discounts=torch.tensor(discounts),
        next_observations=images[1],
    )


def test_updates_bring_terminal_values_to_their_rewards():
    network = build_c51_network("nature", 3, 51, torch.Generator().manual_seed(0))
    target = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    batch = batch_of([2.0, -2.0], [0.0, 0.0])  # atoms themselves: a perfect loss is 0
    losses = [float(c51_update(network, target, optimizer, batch, ATOMS)) for _ in range(30)]
    assert losses[0] > 3.8  # near log 51 at the start
    assert losses[-1] < 0.3
    with torch.no_grad():
        values = action_values(network(batch.observations), ATOMS)
    np.testing.assert_allclose(values[torch.arange(2), batch.actions], [2, -2], atol=0.3)
    fresh = build_c51_network("nature", 3, 51, torch.Generator().manual_seed(0))
    for a, b in zip(target.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)


def test_epsilon_falls_over_the_first_tenth_of_the_runs_own_agent_steps():
    agent = agent_of("c51", blocks=20)  # 320 agent steps, of which 32
    reports = train(agent, blocks=3)
    agent.close()
    # as of the last vector step of each block of four: agent steps 12, 28, 44
    expected = [1 - 0.99 * 12 / 32, 1 - 0.99 * 28 / 32, 0.01]
    np.testing.assert_allclose([report.metrics["epsilon"] for report in reports], expected)


def test_actions_are_greedy_where_epsilon_is_zero():
    agent = agent_of("c51", blocks=1, epsilon_start=0.0, epsilon_end=0.0)
    with torch.no_grad():
        values = action_values(agent.network(torch.from_numpy(agent._play.observations)), ATOMS)
    (report,) = train(agent)
    agent.close()
    np.testing.assert_array_equal(report.actions[0], values.argmax(dim=1))


def test_each_environment_explores_by_itself_and_takes_any_action():
    agent = agent_of("c51", blocks=1)
    agent._evaluate = lambda: (torch.zeros(()), torch.zeros(4, dtype=torch.int64))  # action 0 is always greedy
    taken = np.stack([agent._act(0.3)[0] for _ in range(2000)])
    agent.close()
    assert np.bincount(taken.flatten(), minlength=4) / 8000 == pytest.approx([0.775, 0.075, 0.075, 0.075], abs=0.02)
    assert (taken == 0).all(axis=1).mean() == pytest.approx(0.775**4, abs=0.04)  # all at once, it would be 0.70


def test_hadamax_c51_is_c51_with_another_encoder_and_nothing_else():
    plain, hadamax = load_pinned("c51").values, load_pinned("hadamax-c51").values
    assert plain.keys() == hadamax.keys()
    assert {key for key in plain if plain[key] != hadamax[key]} == {"encoder"}


def test_hadamax_c51_trains(monkeypatch):
    monkeypatch.setattr(c51, "DIAGNOSTIC_BATCH", 8)
    agent = agent_of("c51", blocks=1, encoder="hadamax-c51")
    reports = train(agent)
    found = agent.diagnose()
    agent.close()
    assert np.isfinite(reports[-1].metrics["loss"])
    assert "effective_rank/conv3" in found


def test_the_norm_looks_at_a_whole_image_and_learns_nothing():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    normed = image_norm(images)
    flat = images.flatten(1)
    expected = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(normed.flatten(1), expected)


def test_initial_weights_are_torchs_uniform_in_both_directions():
    network = build_c51_network("nature", 6, 51, torch.Generator().manual_seed(0))
    for name, parameter in network.named_parameters():
        layer = network.get_submodule(name.rsplit(".", 1)[0])
        bound = layer.weight[0].numel() ** -0.5
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.8 * bound
        assert parameter.std().item() < bound


def test_the_pinned_values_are_the_papers():
    config = config_of("c51", train_environments=16)
    assert (config.batch, config.agent_steps_per_update) == (4, 8)  # the tiny ones
    pinned = load_pinned("c51").config
    assert (pinned.batch, pinned.agent_steps_per_update, pinned.n_steps) == (32, 4, 1)
    assert pinned.adam_epsilon == 0.01 / 32
    assert (pinned.atoms, pinned.value_min, pinned.value_max, pinned.discount) == (51, -10, 10, 0.99)
