"""What agents make of the protocol `dopamine`, on real games: a lost life is nothing to them, game over is the end."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_replay_agents import action_log, agent_of, assert_same_weights, checkpoint, retrace, train

from baselines.agent import FinishedGame, Progress, Task
from baselines.emulator.envs import AtariEnvironments
from baselines.pqn import PqnAgent
from baselines.registry import load_pinned
from baselines.replay.memory import ReplayLayout, ReplayMemory
from suite.protocol import load_protocol

DOPAMINE = load_protocol("dopamine").environment
LIMIT = 213  # agent steps: some games of random Breakout are over by then, some are cut
DISCOUNT = 0.99
CPU = torch.device("cpu")
PQN = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 50, "minibatches": 2}


def make_pqn(*, updates, limit=LIMIT, **changes):
    config = dataclasses.replace(load_pinned("pqn").config, **{**PQN, **changes})
    environment = dataclasses.replace(DOPAMINE, max_agent_steps=limit)
    return PqnAgent(config, Task("Breakout-v5", environment, updates * config.frames_per_update, 0, CPU, 1))


def updates_of(agent):
    return [event for event in agent.train() if isinstance(event, Progress)]


def replayed(agent, actions):
    """The steps of the agent's environments, played again outside of it, and their lives before."""
    seeds = agent.provenance()["train_seeds"] + agent.provenance()["greedy_seeds"]
    envs = AtariEnvironments("Breakout-v5", seeds, dataclasses.replace(DOPAMINE, max_agent_steps=LIMIT), threads=1)
    envs.reset()
    lives = [envs.lives]
    steps = [envs.step(row) for row in actions]
    return steps, [*lives, *(step.lives for step in steps)]


@pytest.fixture(scope="module")
def pqn_play():
    """Ten updates of PQN that explores throughout: rollouts, their targets, and the same games played again."""
    caught = []
    agent = make_pqn(updates=10, epsilon_end=1.0, learning_rate=1e-12)
    learn = agent._learn

    def spy(rollout, targets):
        kept = {field.name: getattr(rollout, field.name).clone() for field in dataclasses.fields(rollout)}
        caught.append((dataclasses.replace(rollout, **kept), targets.clone()))
        return learn(rollout, targets)

    agent._learn = spy
    events = updates_of(agent)
    steps, lives = replayed(agent, np.concatenate([event.actions for event in events]))
    joined = {
        "dones": torch.cat([rollout.dones for rollout, _ in caught]).numpy(),
        "rewards": torch.cat([rollout.rewards for rollout, _ in caught]).numpy(),
        "targets": torch.cat([targets for _, targets in caught]).numpy(),
        "next_values": torch.cat([rollout.next_values for rollout, _ in caught]).numpy(),
    }
    games = [game for event in events for game in event.games]
    agent.close()
    return joined, steps, lives, games


def of_train(steps, name):
    return np.stack([getattr(step, name)[:4] for step in steps])


def test_pqn_goes_on_over_a_lost_life(pqn_play):
    joined, steps, lives, _ = pqn_play
    before, after = np.stack(lives[:-1])[:, :4], np.stack(lives[1:])[:, :4]
    lost = (after < before) & (after > 0) & ~of_train(steps, "truncated")
    lost[49::50] = False  # the last step of a rollout bootstraps from its one value alone
    assert lost.sum() > 20
    assert not joined["dones"][lost].any()
    ahead = joined["targets"][1:][lost[:-1]]
    bootstrap = 0.35 * joined["next_values"][:-1][lost[:-1]] + 0.65 * ahead
    wanted = joined["rewards"][:-1][lost[:-1]] + 0.99 * bootstrap
    np.testing.assert_allclose(joined["targets"][:-1][lost[:-1]], wanted, rtol=1e-4, atol=1e-5)
    assert (np.abs(bootstrap) > 1e-3).all()


def test_pqn_cuts_at_game_over_and_at_the_time_limit(pqn_play):
    joined, steps, _, _ = pqn_play
    over, cut = of_train(steps, "game_over"), of_train(steps, "truncated")
    assert over.sum() > 0
    assert (cut & ~over).sum() > 0
    np.testing.assert_array_equal(joined["dones"], over | cut)
    ended = joined["dones"]
    np.testing.assert_array_equal(joined["targets"][ended], joined["rewards"][ended])


def test_pqns_games_are_whole_ones(pqn_play):
    _, steps, _, games = pqn_play
    ended = np.stack([step.game_over | step.truncated for step in steps])
    assert len(games) == ended.sum()
    assert {game.end for game in games} == {"game_over", "time_limit"}
    for number in range(4):
        paid, whole = 0.0, []
        for t, step in enumerate(steps):
            paid += float(step.raw_rewards[number])
            if ended[t, number]:
                whole.append(paid)
                paid = 0.0
        assert [g.episode_return for g in games if g.kind == "train" and g.environment == number] == whole


def filled_memory(limit, agent_steps, seeds=(0, 1, 2, 3), *, episodic_life=False):
    """A memory of single steps filled with random Breakout, and the steps with the lives before each."""
    envs = AtariEnvironments(
        "Breakout-v5", list(seeds), dataclasses.replace(DOPAMINE, max_agent_steps=limit), threads=1
    )
    memory = ReplayMemory(ReplayLayout(4000, len(seeds), 1), discount=DISCOUNT, episodic_life=episodic_life, device=CPU)
    memory.start(envs.reset(), envs.lives)
    rng, lives, steps = np.random.default_rng(0), [envs.lives], []
    for _ in range(agent_steps):
        actions = rng.integers(0, envs.num_actions, size=len(seeds))
        steps.append(envs.step(actions))
        memory.add(actions, steps[-1])
        lives.append(steps[-1].lives)
    envs.close()
    return memory, steps, lives


def discounts(memory, t):
    count = memory.layout.environments
    return memory.gather(np.arange(count) + t * count, CPU).discounts.numpy()


def test_a_replayed_transition_ends_at_game_over_alone():
    memory, steps, lives = filled_memory(LIMIT, 500)
    seen = {"lost life": 0, "game over": 0, "time limit": 0}
    for t, step in enumerate(steps[:-1]):
        found = discounts(memory, t)
        over = step.game_over
        np.testing.assert_array_equal(found[~step.resets], np.where(over, 0.0, np.float32(DISCOUNT))[~step.resets])
        seen["lost life"] += int(((step.lives < lives[t]) & ~step.dones).sum())
        seen["game over"] += int(over.sum())
        seen["time limit"] += int((step.truncated & ~over).sum())
    assert all(seen.values()), seen


def test_a_life_lost_at_the_very_time_limit_leaves_the_games_value_standing():
    _, steps, lives = filled_memory(10_000, 300, (0,))
    fatal = next(t for t, step in enumerate(steps) if step.lives[0] < lives[t][0])
    memory, cut, before = filled_memory(fatal + 1, 300, (0,))
    assert cut[fatal].truncated[0]
    assert cut[fatal].lives[0] < before[fatal][0]
    assert discounts(memory, fatal)[0] == np.float32(DISCOUNT)
    episodic, _, _ = filled_memory(fatal + 1, 300, (0,), episodic_life=True)
    assert discounts(episodic, fatal)[0] == 0  # as the other protocol has it


@pytest.mark.parametrize("name", ["c51", "rainbow"])
def test_a_replay_agent_stopped_among_sticky_actions_goes_on_to_the_same_weights(name):
    whole, first, second = (agent_of(name, protocol="dopamine", max_agent_steps=40, blocks=16) for _ in range(3))
    reports = train(whole)
    before = train(first, 9)
    state = checkpoint(first)
    games = retrace(second, state, action_log(before))
    after = train(second)
    np.testing.assert_array_equal(action_log(reports), np.concatenate([action_log(before), action_log(after)]))
    assert [*games, *(game for report in after for game in report.games)] == [
        game for report in reports for game in report.games
    ]
    assert_same_weights(whole, second)


def test_pqn_stopped_among_sticky_actions_goes_on_to_the_same_weights():
    changes = {"rollout_agent_steps": 8, "updates": 12, "limit": 40}
    whole, first, second = (make_pqn(**changes) for _ in range(3))
    reports = updates_of(whole)
    before = []
    for event in first.train():
        if isinstance(event, Progress):
            before.append(event)
            if len(before) == 7:
                break
    second.load_state_dict(first.state_dict())
    log = np.concatenate([event.actions for event in before])
    games = [event for event in second.retrace(log) if isinstance(event, FinishedGame)]
    after = updates_of(second)
    assert [*games, *(game for event in after for game in event.games)] == [g for event in reports for g in event.games]
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
