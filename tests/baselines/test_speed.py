import itertools

import pytest
from tiny_replay_agents import agent_of

from baselines import pqn
from baselines.registry import load_pinned
from baselines.speed import agent_steps_of, measure, shortened


@pytest.mark.parametrize("name", ["pqn", "hadamax-pqn"])
def test_a_short_rollout_of_pqn_keeps_its_minibatches(name):
    full = load_pinned(name).config
    short, budget = shortened(full)
    assert short.rollout_agent_steps * 4 == full.rollout_agent_steps
    assert short.rollout_agent_steps // short.minibatches == full.rollout_agent_steps // full.minibatches
    assert (short.epochs, short.train_environments) == (full.epochs, full.train_environments)
    assert short.total_updates(budget) == 10_000


@pytest.mark.parametrize("environments", [None, 1])
def test_a_short_block_of_a_replay_agent_is_a_quarter_as_many_agent_steps(environments):
    full = load_pinned("rainbow").config
    short, _ = shortened(full, environments=environments)
    assert short.frames_per_update * 4 == full.frames_per_update
    assert short.train_environments == (environments or full.train_environments)
    assert (short.batch, short.agent_steps_per_update) == (full.batch, full.agent_steps_per_update)


@pytest.mark.parametrize("name", ["c51", "rainbow"])
def test_measuring_takes_its_timers_away_again(name):
    agent = agent_of(name, blocks=200)
    ticks = iter(itertools.count(0.0, 0.01))
    speed = measure(agent, 2, clock=lambda: float(next(ticks)))
    assert agent_steps_of(agent) > 0
    assert len(speed.loop) == len(speed.acting) == len(speed.learning) == 2
    assert min(speed.shares.values()) >= 0
    assert "_act" not in vars(agent)
    assert pqn.train_minibatch.__name__ == "train_minibatch"
    agent.close()
