"""PQN's loop, on a real game with few environments."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from baselines.agent import Progress, Task, Tick
from baselines.emulator.envs import AtariEnvironments
from baselines.pqn import PqnAgent, td_loss
from baselines.registry import load_pinned
from suite.protocol import load_protocol

TINY = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 2}
UPDATES = 6


def make(updates=UPDATES, seed=0, **changes):
    config = dataclasses.replace(load_pinned("pqn").config, **{**TINY, **changes})
    task = Task(
        "Breakout-v5",
        load_protocol("paper").environment,
        budget_frames=updates * config.frames_per_update,
        seed=seed,
        device=torch.device("cpu"),
        emulator_threads=1,
    )
    return PqnAgent(config, task)


def updates_of(agent):
    """Drives the agent; yields each Progress."""
    return (event for event in agent.train() if isinstance(event, Progress))


def rollouts_of(agent, monkeypatch):
    """The agent's rollouts, caught on their way to the learner."""
    caught = []
    learn = agent._learn

    def spy(rollout, targets):
        copies = {field.name: getattr(rollout, field.name).clone() for field in dataclasses.fields(rollout)}
        caught.append(dataclasses.replace(rollout, **copies))
        return learn(rollout, targets)

    monkeypatch.setattr(agent, "_learn", spy)
    return caught


def test_forty_million_frames_are_2441_updates_as_in_the_official_code():
    config = load_pinned("pqn").config
    assert config.frames_per_update == 16_384
    assert config.total_updates(40_000_000) == 2441
    assert config.total_updates(200_000_000) == 12_207
    assert config.total_updates(16_383) == 0


def test_progress_counts_frames_and_logs_every_environments_action():
    events = list(updates_of(make()))
    assert [event.frames for event in events] == [128 * (i + 1) for i in range(UPDATES)]
    assert all(event.actions.shape == (8, 6) and event.actions.dtype == np.uint8 for event in events)
    assert all(np.isfinite(list(event.metrics.values())).all() for event in events)


def test_a_budget_too_small_for_one_update_is_refused():
    with pytest.raises(ValueError, match="at least 128 frames"):
        make(updates=0)


def test_values_are_those_of_the_rollout_one_step_ahead(monkeypatch):
    no_step = (torch.tensor(0.0), torch.tensor(0.0))
    monkeypatch.setattr("baselines.pqn.train_minibatch", lambda *arguments: no_step)  # so values can be computed again
    agent = make()
    rollouts = rollouts_of(agent, monkeypatch)
    events = list(updates_of(agent))
    assert [event.metrics["value"] for event in events] == [float(r.next_values.mean()) for r in rollouts]
    with torch.no_grad():
        for rollout in rollouts:
            again = agent.network(rollout.observations.flatten(0, 1)).max(dim=1).values.view(8, 4)
            torch.testing.assert_close(rollout.next_values[:-1], again[1:], rtol=1e-4, atol=1e-5)
        for rollout, following in itertools.pairwise(rollouts):
            first = agent.network(following.observations[0]).max(dim=1).values
            torch.testing.assert_close(rollout.next_values[-1], first, rtol=1e-4, atol=1e-5)


def test_a_rollout_holds_what_the_emulator_shows_for_the_logged_actions(monkeypatch):
    agent = make()
    rollouts = rollouts_of(agent, monkeypatch)
    events = list(updates_of(agent))
    provenance = agent.provenance()
    envs = AtariEnvironments(
        "Breakout-v5",
        provenance["train_seeds"] + provenance["greedy_seeds"],
        load_protocol("paper").environment,
        threads=1,
    )
    observations = envs.reset()
    for event, rollout in zip(events, rollouts, strict=True):
        for t, actions in enumerate(event.actions):
            np.testing.assert_array_equal(rollout.observations[t].numpy(), observations[:4])
            np.testing.assert_array_equal(rollout.actions[t].numpy(), actions[:4])
            step = envs.step(actions)
            np.testing.assert_array_equal(rollout.rewards[t].numpy(), step.rewards[:4])
            np.testing.assert_array_equal(rollout.dones[t].numpy(), step.dones[:4])
            observations = step.observations


def test_greedy_environments_always_take_the_best_action_and_training_ones_explore():
    agent = make(updates=40, learning_rate=1e-12, epsilon_decay_fraction=1.0, epsilon_end=1.0)
    network_seen = []
    evaluate = agent._play.evaluate

    def spy(observations):
        values, greedy = evaluate(observations)
        network_seen.append(greedy.numpy().copy())
        return values, greedy

    agent._play.evaluate = spy
    taken = np.concatenate([event.actions for event in updates_of(agent)])
    # Each rollout ends with one more look, for the values that its last step bootstraps from.
    best = np.stack(network_seen).reshape(40, 8 + 1, agent.environments)[:, :8].reshape(taken.shape)
    np.testing.assert_array_equal(taken[:, 4:], best[:, 4:])
    agreement = (taken[:, :4] == best[:, :4]).mean()
    assert agreement == pytest.approx(1 / 4, abs=0.05)  # random among 4 actions: 1,280 draws, sigma 0.012


def test_each_training_environment_explores_by_itself_and_takes_any_action():
    agent = make()
    drawn = [agent._exploration(0.3) for _ in range(250)]
    explores, actions = (np.concatenate(part) for part in zip(*drawn, strict=True))
    assert explores.shape == actions.shape == (2000, 4)
    assert explores.mean() == pytest.approx(0.3, abs=0.02)
    assert explores.any(axis=1).mean() == pytest.approx(1 - 0.7**4, abs=0.04)
    assert np.bincount(actions.flatten(), minlength=4) / 8000 == pytest.approx(np.full(4, 0.25), abs=0.02)


def test_epsilon_falls_over_the_first_tenth_of_its_own_budget():
    epsilons = [event.metrics["epsilon"] for event in updates_of(make(updates=30))]
    assert epsilons[:4] == pytest.approx([1.0, 1 - 0.999 / 3, 1 - 2 * 0.999 / 3, 0.001])
    assert set(epsilons[4:]) == {epsilons[3]}


def test_each_epoch_trains_on_every_sample_once(monkeypatch):
    agent = make(updates=2)
    seen = []
    monkeypatch.setattr(
        "baselines.pqn.train_minibatch",
        lambda network, optimizer, observations, actions, targets, norm: (
            seen.append(targets.clone()),
            (torch.tensor(1.0 * len(seen)), torch.tensor(10.0 * len(seen))),
        )[1],
    )
    caught = []
    learn = agent._learn
    agent._learn = lambda rollout, targets: (caught.append(targets.clone()), learn(rollout, targets))[1]
    event = next(updates_of(agent))
    assert [len(batch) for batch in seen] == [16] * 4
    assert (event.metrics["loss"], event.metrics["gradient_norm"]) == (2.5, 25.0)  # means over all minibatches
    everything = caught[0].flatten().sort().values
    for epoch in (seen[:2], seen[2:]):
        torch.testing.assert_close(torch.cat(epoch).sort().values, everything)
    assert not torch.equal(torch.cat(seen[:2]), torch.cat(seen[2:]))


def test_the_loss_is_half_the_mean_squared_error():
    class Constant(torch.nn.Module):
        def forward(self, observations):
            return torch.tensor([[1.0, 5.0], [2.0, 7.0]])

    loss = td_loss(Constant(), torch.zeros(2, 4, 84, 84), torch.tensor([1, 0]), torch.tensor([4.0, 4.0]))
    assert loss.item() == 0.5 * (1.0 + 4.0) / 2


def test_signs_of_life_come_inside_an_update_and_never_run_ahead():
    frames = 0.0
    ticks = 0
    for event in make(updates=2).train():
        assert event.frames >= frames
        frames = event.frames
        ticks += isinstance(event, Tick)
    assert ticks >= 2
    assert frames == 2 * 128
