"""What a GPU records in a CUDA graph runs here on the `meta` device, whose tensors have shapes and no numbers.

Reading a number, copying to the host or a shape that depends on data raises there, as it does while a graph is
captured. The agents are the real ones, of every baseline and precision, built for that device.
"""

from __future__ import annotations

import dataclasses
import sys
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from baselines.agent import Task
from baselines.c51 import greedy_actions
from baselines.distributional import project
from baselines.families import STUDY_VARIANTS
from baselines.fast import triton_block, triton_norm
from baselines.networks.pqn_encoders import HadamaxConv
from baselines.optim import RAdam
from baselines.pqn import greedy_policy
from baselines.rainbow import noisy_greedy_actions
from baselines.registry import BASELINES, VARIANTS, load_pinned, make_agent
from baselines.returns import lambda_returns
from suite.protocol import load_protocol

META = torch.device("meta")
SMALLER = {
    "pqn": {"train_environments": 4, "greedy_environments": 1, "rollout_agent_steps": 4, "minibatches": 2},
    "replay": {"train_environments": 4, "block_vector_steps": 16},
}


class OnTheDeviceAlone(TorchDispatchMode):
    """Raises at the first operation that a tensor on the CPU takes part in: a copy from or to the host."""

    def __init__(self):
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.operations.append(str(func))
        on_the_host = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.device == META for tensor in on_the_host), f"{func} works on the host"
        return found


class CountedKernel:
    """Stands in for a Triton kernel, which cannot be launched without a GPU: takes what the kernel would."""

    def __init__(self):
        self.launches = 0

    def __getitem__(self, grid):
        assert all(isinstance(size, int) and size > 0 for size in grid)

        def launch(*arguments, **_fixed):
            tensors = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
            assert tensors
            assert all(tensor.device == META for tensor in tensors)
            assert all(isinstance(a, torch.Tensor | int | float) for a in arguments)
            self.launches += 1

        return launch


@pytest.fixture
def kernels(monkeypatch):
    """Replaces both Triton kernels by counters: (forward, backward)."""
    if triton_block.why_not() is not None:
        pytest.skip(triton_block.why_not())
    found = CountedKernel(), CountedKernel()
    for name, kernel in zip(("forward_kernel", "backward_kernel"), found, strict=True):
        monkeypatch.setattr(triton_block, name, kernel)
    return found


@pytest.fixture
def norm_kernels(monkeypatch):
    """Replaces the Triton kernels of PQN's encoder by counters: (scaling, norm forward, norm backward)."""
    if triton_norm.why_not() is not None:
        pytest.skip(triton_norm.why_not())
    found = CountedKernel(), CountedKernel(), CountedKernel()
    for name, kernel in zip(("_scale_kernel", "_forward_kernel", "_backward_kernel"), found, strict=True):
        monkeypatch.setattr(triton_norm, name, kernel)
    return found


@pytest.fixture(autouse=True)
def optimizers_take_the_meta_device(monkeypatch):
    """torch keeps lists of devices that fused and capturable optimizers run on."""
    devices = ["cuda", "cpu", "meta"]
    for module, name in (("optimizer", "fused_kernels"), ("adam", "capturable")):  # hidden behind names of the package
        in_module = sys.modules[f"torch.optim.{module}"]
        monkeypatch.setattr(in_module, f"_get_{name}_supported_devices", lambda *_, **__: devices)


@contextmanager
def agent_on_meta(name, *switches):
    """`switches`: attributes of layers and encoders that fast paths set."""
    pinned = load_pinned(name)
    smaller = SMALLER["pqn" if pinned.algorithm == "pqn" else "replay"]
    pinned = dataclasses.replace(pinned, config=dataclasses.replace(pinned.config, **smaller))
    environment = load_protocol("paper").environment
    agent = make_agent(pinned, Task("Pong-v5", environment, 100_000, 0, META, emulator_threads=1, plain=True))
    try:
        for network in (agent.network, getattr(agent, "target", None)):
            for module in network.modules() if network is not None else ():
                for switch in switches:
                    if hasattr(module, switch) and not getattr(module, f"why_not_{switch}", lambda: None)():
                        setattr(module, switch, True)
        yield agent
    finally:
        agent.close()


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device=META)


def images(count):
    return empty(count, 4, 84, 84, dtype=torch.uint8)


def update_twice(agent):
    """The captured update, at the first step, which makes the optimizer's state, and at a later one."""
    size = 8
    actions = empty(size, dtype=torch.int64)
    batch = images(size), actions, empty(size), empty(size), images(size)
    for _ in range(2):
        if hasattr(agent, "_train_minibatch"):
            agent._train_minibatch(images(size), actions, empty(size))
        elif hasattr(agent, "_noise"):
            agent._update(empty(size), empty(3, agent._noise_width), *batch)
        else:
            agent._update(*batch)


@pytest.mark.parametrize("name", [*BASELINES, *VARIANTS, *STUDY_VARIANTS])
def test_an_update_reads_nothing_back_from_the_device(name):
    with agent_on_meta(name) as agent, OnTheDeviceAlone():
        update_twice(agent)


FUSED = [name for name in (*BASELINES, *VARIANTS) if name.startswith("hadamax")]
FUSED += ["hadamax-pqn-relu", "hadamax-pqn-relu-bf16"]


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("switches", [("fused",), ("fused", "one_convolution")], ids=["two", "one"])
def test_an_update_with_fused_blocks_reads_nothing_back_from_the_device(name, switches, kernels):
    with agent_on_meta(name, *switches) as agent, OnTheDeviceAlone() as seen:
        update_twice(agent)
    forward, backward = kernels
    assert backward.launches == 2 * 3  # two updates of three layers
    networks = 2 if name.startswith("hadamax-c51") else 1  # the target too
    assert forward.launches == networks * backward.launches
    convolutions = sum(operation == "aten.convolution.default" for operation in seen.operations)
    assert convolutions == forward.launches * (2 if len(switches) == 1 else 1)


@pytest.mark.parametrize("name", ["hadamax-pqn-no-product", "hadamax-pqn-no-maxpool"])
@pytest.mark.parametrize("precision", ["", "-bf16"])
def test_an_update_without_product_or_pooling_reads_nothing_back_from_the_device(name, precision, kernels):
    with agent_on_meta(name + precision, "fused") as agent, OnTheDeviceAlone():
        update_twice(agent)
    assert [kernel.launches for kernel in kernels] == [2 * 3] * 2


PQN = [name for name in (*BASELINES, *VARIANTS) if "pqn" in name]


@pytest.mark.parametrize("name", PQN)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_an_epoch_with_its_gather_reads_nothing_back_from_the_device(name, fused, kernels, norm_kernels):
    switches = ("fused", "one_convolution", "fused_norm", "fused_input") if fused else ()
    with agent_on_meta(name, *switches) as agent, OnTheDeviceAlone() as seen:
        rollout = agent.config.rollout_agent_steps * agent.config.train_environments
        order = empty(rollout, dtype=torch.int64)
        for _ in range(2):
            losses, norms = agent._train_epoch(order, order, empty(rollout))
    assert losses.shape == norms.shape == (agent.config.minibatches,)
    assert sum("aten.index." in operation for operation in seen.operations) >= 2 * agent.config.minibatches
    minibatches = 2 * agent.config.minibatches
    scaled, normed, normed_back = (kernel.launches for kernel in norm_kernels)
    if fused and "hadamax" not in name:
        assert (scaled, normed, normed_back) == (minibatches, 4 * minibatches, 4 * minibatches)
    else:  # Hadamax-PQN norms with GELU, in the kernels of its block
        assert (scaled, normed, normed_back) == (fused * minibatches, 0, 0)


@pytest.mark.parametrize("name", PQN)
def test_the_evaluation_of_a_rollout_step_reads_nothing_back_from_the_device(name):
    with agent_on_meta(name) as agent, OnTheDeviceAlone():
        values, actions = greedy_policy(agent.network, images(5))
    assert values.shape == actions.shape == (5,)


@pytest.mark.parametrize("name", [name for name in (*BASELINES, *VARIANTS) if "pqn" not in name])
def test_acting_of_a_replay_agent_reads_nothing_back_from_the_device(name):
    with agent_on_meta(name) as agent, OnTheDeviceAlone():
        if hasattr(agent, "_noise"):
            value, actions = noisy_greedy_actions(agent.network, images(4), empty(4, agent._noise_width), agent.atoms)
        else:
            value, actions = greedy_actions(agent.network, images(4), agent.atoms)
    assert (value.shape, actions.shape) == ((), (4,))


def test_lambda_returns_read_nothing_back_from_the_device():
    with OnTheDeviceAlone():
        found = lambda_returns(empty(6, 4), empty(6, 4, dtype=torch.bool), empty(6, 4), discount=0.99, lam=0.65)
    assert found.shape == (6, 4)


def test_a_projection_off_the_cpu_multiplies_no_matrices():
    """TF32, which a GPU multiplies float32 matrices in, would move target masses by up to 5e-4."""
    with OnTheDeviceAlone() as seen:
        project(empty(8, 51), empty(8), empty(8), empty(51))
    assert not [name for name in seen.operations if "mm" in name or "mv" in name]
    assert any("sum" in name for name in seen.operations)


def test_the_capturable_step_counts_and_steps_on_the_device():
    """`_foreach_add_` has an overload that reads a tensor back: PQN's first update on a GPU died of it."""
    parameter = torch.nn.Parameter(empty(3, 2))
    optimizer = RAdam([parameter], lr=1e-3, capturable=True)
    with OnTheDeviceAlone() as seen:
        for _ in range(2):
            parameter.grad = empty(3, 2)
            optimizer.step()
    assert "aten._foreach_add_.Tensor" in seen.operations


def test_this_check_notices_what_a_graph_may_not_do():
    """Each of these would be waited for, or refused, while a graph is captured."""
    vector = empty(4)
    for forbidden in (vector.sum().item, vector.nonzero, vector.cpu, lambda: bool(vector.sum() > 0)):
        with OnTheDeviceAlone(), pytest.raises((RuntimeError, NotImplementedError)):
            forbidden()
    with OnTheDeviceAlone(), pytest.raises(AssertionError, match="works on the host"):
        torch.tensor([1.0]).to(META)


def test_the_layer_pads_and_convolves_all_images_at_once_off_the_cpu():
    """Slices are for a CPU's caches; on a GPU they would be launches for nothing."""
    layer = HadamaxConv(4, 32, kernel_size=8, pool_size=4, pool_stride=4).to(META)
    with OnTheDeviceAlone() as seen:
        layer(empty(1024, 4, 84, 84))
    assert sum("convolution" in name for name in seen.operations) == 2
