"""What each agent hands to its update: the published optimiser and clip, its target network, noise for every pass.

The agents are built from their pinned files and shrunk; their updates are watched while they train. That an update
computes the published numbers is in test_parity_*. Expected numbers are written out, not read from the pinned files.
"""

import dataclasses
import functools
import hashlib
import inspect

import pytest
import tiny_replay_agents
import torch
from torch.nn.utils import parameters_to_vector

from baselines import c51, pqn, rainbow
from baselines.agent import Task
from baselines.optim import RAdam
from baselines.registry import load_pinned, make_agent
from suite.protocol import load_protocol

UPDATES = {"pqn": (pqn, "train_minibatch"), "c51": (c51, "c51_update"), "rainbow": (rainbow, "rainbow_update")}
# In 48 agent steps: updates from the 24th on, and no copy of the target before the last of them.
TINY_REPLAY = {**tiny_replay_agents.TINY, "learning_start_agent_steps": 16, "short_budget_fraction": 1.0}
TINY = {
    "pqn": {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 2},
    "c51": TINY_REPLAY,
    "rainbow": TINY_REPLAY,
}
REPLAY = pytest.mark.parametrize("name", ["c51", "hadamax-c51", "rainbow"])


def digest(network):
    return hashlib.sha256(parameters_to_vector(network.parameters()).detach().numpy()).hexdigest()


def watch_training(name):
    """Trains a small agent. Returns it and, for each update, the arguments by name, with the optimiser's settings and
    the digests of the networks' weights as they were then.
    """
    pinned = load_pinned(name)
    module, function = UPDATES[pinned.algorithm]
    original, updates = getattr(module, function), []

    def noted(*arguments):
        given = inspect.signature(original).bind(*arguments).arguments
        weights = {key: digest(given[key]) for key in ("network", "target") if key in given}
        updates.append({**given, "settings": dict(given["optimizer"].param_groups[0]), "weights": weights})
        return original(*arguments)

    config = dataclasses.replace(pinned.config, **TINY[pinned.algorithm])
    budget = 3 * config.frames_per_update
    task = Task("Breakout-v5", load_protocol("paper").environment, budget, 0, torch.device("cpu"), emulator_threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, function, noted)
        agent = make_agent(dataclasses.replace(pinned, config=config), task)
        for _ in agent.train():
            pass
        agent.close()
    assert len(updates) >= 4
    return agent, updates


@pytest.fixture(scope="module")
def watched():
    """`watch_training`, once for each agent."""
    return functools.cache(watch_training)


@pytest.mark.parametrize(
    ("name", "kind", "learning_rate", "epsilon", "max_gradient_norm"),
    [
        ("pqn", RAdam, 2.5e-4, 1e-8, 10.0),
        ("hadamax-pqn", RAdam, 2.5e-4, 1e-8, 10.0),
        ("c51", torch.optim.Adam, 2.5e-4, 0.01 / 32, None),
        ("hadamax-c51", torch.optim.Adam, 2.5e-4, 0.01 / 32, None),
        ("rainbow", torch.optim.Adam, 6.25e-5, 0.005 / 32, 10.0),
    ],
)
def test_every_update_has_the_published_optimiser_and_clip(
    watched, name, kind, learning_rate, epsilon, max_gradient_norm
):
    agent, updates = watched(name)
    for update in updates:
        assert update["network"] is agent.network
        assert update["optimizer"] is agent.optimizer
        assert update.get("max_gradient_norm") == max_gradient_norm
        settings = update["settings"]
        assert (settings["lr"], settings["betas"], settings["eps"]) == (learning_rate, (0.9, 0.999), epsilon)
        assert not any(settings.get(key) for key in ("weight_decay", "amsgrad", "maximize"))
    assert type(agent.optimizer) is kind
    (group,) = agent.optimizer.param_groups
    assert {id(parameter) for parameter in group["params"]} == {id(each) for each in agent.network.parameters()}


@REPLAY
def test_every_update_looks_ahead_with_a_target_network_that_stands_still_between_copies(watched, name):
    agent, updates = watched(name)
    assert updates[0]["weights"]["network"] == updates[0]["weights"]["target"]
    for update in updates:
        assert update["target"] is agent.target
    assert len({update["weights"]["target"] for update in updates}) == 1
    assert len({update["weights"]["network"] for update in updates}) == len(updates)


@pytest.mark.parametrize(("name", "steps"), [("c51", 1), ("hadamax-c51", 1), ("rainbow", 3)])
def test_every_update_discounts_by_99_hundredths_a_step(watched, name, steps):
    _, updates = watched(name)
    found = torch.cat([update["batch"].discounts for update in updates])
    assert found.max().item() == pytest.approx(0.99**steps)


@REPLAY
def test_every_update_has_the_published_atoms(watched, name):
    _, updates = watched(name)
    expected = torch.tensor([-10 + 0.4 * k for k in range(51)])
    for update in updates:
        torch.testing.assert_close(update["atoms"], expected, rtol=0, atol=1e-5)


def test_every_pass_of_every_rainbow_update_has_noise_of_its_own(watched):
    agent, updates = watched("rainbow")
    assert all(update["noise"].shape == (3, sum(agent.network.noise_sizes)) for update in updates)
    rows = torch.cat([update["noise"] for update in updates])
    assert len(rows.unique(dim=0)) == 3 * len(updates)
