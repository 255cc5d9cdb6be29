"""Rainbow's network, loss and update against dqn_zoo's numbers."""

import numpy as np
import pytest
import torch
from parity_fixtures import DTYPES, to_fixture_layout, to_torch_layout

from baselines.distributional import action_values, cross_entropy, double_q_targets, support
from baselines.networks.rainbow_network import NatureTorso, RainbowNetwork
from baselines.optim import clip_by_global_norm_

MODULES = {"adv1": "advantage_hidden", "adv2": "advantage", "val1": "value_hidden", "val2": "value"}
TRAINED_F32 = 2e-3  # float32 rounding after some updates; a ReLU or a maximum may flip on it


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


@pytest.mark.parity_files("rainbow_network.npz")
def test_the_network_and_three_updates_are_the_official_ones(parity_file, precision, compare):
    file, name, dtype = parity_file, parity_file.name, DTYPES[precision]
    online, parameters = network_of(file, dtype)
    target, _ = network_of(file, dtype, stream_offset=file.generator.TARGET_NET_OFFSET)
    atoms = support(-10, 10, online.atoms).to(dtype)
    compare(name, "support", "f64", atoms, file["support_f64"], 1e-6)
    assert sum(p.numel() for p in online.parameters()) == file["param_count_total"]
    actions = torch.from_numpy(file["a_tm1"])
    s_tm1, s_t = (
        torch.from_numpy(file.generator.observations(file.seed, len(actions), stream))
        for stream in (file.generator.OBS, file.generator.NEXT_OBS)
    )
    noise = [noise_of(file, online, call, dtype) for call in range(3)]

    with torch.no_grad():
        calls = {
            "online_s_tm1": online(s_tm1, noise=noise[0]),
            "online_s_t": online(s_t, noise=noise[1]),
            "target_s_t": target(s_t, noise=noise[2]),
        }
        quiet = action_values(online(s_tm1), atoms)
    for call, logits in calls.items():
        compare(name, f"{call}/logits", precision, logits, file[f"{call}/logits_{precision}"])
        compare(name, f"{call}/q", precision, action_values(logits, atoms), file[f"{call}/q_{precision}"])
    compare(name, "zero_noise/q", precision, quiet, file[f"online_s_tm1_zero_noise/q_{precision}"])

    selector = action_values(calls["online_s_t"], atoms)
    own = action_values(calls["target_s_t"], atoms).argmax(dim=1)
    compare(name, "double_q_action", precision, selector.argmax(dim=1), file[f"double_q_action_{precision}"], 0)
    compare(name, "target_own_argmax", precision, own, file[f"target_own_argmax_{precision}"], 0)
    rewards, discounts, weights = (torch.from_numpy(file[key]).to(dtype) for key in ("r_t", "discount_t", "weights"))
    targets = double_q_targets(calls["target_s_t"], selector, rewards, discounts, atoms)
    compare(name, "target_probs", precision, targets, file[f"target_probs_{precision}"])

    optimizer = torch.optim.Adam(online.parameters(), lr=6.25e-5, eps=0.005 / 32)
    before, tolerance = [], TRAINED_F32 if precision == "f32" else None
    for update in range(3):
        with torch.no_grad():
            selector = action_values(online(s_t, noise=noise[1]), atoms)
        targets = double_q_targets(calls["target_s_t"], selector, rewards, discounts, atoms)
        optimizer.zero_grad()
        losses = cross_entropy(online(s_tm1, noise=noise[0]), actions, targets)
        loss = (losses * weights).mean()
        loss.backward()
        before.append(losses.detach())
        if update == 0:
            compare(name, "losses", precision, losses, file[f"losses_{precision}"])
            compare(name, "loss", precision, loss, file[f"loss_{precision}"])
            compare(name, "priorities", precision, losses.abs().clamp(max=100), file[f"priorities_{precision}"])
            digest = file.gradient_digest({key: to_fixture_layout(p.grad) for key, p in parameters.items()})
            for key, value in digest.items():
                compare(name, key, precision, value, file[f"{key}_{precision}"], tolerance)
        norm = clip_by_global_norm_(online.parameters(), 10.0)
        if update == 0:
            compare(name, "grad_global_norm", precision, norm, file[f"grad_global_norm_{precision}"], tolerance)
        optimizer.step()
    with torch.no_grad():
        after = action_values(online(s_tm1, noise=noise[0]), atoms)
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
