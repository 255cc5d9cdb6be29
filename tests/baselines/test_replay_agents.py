"""What C51 and Rainbow share: exact repetition and resume, counts, honest reports. On a real game, tiny."""

from functools import partial, partialmethod

import pytest
import torch
from recorded_on_a_cpu import REFUSED, recorded_as_strictly_as_on_a_gpu, recorded_on_a_cpu
from tiny_replay_agents import BLOCK_FRAMES, action_log, agent_of, assert_same_weights, checkpoint, retrace, train

from baselines import c51, rainbow
from baselines.agent import RetraceMismatch, Tick
from baselines.fast.names import ACTING_GRAPH
from baselines.fast.paths import Paths, acting_path
from baselines.replay import background_play
from baselines.replay.background_play import BackgroundPlay

BOTH = pytest.mark.parametrize("name", ["c51", "rainbow"])


@BOTH
def test_a_run_plays_its_budget_and_reports_it(name):
    agent = agent_of(name, blocks=5, learning_start_agent_steps=32, short_budget_fraction=0.5)
    reports = train(agent)
    agent.close()
    assert [report.frames for report in reports] == [BLOCK_FRAMES * k for k in range(1, 6)]
    assert reports[-1].frames == agent.total_frames
    assert reports[-1].updates == agent.updates == agent.total_updates == (80 - 32) // 8
    assert all(report.actions.shape == (4, 4) for report in reports)
    assert {"loss", "value"} <= set(reports[-1].metrics)
    assert "loss" not in reports[0].metrics  # learning had not started
    assert len(agent.off_protocol) == 2  # target period and memory


@pytest.mark.parametrize(("name", "least"), [("c51", 4), ("rainbow", 12)])  # 1 and 3 steps of 4 environments
def test_learning_can_start_with_the_first_complete_transitions_and_no_sooner(name, least):
    changes = {"blocks": 2, "agent_steps_per_update": 1, "short_budget_fraction": 1.0}
    agent = agent_of(name, learning_start_agent_steps=least, **changes)
    train(agent)
    agent.close()
    assert agent.config.fault == ""
    assert agent.updates == agent.total_updates == 32 - least

    agent = agent_of(name, learning_start_agent_steps=least - 1, **changes)
    assert "learning_start_agent_steps" in agent.config.fault
    with pytest.raises(ValueError, match="no complete transition to sample"):
        train(agent)
    agent.close()


@BOTH
def test_the_same_seed_gives_the_same_run_whatever_the_emulator_threads(name):
    runs = []
    for threads in (1, 2):
        agent = agent_of(name, blocks=5, emulator_threads=threads)
        runs.append((agent, train(agent)))
        agent.close()
    (a, first), (b, second) = runs
    assert (action_log(first) == action_log(second)).all()
    assert [report.metrics for report in first] == [report.metrics for report in second]
    assert_same_weights(a, b)


@BOTH
def test_another_seed_gives_another_run(name):
    logs = []
    for seed in (0, 1):
        agent = agent_of(name, blocks=3, seed=seed)
        logs.append(action_log(train(agent)))
        agent.close()
    assert (logs[0] != logs[1]).any()


@BOTH
@pytest.mark.parametrize("stopped_after", [1, 7])
def test_a_run_stopped_and_resumed_goes_on_as_if_it_had_not(name, stopped_after):
    # A memory of 40 transitions wraps, and games cut at 30 agent steps end, several times within the run.
    changes = {"replay_transitions": 40, "max_agent_steps": 30, "blocks": 12}
    whole = agent_of(name, **changes)
    before = train(whole, blocks=stopped_after)
    state, log = checkpoint(whole), action_log(before)
    after = train(whole)
    whole.close()

    resumed = agent_of(name, **changes)
    games = retrace(resumed, state, log)
    assert games == [game for report in before for game in report.games]
    again = train(resumed)
    resumed.close()

    assert sum(len(report.games) for report in after) > 0
    for one, other in zip(after, again, strict=True):
        assert (one.frames, one.updates, one.games) == (other.frames, other.updates, other.games)
        assert one.metrics == other.metrics
        assert (one.actions == other.actions).all()
    assert_same_weights(whole, resumed)
    assert resumed.state_dict()["observations_sha256"] == whole.state_dict()["observations_sha256"]
    assert resumed.unreported_game_ends == whole.unreported_game_ends


@BOTH
def test_another_log_than_the_run_s_own_is_noticed(name):
    agent = agent_of(name, blocks=8)
    log = action_log(train(agent, blocks=4))
    state = checkpoint(agent)
    agent.close()
    log[:, 0] = (log[:, 0] + 1) % 4
    other = agent_of(name, blocks=8)
    with pytest.raises(RetraceMismatch, match="did not reproduce"):
        retrace(other, state, log)
    other.close()


@BOTH
def test_signs_of_life_come_each_vector_step(name):
    agent = agent_of(name, blocks=1)
    ticks = [event.frames for event in agent.train() if isinstance(event, Tick)]
    agent.close()
    assert ticks == [16, 32, 48, 64]


@BOTH
def test_the_target_is_copied_at_the_pinned_count_and_only_then(name):
    agent = agent_of(
        name, blocks=12, target_copy_agent_steps=40, learning_start_agent_steps=16, short_budget_fraction=1.0
    )
    copied = []
    load = agent.target.load_state_dict

    def count(state):
        copied.append(agent.schedule.learning_start + 8 * agent.updates)
        return load(state)

    agent.target.load_state_dict = count
    train(agent)
    agent.close()
    assert copied == [40, 80, 120, 160]
    fresh = agent_of(name, blocks=12)
    assert any(
        not torch.equal(a, b) for a, b in zip(agent.target.parameters(), fresh.network.parameters(), strict=True)
    )
    fresh.close()


@BOTH
def test_learning_while_the_emulators_step_changes_nothing(name, monkeypatch):
    overlapped = agent_of(name, blocks=4)
    one = train(overlapped)
    overlapped.close()

    class InTurn:
        """Runs a call at once, in this thread."""

        def __init__(self, **_):
            pass

        def submit(self, function, *arguments):
            result = function(*arguments)
            return type("Done", (), {"result": lambda self: result})()

        def shutdown(self, *, wait):
            pass

    monkeypatch.setattr(background_play, "ThreadPoolExecutor", InTurn)
    in_turn = agent_of(name, blocks=4)
    other = train(in_turn)
    in_turn.close()
    assert [report.metrics for report in one] == [report.metrics for report in other]
    assert_same_weights(overlapped, in_turn)


@BOTH
def test_diagnostics_cover_every_named_layer(name):
    agent = agent_of(name, blocks=2)
    train(agent)
    found = agent.diagnose()
    assert agent.diagnose() == found  # on the same sample: a run that resumes has the metrics of one never stopped
    agent.close()
    for layer in agent.network.encoder.layer_names:
        assert {
            f"{kind}/{layer}" for kind in ("effective_rank", "dead_fraction", "activation_norm", "gradient_norm")
        } <= set(found)


@BOTH
def test_provenance_names_the_environments_and_their_seeds(name):
    agent = agent_of(name, blocks=1)
    agent.close()
    provenance = agent.provenance()
    assert provenance["envpool_id"] == "Breakout-v5"
    assert len(set(provenance["train_seeds"])) == 4
    assert provenance["greedy_seeds"] == []


@pytest.mark.parametrize(("module", "name"), [(c51, "c51"), (rainbow, "rainbow")], ids=["c51", "rainbow"])
def test_acting_on_stacks_in_a_graph_gives_the_bytes_of_the_plain_path(monkeypatch, module, name):
    """The path of a GPU, with a stand-in for the graph; games end and lives are lost on the way."""
    plain = agent_of(name, blocks=12)
    expected = train(plain)
    monkeypatch.setattr(module, "acting_path", lambda *_, **__: Paths(taken=(ACTING_GRAPH,)))
    monkeypatch.setattr(BackgroundPlay, "evaluator", partialmethod(BackgroundPlay.evaluator, record=recorded_on_a_cpu))
    stacked = agent_of(name, blocks=12)
    assert ACTING_GRAPH in stacked.paths.taken
    found = train(stacked)
    assert [report.actions.tobytes() for report in found] == [report.actions.tobytes() for report in expected]
    assert [dict(report.metrics) for report in found] == [dict(report.metrics) for report in expected]
    assert_same_weights(stacked, plain)
    for agent in (plain, stacked):
        agent.close()


@pytest.mark.parametrize("can_be_recorded", [True, False])
@pytest.mark.parametrize(
    ("module", "name", "policy"),
    [(c51, "c51", "greedy_actions"), (rainbow, "rainbow", "noisy_greedy_actions")],
    ids=["c51", "rainbow"],
)
def test_acting_is_proven_with_the_agents_own_network(monkeypatch, module, name, policy, can_be_recorded):
    """A network that no graph can hold acts plain, and the run says why: it used to end the run at its first step."""
    record, evaluate = recorded_as_strictly_as_on_a_gpu, getattr(module, policy)

    def brings_a_number_from_the_host(*arguments):
        value, actions = evaluate(*arguments)
        return value / torch.tensor(1.0), actions

    def path(device, plain, why_not_stacked):
        prove = partial(why_not_stacked, record=record)
        return acting_path(torch.device("cuda"), plain=plain, why_not_stacked=lambda _: prove(torch.device("cpu")))

    if not can_be_recorded:
        monkeypatch.setattr(module, policy, brings_a_number_from_the_host)
    monkeypatch.setattr(module, "acting_path", path)
    monkeypatch.setattr(BackgroundPlay, "evaluator", partialmethod(BackgroundPlay.evaluator, record=record))
    agent = agent_of(name, blocks=1)
    assert (ACTING_GRAPH in agent.paths.taken) is can_be_recorded
    assert (f"{ACTING_GRAPH}: RuntimeError: {REFUSED}" in agent.paths.missed) is not can_be_recorded
    assert len(train(agent)) == 1
    agent.close()
