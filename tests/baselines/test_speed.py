import itertools

import pytest
from tiny_replay_agents import agent_of

from baselines.registry import load_pinned
from baselines.speed import measure


@pytest.mark.parametrize("name", ["pqn", "hadamax-pqn"])
def test_a_short_rollout_of_pqn_keeps_its_minibatches(name):
    full = load_pinned(name).config
    short, budget = full.for_measuring(on_gpu=False)
    assert short.rollout_agent_steps * 4 == full.rollout_agent_steps
    assert short.rollout_agent_steps // short.minibatches == full.rollout_agent_steps // full.minibatches
    assert (short.epochs, short.train_environments) == (full.epochs, full.train_environments)
    assert short.total_updates(budget) == 10_000
    assert full.for_measuring(on_gpu=True)[0] == full


@pytest.mark.parametrize("environments", [None, 1])
def test_a_short_block_of_a_replay_agent_is_a_quarter_as_many_agent_steps(environments):
    full = load_pinned("rainbow").config
    short, _ = full.for_measuring(on_gpu=False, environments=environments)
    assert short.frames_per_update * 4 == full.frames_per_update
    assert short.train_environments == (environments or full.train_environments)
    assert (short.batch, short.agent_steps_per_update) == (full.batch, full.agent_steps_per_update)


@pytest.mark.parametrize("name", ["c51", "rainbow"])
def test_whole_and_parts_are_measured_in_turn_and_the_parts_alone_are_no_share_of_the_whole(name):
    agent = agent_of(name, blocks=400)
    ticks = iter(itertools.count(0.0, 0.05))
    order = []
    act, learn = agent.act_once, agent.learn_once
    agent.act_once = lambda: (order.append("act"), act())[1]
    agent.learn_once = lambda batch: (order.append("learn"), learn(batch))[1]
    speed = measure(agent, 2, clock=lambda: float(next(ticks)), together=lambda: order.append("train"))
    agent.close()
    assert [name for name, _ in itertools.groupby(order)] == ["train", "act", "learn"] * 2
    assert len(speed.loop) == len(speed.acting) == len(speed.learning) == 2
    assert all(stretch.agent_steps > 0 and stretch.cpu_seconds > 0 for stretch in speed.loop)
    assert {"acting", "learning", "sampling", "waiting for emulation", "the rest"} == set(speed.shares)
