"""The replay memory against a slow, obvious model, on invented play and on the emulator's."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.emulator.envs import AtariEnvironments, Step
from baselines.replay.memory import ReplayLayout, ReplayMemory
from suite.protocol import load_protocol

CPU = torch.device("cpu")
DISCOUNT = 0.9
# what a step can be, and how often: an ordinary one, or one of the ends
KINDS = ("step", "lost life", "game over", "time limit", "lost life at the time limit")


class InventedGame:
    """One environment that does what it is told, with frames of its own: 2 x 2 random bytes."""

    def __init__(self, rng):
        self.rng = rng
        self.lives = 3
        self.stack = np.repeat(self.frame(), 4, axis=0)
        self.ended = None  # how the step before ended

    def frame(self):
        return self.rng.integers(256, size=(1, 2, 2), dtype=np.uint8)

    def step(self, kind, hidden_end):
        """`hidden_end`: should this be the reset step after a lost life, the game ends in it and starts anew."""
        reset = self.ended is not None
        new_game = reset and (self.ended != "lost life" or hidden_end)
        frame = self.frame()
        self.stack = np.repeat(frame, 4, axis=0) if new_game else np.concatenate([self.stack[1:], frame])
        if new_game:
            self.lives = 3
        kind = "step" if reset else kind
        self.lives -= "lost life" in kind
        self.ended = None if kind == "step" else kind
        return {
            "observations": self.stack,
            "rewards": np.float32(0.0 if reset else self.rng.integers(-1, 2)),
            "dones": kind != "step",
            "game_over": kind == "game over",
            "truncated": "time limit" in kind,
            "resets": reset,
            "lives": self.lives,
        }


class ObviousMemory:
    """Keeps every observation of every step and reads transitions off the list."""

    def __init__(self, layout, observations, lives):
        self.layout, self.observations, self.first_lives, self.steps = layout, [observations], lives, []

    def add(self, actions, step):
        self.observations.append(step.observations.copy())
        self.steps.append((actions, step))

    def times(self):
        """Which vector steps can be sampled: complete windows, the newest `capacity` of them."""
        newest = len(self.steps) - self.layout.n_steps
        per_environment = self.layout.capacity // self.layout.environments
        return range(max(0, newest - per_environment + 1), newest + 1)

    def transitions(self):
        """{(time, environment): (observation, action, reward, discount, next observation or None)}."""
        found = {}
        for t in self.times():
            for i in range(self.layout.environments):
                if not self.steps[t][1].resets[i]:
                    found[t, i] = self.transition(t, i)
        return found

    def transition(self, start, i):
        reward, t = 0.0, start
        while True:
            step = self.steps[t][1]
            reward += DISCOUNT ** (t - start) * float(step.rewards[i])
            t += 1
            if step.dones[i]:
                lives_before = self.steps[t - 2][1].lives[i] if t > 1 else self.first_lives[i]
                alive = step.truncated[i] and not step.game_over[i] and step.lives[i] == lives_before
                break
            if t - start == self.layout.n_steps:
                alive = True
                break
        following = self.observations[t][i] if alive else None
        return self.observations[start][i], self.steps[start][0][i], reward, alive * DISCOUNT ** (t - start), following


def invented_play(rng, environments, kinds, hidden_ends):
    """First observations, then (actions, Step) for each row of `kinds` [T, N]."""
    games = [InventedGame(rng) for _ in range(environments)]
    yield np.stack([game.stack for game in games])
    for row, hidden in zip(kinds, hidden_ends, strict=True):
        parts = [game.step(kind, end) for game, kind, end in zip(games, row, hidden, strict=True)]
        fields = {key: np.array([part[key] for part in parts]) for key in parts[0]}
        yield rng.integers(18, size=environments), Step(raw_rewards=fields["rewards"], **fields)


def filled(layout, play, first, lives=None):
    """A memory and the model after all of `play`, with the indices that `add` said can be sampled."""
    memory = ReplayMemory(layout, discount=DISCOUNT, episodic_life=True, device=CPU)
    lives = np.full(layout.environments, 3) if lives is None else lives
    memory.start(first, lives)
    model, opened = ObviousMemory(layout, first, lives), set()
    for actions, step in play:
        now, no_longer = memory.add(actions, step)
        model.add(actions, step)
        assert opened.isdisjoint(now)
        assert opened.issuperset(no_longer)
        opened = (opened - set(no_longer.tolist())) | set(now.tolist())
    return memory, model, opened


def assert_same_transitions(memory, model, opened):
    layout, expected = memory.layout, model.transitions()
    index = {(t, i): t % layout.slots * layout.environments + i for t, i in expected}
    assert opened == set(index.values())
    assert memory.size == len(expected)
    if not expected:
        return
    batch = memory.gather(np.array(list(index.values())), CPU)
    for b, (observation, action, reward, discount, following) in enumerate(expected.values()):
        np.testing.assert_array_equal(batch.observations[b], observation)
        assert batch.actions[b] == action
        assert batch.rewards[b] == pytest.approx(reward)
        assert batch.discounts[b] == pytest.approx(discount)
        if following is not None:
            np.testing.assert_array_equal(batch.next_observations[b], following)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_every_transition_is_what_a_slow_obvious_memory_gives(data):
    environments, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    capacity = environments * data.draw(st.integers(1, 12))
    steps = data.draw(st.integers(0, 45))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    ends = data.draw(st.sampled_from([0.0, 0.15, 0.6]))
    kinds = rng.choice(KINDS, size=(steps, environments), p=[1 - ends, *[ends / 4] * 4])
    first, *play = invented_play(rng, environments, kinds, rng.random(kinds.shape) < 0.3)
    memory, model, opened = filled(ReplayLayout(capacity, environments, n, image_shape=(2, 2)), play, first)
    assert_same_transitions(memory, model, opened)


def one_game(kinds, n=1, capacity=64):
    rng = np.random.default_rng(0)
    first, *play = invented_play(rng, 1, [[kind] for kind in kinds], [[False]] * len(kinds))
    return filled(ReplayLayout(capacity, 1, n, image_shape=(2, 2)), play, first)


def test_never_samples_a_transition_from_a_done_step():
    memory, _, opened = one_game(["step", "game over", "step", "step", "lost life", "step", "step"])
    assert opened == {0, 1, 3, 4, 6}  # 2 and 5 start at the done observations, where the reset steps were taken
    assert set(memory.draw_uniform(300, np.random.default_rng(0)).tolist()) == opened


def test_a_time_limit_bootstraps_from_the_true_last_observation():
    memory, model, _ = one_game(["step", "time limit", "step", "step"])
    batch = memory.gather(np.array([1]), CPU)
    assert batch.discounts[0] == pytest.approx(DISCOUNT)
    np.testing.assert_array_equal(batch.next_observations[0], model.observations[2][0])


@pytest.mark.parametrize("end", ["lost life", "game over", "lost life at the time limit"])
def test_lost_lives_and_game_ends_leave_nothing_to_gain(end):
    memory, _, _ = one_game(["step", end, "step", "step", "step"], n=3)
    assert memory.gather(np.array([0, 1]), CPU).discounts.tolist() == [0, 0]


def test_draws_are_uniform_over_all_transitions_also_after_the_ring_wrapped():
    rng = np.random.default_rng(3)
    kinds = rng.choice(KINDS, size=(100, 2), p=[0.8, 0.1, 0.05, 0.05, 0])
    first, *play = invented_play(rng, 2, kinds, np.zeros(kinds.shape, bool))
    memory, _, opened = filled(ReplayLayout(40, 2, 3, image_shape=(2, 2)), play, first)
    drawn = memory.draw_uniform(30_000, np.random.default_rng(0))
    indices, counts = np.unique(drawn, return_counts=True)
    assert set(indices.tolist()) == opened
    assert counts / len(drawn) * len(opened) == pytest.approx(np.ones(len(opened)), abs=0.15)


def test_equal_memories_and_generators_draw_the_same():
    draws = [one_game(["step", "lost life"] * 10)[0].draw_uniform(50, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(draws[0], draws[1])


def test_an_empty_memory_says_so():
    memory, _, _ = one_game([])
    with pytest.raises(ValueError, match="no complete transition"):
        memory.draw_uniform(1, np.random.default_rng(0))


def test_a_stack_that_cannot_be_rebuilt_is_refused():
    rng = np.random.default_rng(0)
    first, *play = invented_play(rng, 1, [["lost life"], ["step"]], [[False]] * 2)
    actions, step = play[1]
    strange = dataclasses.replace(step, observations=step.observations[:, ::-1].copy())
    with pytest.raises(ValueError, match="neither runs on nor starts anew"):
        filled(ReplayLayout(8, 1, 1, image_shape=(2, 2)), [play[0], (actions, strange)], first)


@pytest.mark.parametrize("capacity", [0, 7])
def test_a_capacity_that_the_environments_cannot_share_is_refused(capacity):
    with pytest.raises(ValueError, match="no positive multiple of 2"):
        ReplayLayout(capacity, 2, 1)


@pytest.mark.parametrize(("game", "n"), [("Breakout-v5", 3), ("Qbert-v5", 1)])
def test_stacks_are_the_emulators_own_byte_for_byte(game, n):
    config = dataclasses.replace(load_protocol("paper").environment, max_agent_steps=90)
    envs = AtariEnvironments(game, [1, 2], config, threads=1)
    first, lives, rng = envs.reset(), envs.lives, np.random.default_rng(0)
    actions = rng.integers(envs.num_actions, size=(260, 2))
    play = [(row, envs.step(row)) for row in actions]
    envs.close()
    ends = [sum(getattr(step, key).sum() for _, step in play) for key in ("dones", "truncated")]
    assert ends[0] > ends[1] > 0  # lives were lost, and time ran out
    memory, model, opened = filled(ReplayLayout(400, 2, n), play, first, lives)
    assert_same_transitions(memory, model, opened)
    assert len(opened) > 380


def test_a_million_transitions_take_seven_gigabytes():
    layout = ReplayLayout(1_000_000, 16, 3)
    assert layout.frame_bytes == (62_500 + 6) * 16 * 84 * 84  # 7.06 GB
    assert layout.bookkeeping_bytes < 0.02 * layout.frame_bytes
