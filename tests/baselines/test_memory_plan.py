from dataclasses import replace

import pytest
import torch

from baselines import memory_plan as module
from baselines.code import find_source
from baselines.memory_plan import memory_plan, parameter_count
from baselines.registry import load_pinned
from baselines.replay.memory import ReplayMemory
from baselines.replay.schedule import replay_layout

FULL, SHORT = 40_000_000, 20_000


@pytest.mark.parametrize("name", ["c51", "hadamax-c51", "rainbow"])
def test_a_full_run_takes_seven_gigabytes_of_frames_and_little_else(name):
    plan = memory_plan(load_pinned(name).config, FULL)
    assert 7.05e9 < plan.frames < 7.06e9
    assert plan.frames < plan.total < 9e9


def test_a_short_run_takes_what_its_own_frames_do():
    config = load_pinned("c51").config
    assert memory_plan(config, SHORT).frames == (19 * 16 + 4) * 16 * 84 * 84  # 19 blocks of 16 vector steps
    assert memory_plan(config, SHORT).total < 1e9


def test_weights_are_counted_with_gradients_moments_and_target():
    few, many = (memory_plan(load_pinned("rainbow").config, SHORT, actions=count).learner for count in (6, 18))
    assert many - few == 4 * 5 * 12 * 51 * (2 * 512 + 1)  # weights and noise scales, and the noisy bias


def test_bookkeeping_is_what_the_memory_allocates():
    layout = replay_layout(load_pinned("rainbow").config, SHORT)
    memory = ReplayMemory(layout, discount=0.99, episodic_life=True, device=torch.device("cpu"))
    arrays = [value for value in vars(memory).values() if hasattr(value, "nbytes") and value.shape[0] == layout.slots]
    assert sum(value.nbytes for value in arrays) == layout.frame_bytes + layout.bookkeeping_bytes


@pytest.mark.parametrize(
    ("name", "learning", "diagnosing"),
    [("pqn", 128 * 1_200_000, 310_000_000), ("hadamax-pqn", 128 * 10_000_000, 310_000_000)],
)
def test_on_a_gpu_what_a_graph_of_learning_keeps_and_what_ranks_take_add_up(name, learning, diagnosing):
    """A graph's memory is its own for ever; on a CPU the larger of the two is the peak."""
    plan = memory_plan(load_pinned(name).config, FULL)
    assert plan.learner == max(learning, diagnosing)
    assert plan.on_device > plan.frames + learning + diagnosing + 1_000_000_000
    assert plan.total == plan.frames + plan.learner + plan.process


def test_a_replay_agents_graphs_are_counted_on_a_gpu_alone():
    plan = memory_plan(load_pinned("c51").config, SHORT)
    batches, environments = 3 * 32, 16
    assert plan.graphs == (batches + environments) * 1_200_000
    assert plan.on_device == plan.frames + plan.learner + plan.graphs + 1_000_000_000
    assert plan.total == plan.frames + plan.bookkeeping + plan.learner + plan.process


def test_a_plan_of_many_runs_builds_each_network_once(monkeypatch):
    built = []
    monkeypatch.setattr(module, "QNetwork", lambda encoder, actions: built.append(actions) or torch.nn.Linear(2, 3))
    config = replace(load_pinned("pqn").config, discount=0.123)  # no other test has counted it
    assert [parameter_count(config) for _ in range(1000)] == [9] * 1000
    assert len(built) == 1
    parameter_count(config, actions=4)
    assert built == [18, 4]


def test_an_encoder_of_ones_own_that_has_changed_is_counted_again(tmp_path):
    counts = []
    for width in (8, 16):
        (tmp_path / "counted_net.py").write_text(
            "import torch\n\n\nclass Net(torch.nn.Module):\n    features = 4\n\n    def __init__(self):\n"
            f"        super().__init__()\n        self.dense = torch.nn.Linear({width}, 4, bias=False)\n\n"
            "    def forward(self, x):\n        return self.dense(x)\n"
        )
        reference = find_source("counted_net.py:Net", tmp_path).reference
        counts.append(parameter_count(replace(load_pinned("pqn").config, encoder=reference)))
    assert counts[1] - counts[0] == 8 * 4
