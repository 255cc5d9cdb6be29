"""Rules for the source of what a GPU records in a graph, held to by reading it.

`test_capturable` runs the same functions; here the branches that it does not take are read too.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

import pytest
import torch
from tiny_replay_agents import agent_of, train

# Module -> functions and methods that are recorded; "*" for all but those that build or reset.
CAPTURED = {
    "baselines.pqn": ("greedy_policy", "td_loss", "train_minibatch", "train_epoch", "epoch", "minibatch"),
    "baselines.c51": ("c51_update", "greedy_actions", "evaluate"),
    "baselines.rainbow": ("rainbow_update", "noisy_greedy_actions", "evaluate"),
    "baselines.returns": ("lambda_returns",),
    "baselines.distributional": (
        *("action_values", "project", "taken", "c51_losses"),
        *("clipped_cross_entropy", "cross_entropy", "double_q_targets"),
    ),
    "baselines.optim": ("step", "_update", "_state_of", "radam_scalars", "clip_by_global_norm_", "global_norm"),
    "baselines.networks.pqn_encoders": ("*",),
    "baselines.networks.distribution_network": ("*",),
    "baselines.networks.rainbow_network": ("*",),
    "baselines.networks.q_network": ("*",),
    "baselines.networks.precision": ("encode",),
    "baselines.networks.encoder": ("images", "scaled_images", "flatten_nhwc", "keep", "one_convolution"),
    "baselines.fast.triton_block": (
        *("triton_block", "triton_joint_block", "_block", "_rows", "_joint_image_norm", "_placed"),
        *("_forward", "forward", "backward"),
    ),
    "baselines.fast.triton_norm": ("scaled_images", "norm_relu", "_forward", "forward", "backward"),
    "baselines.emulator.frame_stacks": ("push", "push_and_evaluate"),
}
BUILDS = ("__init__", "reset_parameters", "_reset", "why_not_fused")
READS = {"item", "tolist", "cpu", "numpy", "nonzero", "synchronize", "pin_memory"}
CONVERTS = {"float", "int", "bool", "print"}
FROM_THE_HOST = {"tensor", "from_numpy", "as_tensor"}


def functions(module_name, names):
    tree = ast.parse(inspect.getsource(import_module(module_name)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            taken = node.name in names or ("*" in names and not node.name.startswith((*BUILDS, "build_")))
            if taken:
                yield node


def offences(function):
    """What in a function reads a number from a tensor, or brings one from the host; not where it is not captured."""
    not_captured = {
        inner
        for node in ast.walk(function)
        if isinstance(node, ast.IfExp) and "capturable" in ast.unparse(node.test)
        for inner in ast.walk(node.orelse)
    }
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or node in not_captured:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        constant = all(isinstance(argument, ast.Constant) for argument in node.args)
        if (
            (called in READS and isinstance(node.func, ast.Attribute))
            or (called in CONVERTS and isinstance(node.func, ast.Name) and not constant)
            or (called in FROM_THE_HOST and isinstance(node.func, ast.Attribute))
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", CAPTURED)
def test_nothing_reads_a_number_out_of_a_tensor_inside_what_is_captured(module):
    found = list(functions(module, CAPTURED[module]))
    assert {function.name for function in found} >= set(CAPTURED[module]) - {"*"}, "a captured function was renamed"
    assert {function.name: list(offences(function)) for function in found if list(offences(function))} == {}


@pytest.mark.parametrize(
    ("source", "offends"),
    [
        ("loss.item()", True),
        ("float(loss)", True),
        ("float('-inf')", False),
        ("torch.tensor([1.0], device=device)", True),
        ("values.cpu()", True),
        ("scale if group['capturable'] else scale.item()", False),
        ("scale.item() if group['capturable'] else scale", True),
    ],
)
def test_the_rule_sees_what_it_forbids(source, offends):
    function = ast.parse(f"def f():\n    return {source}").body[0]
    assert bool(list(offences(function))) is offends


# In place ---------------------------------------------------------------------------------------------------------


def addresses(agent):
    """Where all that a graph holds lies in memory."""
    networks = [agent.network, agent.target]
    held = [parameter for network in networks for parameter in network.parameters()]
    held += [value for state in agent.optimizer.state.values() for value in state.values()]
    return [tensor.data_ptr() for tensor in (*held, agent.atoms)]


@pytest.mark.parametrize("name", ["c51", "rainbow"])
def test_weights_moments_and_target_stay_where_a_graph_has_seen_them(name):
    """A target network that is replaced rather than copied into would be frozen for a graph, and nothing raise."""
    agent = agent_of(name, blocks=24)
    while not agent.optimizer.state:
        train(agent, blocks=1)
    before = addresses(agent)
    target = [parameter.clone() for parameter in agent.target.parameters()]
    train(agent)
    assert addresses(agent) == before
    assert not all(torch.equal(now, then) for now, then in zip(agent.target.parameters(), target, strict=True))
    agent.close()
