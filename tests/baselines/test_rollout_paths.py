"""PQN's fast rollouts against the plain one, on real games: groups of environments, frames stacked on the device."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from recorded_on_a_cpu import REFUSED, recorded_as_strictly_as_on_a_gpu, recorded_on_a_cpu

from baselines import pqn
from baselines.agent import FinishedGame, Progress, Task
from baselines.config import ConfigError
from baselines.emulator.envs import AtariEnvironments, number_of_actions
from baselines.emulator.frame_stacks import FrameStacks, StackedEvaluation, why_not_stacked
from baselines.emulator.group_choice import GROUP_NUMBERS, groups_of_few, measures_groups, rollout_speed
from baselines.emulator.groups import all_observations, make_groups
from baselines.emulator.rollout_play import RolloutPlay
from baselines.fast.cuda_graph import Captured, cuda_graph, remember_learner
from baselines.fast.names import EPOCH_GRAPH, FUSED_BLOCK, FUSED_INPUT, FUSED_NORM, ONE_CONVOLUTION, ROLLOUT_GRAPH
from baselines.fast.paths import Paths, rollout_path
from baselines.fast.trials import why_not_captured
from baselines.pqn import PqnAgent
from baselines.registry import load_pinned
from suite.protocol import load_protocol

CPU = torch.device("cpu")
PROTOCOL = load_protocol("paper").environment
# Odd numbers: the groups differ in size. Long enough for lost lives and whole games.
SMALL = {"train_environments": 5, "greedy_environments": 3, "rollout_agent_steps": 16, "minibatches": 2, "epochs": 1}
UPDATES = 20


def make(game="Breakout-v5", device=CPU, *, plain=False, emulator_threads=2, groups=None):
    config = dataclasses.replace(load_pinned("pqn").config, **SMALL)
    frames = UPDATES * config.frames_per_update
    return PqnAgent(config, Task(game, PROTOCOL, frames, 3, device, emulator_threads, plain, groups))


def take(monkeypatch, *paths):
    """Lets agents that are made from now on take these paths, on a CPU too."""
    rollout = tuple(path for path in paths if path == ROLLOUT_GRAPH)
    monkeypatch.setattr(pqn, "rollout_path", lambda device, plain, why_not_stacked: Paths(taken=rollout))
    monkeypatch.setattr(pqn, "RolloutPlay", partial(RolloutPlay, record=recorded_on_a_cpu))
    if EPOCH_GRAPH in paths:
        monkeypatch.setattr(pqn, "captured", recorded)


def recorded(update, network, optimizer, device, *, plain, batches, name):
    """`captured` as it is on a GPU, with what stands in for graphs."""
    why_not = why_not_captured(update, network, optimizer, batches(), recorded_on_a_cpu)
    assert why_not is None
    return Captured(update, lambda: remember_learner(network, optimizer), recorded_on_a_cpu), Paths(taken=(name,))


def history(agent, updates=UPDATES):
    """Everything that `updates` of an agent leave behind."""
    left = []
    for event in agent.train():
        if isinstance(event, Progress):
            left.append((event.actions.tobytes(), event.games, dict(event.metrics)))
            if len(left) == updates:
                break
    weights = [parameter.detach().numpy().tobytes() for parameter in agent.network.parameters()]
    return left, weights, agent.state_dict()["observations_sha256"], agent.unreported_game_ends


@pytest.fixture(scope="module", autouse=True)
def one_image_at_a_time():
    """A batch of another size may round differently; what is compared here is everything else."""
    evaluate = pqn.greedy_policy

    def singly(network, observations):
        return tuple(
            torch.cat(parts) for parts in zip(*(evaluate(network, one) for one in observations.split(1)), strict=True)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pqn, "greedy_policy", singly)
        yield


@pytest.fixture(scope="module")
def plain_history(one_image_at_a_time):
    agent = make()
    found = history(agent)
    agent.close()
    assert sum(len(games) for _, games, _ in found[0]) > 3
    return found


@pytest.mark.parametrize(
    ("groups", "paths"),
    [
        pytest.param(2, (), marks=pytest.mark.slow),
        (3, ()),
        (4, ()),  # with an empty share of the greedy ones
        pytest.param(1, (ROLLOUT_GRAPH,), marks=pytest.mark.slow),
        (3, (ROLLOUT_GRAPH, EPOCH_GRAPH)),
        pytest.param(None, (EPOCH_GRAPH,), marks=pytest.mark.slow),
    ],
    ids=lambda value: str(value) if not isinstance(value, tuple) else "+".join(path[14:21] for path in value),
)
def test_no_number_of_groups_and_no_graph_changes_a_byte(monkeypatch, plain_history, groups, paths):
    take(monkeypatch, *paths)
    agent = make(groups=groups)
    assert tuple(path for path in agent.paths.taken if path not in (FUSED_INPUT, FUSED_NORM)) == paths
    assert agent.environment_groups == len(agent._play._groups) == (groups or 1)
    assert history(agent) == plain_history
    agent.close()


def test_a_resumed_run_goes_on_with_the_same_bytes(monkeypatch, plain_history):
    take(monkeypatch, ROLLOUT_GRAPH, EPOCH_GRAPH)
    first = make(groups=2)
    left, *_ = history(first, UPDATES // 2)
    log = np.concatenate([np.frombuffer(actions, np.uint8).reshape(-1, 8) for actions, _, _ in left])
    resumed = make(groups=4)  # as when another number was the fastest
    resumed.load_state_dict(first.state_dict())
    replayed = [event for event in resumed.retrace(log) if isinstance(event, FinishedGame)]
    assert replayed == [game for _, games, _ in left for game in games]
    rest, *ends = history(resumed, UPDATES - UPDATES // 2)
    assert (left + rest, *ends) == plain_history
    first.close()
    resumed.close()


@pytest.mark.parametrize("game", ["Breakout-v5", "Pong-v5", "Seaquest-v5"])
def test_stacks_are_the_emulators_own_bytes_at_every_step(game):
    """Breakout and Seaquest lose lives and end games, each environment at its own time."""
    (group,) = make_groups(game, [1, 2, 3, 4], [5], PROTOCOL, threads=2, groups=1)
    stacks = FrameStacks(5, CPU)
    rng = np.random.default_rng(0)
    partial_resets = 0
    for _ in range(1200):
        stacks.push(stacks.prepare(group.observations, group.resets))
        np.testing.assert_array_equal(stacks.images.numpy(), group.observations)
        partial_resets += 0 < group.resets.sum() < 5
        group.begin(rng.integers(0, group.environments.num_actions, size=5))
        group.finish()
    assert partial_resets > (0 if game == "Pong-v5" else 20)
    group.environments.close()


def test_the_same_observations_can_be_looked_at_twice():
    (group,) = make_groups("Pong-v5", [1, 2], [], PROTOCOL, threads=1, groups=1)
    evaluation = StackedEvaluation(lambda images: (images.float().mean(),), 2, CPU, recorded_on_a_cpu)
    for _ in range(3):
        for _ in range(2):
            images, mean = evaluation(group)
            np.testing.assert_array_equal(images.numpy(), group.observations)
            assert mean.item() == pytest.approx(group.observations.mean(), rel=1e-5)
        group.begin(np.zeros(2))
        group.finish()
    group.environments.close()


def test_groups_together_hold_every_environment_in_the_order_of_one_group():
    one = make_groups("Pong-v5", [1, 2, 3], [4, 5], PROTOCOL, threads=1, groups=1)
    two = make_groups("Pong-v5", [1, 2, 3], [4, 5], PROTOCOL, threads=1, groups=2)
    assert [list(group.members) for group in two] == [[0, 3], [1, 2, 4]]
    assert [list(group.members) for group in one] == [[0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(all_observations(two), all_observations(one))
    for group in (*one, *two):
        group.environments.close()


@pytest.mark.parametrize("groups", [0, 4])
def test_a_group_without_a_training_environment_is_refused(groups):
    with pytest.raises(ConfigError, match=f"{groups} groups cannot share 3 training environments, one each at least"):
        make_groups("Pong-v5", [1, 2, 3], [4, 5], PROTOCOL, threads=1, groups=groups)


@pytest.mark.parametrize(("environments", "groups"), [(1, 1), (2, 2), (3, 3), (4, None), (128, None)])
def test_environments_too_few_for_all_that_is_tried_are_a_group_each(environments, groups):
    config = dataclasses.replace(load_pinned("pqn").config, train_environments=environments, minibatches=1)
    assert groups_of_few(config) == groups
    assert groups is None or groups <= environments


def test_an_agent_can_be_closed_while_its_environments_step():
    agent = make()
    next(agent.train())  # a sign of life in the middle of a rollout
    agent.close()


def test_a_cpu_takes_no_graph_of_the_rollout_and_a_gpu_one_that_works():
    def found(device, *, plain=False):
        return rollout_path(torch.device(device), plain=plain, why_not_stacked=lambda device: None)

    assert found("cpu") == Paths()
    assert found("cuda").taken == (ROLLOUT_GRAPH,)
    assert found("cuda", plain=True).missed == (f"{ROLLOUT_GRAPH}: turned off",)


def test_a_graph_of_stacks_that_fails_is_left_out_with_its_reason():
    def fails(device):
        raise RuntimeError("operation not permitted\nwhen capturing")

    paths = rollout_path(torch.device("cuda"), plain=False, why_not_stacked=fails)
    assert paths == Paths(missed=(f"{ROLLOUT_GRAPH}: RuntimeError: operation not permitted",))


def test_a_speed_is_the_best_of_rollouts_after_the_first_and_leaves_nothing_open(monkeypatch):
    agent = make()
    task = Task("Breakout-v5", PROTOCOL, 0, 3, CPU, emulator_threads=2)
    groups, close = [], RolloutPlay.close

    def closed(play):
        groups.append(len(play._groups))
        close(play)

    monkeypatch.setattr(RolloutPlay, "close", closed)
    ticks = iter([0, 100, 100, 108, 108, 112, 112, 120])  # seconds of four rollouts: 100, 8, 4, 8
    start = partial(agent._start_play, task, 3, stacked=False)
    assert rollout_speed(start, clock=lambda: next(ticks)) == 16 * 5 / 4
    assert groups == [3]
    agent.close()


def test_a_gpu_run_takes_the_fastest_number_of_groups_unless_told_another(monkeypatch):
    asked = []

    def speed(start):
        play = start(16)
        number = len(play._groups)
        play.close()
        asked.append(number)
        return {2: 10.0, 3: 30.0, 4: 20.0}[number]

    monkeypatch.setattr(pqn, "rollout_speed", speed)
    monkeypatch.setattr(pqn, "measures_groups", lambda task: task.groups is None)
    agent = make()
    assert asked == list(GROUP_NUMBERS)
    assert agent.group_speeds == {2: 10.0, 3: 30.0, 4: 20.0}
    assert agent.environment_groups == len(agent._play._groups) == 3
    agent.close()
    told = make(groups=2)
    assert (told.environment_groups, told.group_speeds) == (2, {})
    told.close()


@pytest.mark.parametrize(
    ("device", "plain", "groups", "measures"),
    [("cuda", False, None, True), ("cuda", True, None, False), ("cuda", False, 2, False), ("cpu", False, None, False)],
)
def test_groups_are_measured_on_a_gpu_where_nobody_asked_for_a_number_or_for_the_plain_path(
    device, plain, groups, measures
):
    task = Task("Pong-v5", PROTOCOL, 0, 0, torch.device(device), 1, plain, groups)
    assert measures_groups(task) is measures


def test_a_sample_of_a_rollout_is_spread_over_it_and_the_same_each_time():
    """Ranks are taken over it: the observations of one moment would be alike."""
    groups = make_groups("Pong-v5", [1, 2], [3], PROTOCOL, threads=1, groups=1)
    play = RolloutPlay(groups, brightness, agent_steps=64, device=CPU, spans=lambda name: nullcontext())
    play.observations[:] = torch.arange(128, dtype=torch.uint8).reshape(64, 2, 1, 1, 1)
    places = play.sample_observations(16)[:, 0, 0, 0].tolist()
    assert len(set(places)) == 16
    assert min(places) < 32 < 96 < max(places)
    assert play.sample_observations(16)[:, 0, 0, 0].tolist() == places
    assert len(play.sample_observations(500)) == 128
    play.close()


def test_measuring_groups_leaves_no_pass_in_buffers(monkeypatch):
    built, build = [], pqn.build_q_network

    def with_a_buffer(*arguments):
        network = build(*arguments)
        network.register_buffer("passes", torch.zeros(()))
        built.append(network)
        return network

    def speed(_start):
        built[0].passes += 1
        return float(built[0].passes)

    monkeypatch.setattr(pqn, "build_q_network", with_a_buffer)
    monkeypatch.setattr(pqn, "rollout_speed", speed)
    monkeypatch.setattr(pqn, "measures_groups", lambda task: True)
    agent = make()
    assert agent.group_speeds == dict.fromkeys(GROUP_NUMBERS, 1.0)
    assert built[0].passes == 0
    agent.close()


@pytest.mark.parametrize("game", ["Pong-v5", "Breakout-v5", "Seaquest-v5"])
def test_the_number_of_actions_is_the_emulators_own(game):
    environments = AtariEnvironments(game, [0], PROTOCOL, threads=1)
    assert number_of_actions(game) == environments.num_actions
    environments.close()


def brightness(images, *weights):
    return images.float().mean(dim=(1, 2, 3)) * (weights[0] if weights else 1), images.sum(dim=(1, 2, 3)).argsort()


@pytest.mark.parametrize("environments", [1, 5])
def test_the_proof_of_stacks_tells_a_graph_that_works_from_one_that_does_not(environments):
    def prove(record, evaluate=brightness):
        return why_not_stacked(CPU, evaluate, environments, record=record)

    assert prove(recorded_on_a_cpu) is None

    def replays_nothing(work, inputs, undo):
        _, outputs = recorded_on_a_cpu(work, inputs, undo)
        return lambda: None, outputs

    assert "are not the emulator's" in prove(replays_nothing)


def test_the_proof_of_stacks_notices_values_that_are_not_those_without_a_graph():
    calls = []

    def counts_its_calls(images):
        calls.append(None)
        return (brightness(images)[0] * len(calls),)

    assert why_not_stacked(CPU, counts_its_calls, 3, record=recorded_on_a_cpu).startswith("its values are off by ")


def test_the_proof_of_stacks_gives_further_inputs_anew_at_every_step():
    def noise(step):
        return (torch.full((3,), float(step + 1)),)

    assert why_not_stacked(CPU, brightness, 3, more=noise, record=recorded_on_a_cpu) is None

    def keeps_its_noise(work, inputs, undo):
        return recorded_on_a_cpu(work, [inputs[0], *(tensor.clone() for tensor in inputs[1:])], undo)

    found = why_not_stacked(CPU, brightness, 3, more=noise, record=keeps_its_noise)
    assert found == "its values are off by 5.0e-01 from eager ones after 1 steps"


@pytest.mark.parametrize("can_be_recorded", [True, False])
def test_a_rollouts_graph_is_proven_with_the_agents_own_network(monkeypatch, can_be_recorded):
    """A network that no graph can hold plays plain, and the run says why: it used to end the run at its first step."""
    record, evaluate = recorded_as_strictly_as_on_a_gpu, pqn.greedy_policy

    def brings_a_number_from_the_host(network, observations):
        values, actions = evaluate(network, observations)
        return values / torch.tensor(1.0), actions

    def path(device, plain, why_not_stacked):
        return rollout_path(
            torch.device("cuda"), plain=plain, why_not_stacked=lambda _: why_not_stacked(CPU, record=record)
        )

    if not can_be_recorded:
        monkeypatch.setattr(pqn, "greedy_policy", brings_a_number_from_the_host)
    monkeypatch.setattr(pqn, "rollout_path", path)
    monkeypatch.setattr(pqn, "RolloutPlay", partial(RolloutPlay, record=record))
    agent = make(groups=2)
    assert (ROLLOUT_GRAPH in agent.paths.taken) is can_be_recorded
    assert (f"{ROLLOUT_GRAPH}: RuntimeError: {REFUSED}" in agent.paths.missed) is not can_be_recorded
    assert len(history(agent, updates=1)[0]) == 1
    agent.close()


def test_stacks_that_nobody_needs_are_gone_at_once():
    """A graph that waits for the garbage collector keeps a GPU's memory, and spoils the graph recorded meanwhile."""
    (group,) = make_groups("Pong-v5", [1, 2], [], PROTOCOL, threads=1, groups=1)
    evaluation = StackedEvaluation(brightness, 2, CPU, recorded_on_a_cpu)
    evaluation(group)
    gone = weakref.ref(evaluation)
    gc.disable()
    try:
        del evaluation
        assert gone() is None
    finally:
        gc.enable()
    group.environments.close()


@pytest.mark.gpu
def test_a_cuda_graph_stacks_and_evaluates_what_the_plain_path_does(cuda):
    (group,) = make_groups("Breakout-v5", [1, 2, 3, 4], [5], PROTOCOL, threads=2, groups=1)
    evaluation = StackedEvaluation(lambda images: (images.float().mean(dim=(1, 2, 3)),), 5, cuda, cuda_graph)
    rng = np.random.default_rng(0)
    for _ in range(300):
        images, means = evaluation(group)
        np.testing.assert_array_equal(images.cpu().numpy(), group.observations)
        np.testing.assert_allclose(means.cpu().numpy(), group.observations.mean(axis=(1, 2, 3)), rtol=1e-4)
        group.begin(rng.integers(0, group.environments.num_actions, size=5))
        group.finish()
    group.environments.close()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["pqn", "hadamax-pqn", "pqn-bf16", "hadamax-pqn-bf16"])
def test_on_a_gpu_pqn_takes_every_path_it_has(cuda, name):
    config = dataclasses.replace(load_pinned(name).config, **SMALL)
    agent = PqnAgent(config, Task("Breakout-v5", PROTOCOL, config.frames_per_update, 3, cuda, 2))
    hadamax = (FUSED_BLOCK, ONE_CONVOLUTION, FUSED_INPUT)
    own = (FUSED_INPUT, FUSED_NORM)
    assert agent.paths == Paths(taken=(*(hadamax if "hadamax" in name else own), ROLLOUT_GRAPH, EPOCH_GRAPH))
    assert agent.environment_groups in GROUP_NUMBERS
    assert list(agent.group_speeds) == list(GROUP_NUMBERS)
    agent.close()


@pytest.mark.gpu
def test_on_a_gpu_the_fast_path_plays_and_learns_what_the_plain_one_does(cuda):
    histories = []
    for plain in (False, True):
        agent = make(device=cuda, plain=plain)
        events = [event for event in agent.train() if isinstance(event, Progress)][:3]
        histories.append([(event.metrics["loss"], event.metrics["value"]) for event in events])
        agent.close()
    np.testing.assert_allclose(histories[0][:1], histories[1][:1], rtol=1e-2)
