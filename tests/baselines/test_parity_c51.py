"""C51 and Hadamax-C51 against the official implementation's numbers."""

import numpy as np
import pytest
import torch
from fused import fuse
from parity_fixtures import DTYPES

from baselines.c51 import c51_update
from baselines.distributional import action_values, clipped_cross_entropy, double_q_targets, project, support
from baselines.networks.distribution_network import C51_ENCODERS, DistributionNetwork
from baselines.replay.memory import ReplayBatch

# name in the fixtures -> name of the module here
TRAINED_F32 = 2e-3  # float32 rounding after some updates; a ReLU or a maximum may flip on it
NATURE = {"network.0": "conv1", "network.2": "conv2", "network.4": "conv3", "network.7": "dense", "network.9": "logits"}
HADAMAX = {f"conv{i}{branch}": f"conv{i}.conv_{branch}" for i in (1, 2, 3) for branch in "ab"} | {
    "fc1": "dense",
    "fc2": "logits",
}
DISCOUNT = 0.99


def own_name(name: str) -> str:
    module, kind = name.rsplit(".", 1)
    own = (NATURE | HADAMAX)[module]
    return f"{own}.{kind}" if own == "logits" else f"encoder.{own}.{kind}"


def network_of(file, precision, stream_offset=0):
    """A network with the fixture's parameters, and the parameters by the fixture's names."""
    dtype = DTYPES[precision]
    kinds = {name: "kernel" if name.endswith("weight") else "bias" for name in file.parameter_names}
    shapes = zip(file.parameter_names, file.parameter_shapes, strict=True)
    values = file.parameters(kinds, {name: int(np.prod(shape[1:])) for name, shape in shapes}, stream_offset)
    encoder = "hadamax-c51" if "conv1a.bias" in values else "nature"
    network = DistributionNetwork(C51_ENCODERS[encoder](), int(file["n_actions"]), int(file["n_atoms"])).to(dtype)
    network.load_state_dict({own_name(name): torch.from_numpy(value) for name, value in values.items()})
    if precision.endswith("fused"):
        fuse(network)
    return network, {name: network.get_parameter(own_name(name)) for name in values}


def batch_of(file, dtype):
    observations, following = (
        torch.from_numpy(file.generator.observations(file.seed, len(file["actions"]), stream))
        for stream in (file.generator.OBS, file.generator.NEXT_OBS)
    )
    rewards, dones = (torch.from_numpy(file[key]).to(dtype) for key in ("rewards", "dones"))
    return ReplayBatch(observations, torch.from_numpy(file["actions"]), rewards, DISCOUNT * (1 - dones), following)


@pytest.mark.parity_files("c51_projection.npz")
def test_the_projection_and_loss_are_the_official_ones(parity_file, precision, compare):
    dtype = DTYPES[precision]
    atoms = support(float(parity_file["v_min"]), float(parity_file["v_max"]), parity_file["next_pmfs"].shape[1])
    masses, old = (torch.from_numpy(parity_file[key]).to(dtype) for key in ("next_pmfs", "old_pmfs"))
    rewards, dones = (torch.from_numpy(parity_file[key]).to(dtype) for key in ("rewards", "dones"))
    targets = project(masses, rewards, float(parity_file["gamma"]) * (1 - dones), atoms.to(dtype))
    old.requires_grad_()
    losses = clipped_cross_entropy(old, targets)
    losses.mean().backward()

    name = parity_file.name
    compare(name, "target_pmfs", precision, targets, parity_file[f"target_pmfs_{precision}"])
    compare(name, "loss_per_sample", precision, losses, parity_file[f"loss_per_sample_{precision}"])
    compare(name, "loss", precision, losses.mean(), parity_file[f"loss_{precision}"])
    # the gradient divides the targets, with their rounding, by probabilities as small as 1e-5: compare the numerators
    numerators = (old.grad.numpy() * parity_file["old_pmfs"], parity_file[f"dloss_dold_{precision}"])
    compare(name, "dloss_dold", precision, numerators[0], numerators[1] * parity_file["old_pmfs"])


@pytest.mark.parity_files("c51_nature_*.npz", "c51_hadamax_*.npz")
def test_the_networks_are_the_official_ones(parity_file, precision, compare):
    dtype, name = DTYPES[precision], parity_file.name
    network, _ = network_of(parity_file, precision)
    atoms = support(-10, 10, network.atoms).to(dtype)
    activations = {}
    with torch.no_grad():
        observations = batch_of(parity_file, dtype).observations
        logits = network(observations, activations)
        edge = network(torch.from_numpy(parity_file.generator.edge_observations()))
    compare(name, "logits", precision, logits, parity_file[f"logits_{precision}"])
    compare(name, "q", precision, action_values(logits, atoms), parity_file[f"q_{precision}"])
    compare(name, "q_edge", precision, action_values(edge, atoms), parity_file[f"q_edge_{precision}"])
    greedy = action_values(logits, atoms).argmax(dim=1)
    compare(name, "greedy", precision, greedy, parity_file[f"greedy_{precision}"], 0)
    assert sum(p.numel() for p in network.parameters()) == parity_file["param_count_total"]
    if "encoder_shape" in parity_file:
        encoded = activations["conv3"].permute(0, 3, 1, 2)
        assert tuple(encoded.shape) == tuple(parity_file["encoder_shape"])
        samples = encoded.flatten()[torch.from_numpy(parity_file["act/encoder/idx"])]
        compare(name, "act/encoder/samples", precision, samples, parity_file[f"act/encoder/samples_{precision}"])
        stats = [encoded.mean(), encoded.std(correction=0), encoded.abs().max()]
        compare(name, "act/encoder/stats", precision, stats, parity_file[f"act/encoder/stats_{precision}"])


@pytest.mark.parity_files("c51_nature_*.npz", "c51_hadamax_*.npz")
def test_five_updates_are_the_official_ones(parity_file, precision, compare):
    dtype, name = DTYPES[precision], parity_file.name
    network, parameters = network_of(parity_file, precision)
    target, _ = network_of(parity_file, precision, stream_offset=parity_file.generator.TARGET_NET_OFFSET)
    atoms = support(-10, 10, network.atoms).to(dtype)
    batch = batch_of(parity_file, dtype)
    with torch.no_grad():
        next_logits = target(batch.next_observations)
    next_values = action_values(next_logits, atoms)
    targets = double_q_targets(next_logits, next_values, batch.rewards, batch.discounts, atoms)
    compare(name, "target_pmfs", precision, targets, parity_file[f"target_pmfs_{precision}"])

    optimizer = torch.optim.Adam(network.parameters(), lr=2.5e-4, eps=0.01 / 32, fused=True)
    losses, tolerance = [], None if precision == "f64" else TRAINED_F32
    for update in range(5):
        losses.append(c51_update(network, target, optimizer, batch, atoms).item())
        if update == 0:
            digest = parity_file.gradient_digest({key: p.grad.numpy() for key, p in parameters.items()})
            for key, value in digest.items():
                compare(name, key, precision, value, parity_file[f"{key}_{precision}"], tolerance)
    with torch.no_grad():
        after = action_values(network(batch.observations), atoms)
    compare(name, "adam_loss", precision, losses, parity_file[f"adam_loss_{precision}"], tolerance)
    compare(name, "adam_q_after_5", precision, after, parity_file[f"adam_q_after_5_{precision}"], tolerance)
