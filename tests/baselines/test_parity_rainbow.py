"""Rainbow's network, loss and update against dqn_zoo's numbers."""

import numpy as np
import pytest
import torch
from parity_fixtures import DTYPES, ParityFile, to_fixture_layout, to_torch_layout
from torch import Tensor

from baselines.distributional import action_values, cross_entropy, double_q_targets, support
from baselines.networks.rainbow_network import NatureTorso, RainbowNetwork
from baselines.rainbow import rainbow_update
from baselines.replay.memory import ReplayBatch

MODULES = {"adv1": "advantage_hidden", "adv2": "advantage", "val1": "value_hidden", "val2": "value"}
TRAINED_F32 = 2e-3  # float32 rounding after some updates; a ReLU or a maximum may flip on it

network_file = pytest.mark.parity_files("rainbow_network.npz")


def own_name(name: str) -> str:
    """conv1.w -> encoder.conv1.weight, adv1.mu.w -> advantage_hidden.mean.weight."""
    module, *part, kind = name.split(".")
    kind = {"w": "weight", "b": "bias"}[kind]
    if not part:
        return f"encoder.{module}.{kind}"
    return f"{MODULES[module]}.{ {'mu': 'mean', 'sigma': 'scale'}[part[0]] }.{kind}"


def network_of(file, dtype, stream_offset=0):
    """A network with the fixture's parameters, and the parameters by the fixture's names."""
    shapes = dict(zip(file.parameter_names, file.parameter_shapes, strict=True))
    kinds = {name: "sigma" if ".sigma" in name else "kernel" if name.endswith(".w") else "bias" for name in shapes}
    fan_ins = {name: int(np.prod(shapes[name[:-1] + "w"][:-1])) for name in shapes if kinds[name] == "sigma"}
    values = file.parameters(kinds, fan_ins, stream_offset)
    network = RainbowNetwork(NatureTorso(), int(file["num_actions"]), len(file["support_f64"])).to(dtype)
    network.load_state_dict({own_name(name): to_torch_layout(value) for name, value in values.items()})
    return network, {name: network.get_parameter(own_name(name)) for name in values}


def noise_of(file, network, call, dtype):
    """Noise of call 0, 1 or 2 as the network takes it: f(epsilon) of all vectors in one row."""
    raw = [
        np.float32(2 * file.generator.sym(file.seed, 7000 + 10 * call + j, (size,)))
        for j, size in enumerate(network.noise_sizes)
    ]
    row = torch.from_numpy(np.concatenate(raw)).to(dtype)
    return (row.sign() * row.abs().sqrt())[None]


class Learner:
    """Both networks with a fixture file's parameters, and everything else that an update takes."""

    def __init__(self, file: ParityFile, precision: str) -> None:
        dtype = DTYPES[precision]
        self.online, self.parameters = network_of(file, dtype)
        self.target, _ = network_of(file, dtype, stream_offset=file.generator.TARGET_NET_OFFSET)
        self.optimizer = torch.optim.Adam(self.online.parameters(), lr=6.25e-5, eps=0.005 / 32, fused=True)
        self.atoms = support(-10, 10, self.online.atoms).to(dtype)
        self.noise = torch.cat([noise_of(file, self.online, call, dtype) for call in range(3)])
        actions = torch.from_numpy(file["a_tm1"])
        s_tm1, s_t = (
            torch.from_numpy(file.generator.observations(file.seed, len(actions), stream))
            for stream in (file.generator.OBS, file.generator.NEXT_OBS)
        )
        rewards, discounts, self.weights = (
            torch.from_numpy(file[key]).to(dtype) for key in ("r_t", "discount_t", "weights")
        )
        self.batch = ReplayBatch(s_tm1, actions, rewards, discounts, s_t)

    def update(self, max_gradient_norm: float) -> tuple[Tensor, Tensor]:
        return rainbow_update(
            self.online,
            self.target,
            self.optimizer,
            self.batch,
            self.weights,
            self.noise,
            self.atoms,
            max_gradient_norm,
        )


@pytest.fixture
def learner(parity_file: ParityFile, precision: str) -> Learner:
    return Learner(parity_file, precision)


@network_file
def test_the_network_its_double_q_choice_and_its_targets_are_the_official_ones(
    parity_file, precision, learner, compare
):
    file, name, atoms, batch = parity_file, parity_file.name, learner.atoms, learner.batch
    compare(name, "support", "f64", atoms, file["support_f64"], 1e-6)
    assert sum(p.numel() for p in learner.online.parameters()) == file["param_count_total"]
    with torch.no_grad():
        calls = {
            "online_s_tm1": learner.online(batch.observations, noise=learner.noise[0:1]),
            "online_s_t": learner.online(batch.next_observations, noise=learner.noise[1:2]),
            "target_s_t": learner.target(batch.next_observations, noise=learner.noise[2:3]),
        }
        quiet = action_values(learner.online(batch.observations), atoms)
    for call, logits in calls.items():
        compare(name, f"{call}/logits", precision, logits, file[f"{call}/logits_{precision}"])
        compare(name, f"{call}/q", precision, action_values(logits, atoms), file[f"{call}/q_{precision}"])
    compare(name, "zero_noise/q", precision, quiet, file[f"online_s_tm1_zero_noise/q_{precision}"])

    selector = action_values(calls["online_s_t"], atoms)
    own = action_values(calls["target_s_t"], atoms).argmax(dim=1)
    compare(name, "double_q_action", precision, selector.argmax(dim=1), file[f"double_q_action_{precision}"], 0)
    compare(name, "target_own_argmax", precision, own, file[f"target_own_argmax_{precision}"], 0)
    targets = double_q_targets(calls["target_s_t"], selector, batch.rewards, batch.discounts, atoms)
    compare(name, "target_probs", precision, targets, file[f"target_probs_{precision}"])


@network_file
def test_losses_and_gradients_of_an_update_are_the_official_ones(parity_file, precision, learner, compare):
    file, name = parity_file, parity_file.name
    losses, norm = learner.update(max_gradient_norm=1e9)  # so that the gradients stay as they are
    compare(name, "losses", precision, losses, file[f"losses_{precision}"])
    compare(name, "priorities", precision, losses, file[f"priorities_{precision}"])  # the agent's cap is far above
    tolerance = TRAINED_F32 if precision == "f32" else None
    digest = file.gradient_digest({key: to_fixture_layout(p.grad) for key, p in learner.parameters.items()})
    for key, value in digest.items():
        compare(name, key, precision, value, file[f"{key}_{precision}"], tolerance)
    compare(name, "grad_global_norm", precision, norm, file[f"grad_global_norm_{precision}"], tolerance)


@network_file
def test_three_clipped_updates_are_the_official_ones(parity_file, precision, learner, compare):
    file, name, tolerance = parity_file, parity_file.name, TRAINED_F32 if precision == "f32" else None
    before = [learner.update(max_gradient_norm=10.0)[0] for _ in range(3)]
    with torch.no_grad():
        logits = learner.online(learner.batch.observations, noise=learner.noise[0:1])
    after = action_values(logits, learner.atoms)
    compare(name, "adam_losses", precision, torch.stack(before), file[f"adam_losses_{precision}"], tolerance)
    compare(name, "adam_q_after_3", precision, after, file[f"adam_q_after_3_{precision}"], tolerance)


@pytest.mark.parity_files("rainbow_loss.npz")
def test_categorical_double_q_learning_is_the_official_one(parity_file, precision, compare):
    dtype, name = DTYPES[precision], parity_file.name
    logits, next_logits, selector, rewards, discounts = (
        torch.from_numpy(parity_file[key]).to(dtype)
        for key in ("logits_tm1", "logits_target_t", "q_selector_t", "r_t", "discount_t")
    )
    atoms = support(-10, 10, logits.shape[2]).to(dtype)
    targets = double_q_targets(next_logits, selector, rewards, discounts, atoms)
    losses = cross_entropy(logits, torch.from_numpy(parity_file["a_tm1"]), targets)
    compare(name, "target_probs", precision, targets, parity_file[f"target_probs_{precision}"])
    compare(name, "losses", precision, losses, parity_file[f"losses_{precision}"])
