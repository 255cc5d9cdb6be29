"""Lambda-returns, RAdam, clipping, the epsilon schedule, initial weights and diagnostics against their fixtures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from parity_fixtures import DTYPES, Comparison, ParityFile, ParityFolder
from parity_pqn_names import ENCODER_OF_FILE, our_name

from baselines.exploration import linear_epsilon
from baselines.networks.diagnostics import dead_relu_units, dead_smooth_units, effective_rank, spectrum_rank
from baselines.networks.q_network import build_q_network
from baselines.optim import RAdam, clip_by_global_norm_
from baselines.returns import lambda_returns


@pytest.mark.parity_files("lambda_returns*.npz")
@pytest.mark.parametrize("variant", ["targets", "targets_lam0", "targets_lam1"])
def test_lambda_returns_equal_the_official_ones(parity_file: ParityFile, precision: str, compare: Comparison, variant):
    rewards, values, last = (
        torch.from_numpy(parity_file[key]).to(DTYPES[precision]) for key in ("rewards", "q_vals", "last_q_vals")
    )
    next_values = torch.cat([values[1:], last[None]]).amax(dim=2)
    lam = {"targets": float(parity_file["lam"]), "targets_lam0": 0.0, "targets_lam1": 1.0}[variant]
    targets = lambda_returns(
        rewards, torch.from_numpy(parity_file["dones"]), next_values, discount=float(parity_file["gamma"]), lam=lam
    )
    assert targets.dtype == DTYPES[precision]
    compare(parity_file.name, variant, precision, targets, parity_file[f"{variant}_{precision}"])


@pytest.mark.parity_files("radam*.npz")
def test_radam_walks_the_official_path(parity_file: ParityFile, precision: str, compare: Comparison):
    generator, seed, dtype = parity_file.generator, parity_file.seed, DTYPES[precision]
    steps, size = [int(step) for step in parity_file["steps"]], parity_file["params_f64"].shape[1]
    start = generator.sym(seed, 5100, (size,)).astype(np.float32)
    magnitudes = np.array([float(f"1e-{i % 10}") for i in range(size)])
    gradients = (generator.sym(seed, 5101, (max(steps), size)) * magnitudes).astype(np.float32)
    gradients[:, size - 10 :] = 0
    gradients[10:, size - 20 : size - 10] = 0
    parameter = torch.nn.Parameter(torch.from_numpy(start).to(dtype))
    optimizer = RAdam([parameter], lr=float(parity_file["lr"]))
    for step in range(1, max(steps) + 1):
        parameter.grad = torch.from_numpy(gradients[step - 1]).to(dtype)
        before = parameter.detach().clone()
        optimizer.step()
        if step in steps:
            row = steps.index(step)
            # float32 runs of the official code round r by up to 0.6 %; a step is at most lr, so 1e-5 still tells
            tolerance = {"f64": 1e-15, "f32": 1e-5}[precision]
            expected = parity_file[f"params_{precision}"][row]
            compare(parity_file.name, f"params after {step}", precision, parameter, expected, tolerance)
            change = parameter.detach() - before
            expected = parity_file[f"update_{precision}"][row]
            compare(parity_file.name, f"update {step}", precision, change, expected, tolerance)


@pytest.mark.parity_files("clip_global_norm*.npz")
def test_clipping_follows_the_official_rule(parity_file: ParityFile, precision: str, compare: Comparison):
    tolerance = {"f64": 1e-14, "f32": 1e-6}[precision]
    for case in sorted({key.split("/")[0] for key in parity_file}):
        parameters = []
        for name in ("a", "b"):
            gradient = torch.from_numpy(parity_file[f"{case}/{name}"]).to(DTYPES[precision])
            parameters.append(torch.nn.Parameter(torch.zeros_like(gradient)))
            parameters[-1].grad = gradient
        norm = clip_by_global_norm_(parameters, float(parity_file[f"{case}/max_norm"]))
        compare(parity_file.name, f"{case}/norm", precision, norm, parity_file[f"{case}/norm_{precision}"], tolerance)
        for name, parameter in zip(("a", "b"), parameters, strict=True):
            expected = parity_file[f"{case}/{name}_out_{precision}"]
            compare(parity_file.name, f"{case}/{name}", precision, parameter.grad, expected, tolerance)


@pytest.mark.parity_files("epsilon_schedule*.npz")
def test_epsilon_equals_the_official_schedule(parity_file: ParityFile, precision: str, compare: Comparison):
    for budget in sorted({key.split("/")[0] for key in parity_file}):
        decay = float(parity_file[f"{budget}/transition_steps"])
        assert decay == pytest.approx(0.1 * int(parity_file[f"{budget}/num_updates"]))
        ours = [
            linear_epsilon(int(index), start=1.0, end=0.001, decay=decay)
            for index in parity_file[f"{budget}/update_index"]
        ]
        expected = parity_file[f"{budget}/eps_{precision}"]
        tolerance = {"f64": 1e-15, "f32": 1e-6}[precision]
        compare(parity_file.name, f"{budget}/eps", precision, ours, expected, tolerance)


@pytest.mark.parametrize("network", ["baseline", "hadamax", "impala"])
def test_initial_weights_have_the_official_spread_and_never_pass_the_bound(
    parity_folder: ParityFolder, compare: Comparison, network: str
):
    path = parity_folder.path / "init_spec.json"
    if not path.is_file():
        pytest.skip(f"no init_spec.json in {parity_folder.path}")
    entries = json.loads(path.read_text())[network]
    encoder = ENCODER_OF_FILE[network]
    actions = next(entry["shape"][1] for entry in entries if entry["name"].lower() == "action_dense/kernel")
    draws = [
        dict(build_q_network(encoder, actions, torch.Generator().manual_seed(seed)).named_parameters())
        for seed in range(3)
    ]
    described = set()
    for entry in entries:
        name = our_name(entry["name"], encoder)
        described.add(name)
        weights = torch.stack([draw[name].detach() for draw in draws]).double()
        # relative standard error of a truncated normal's deviation is about 0.6 / sqrt(n); five of them
        allowed = 3.0 / weights.numel() ** 0.5
        excess = float(weights.std()) / entry["std_after_truncation"] - 1
        compare(path.name, f"{network} {name}: spread, in five standard errors", "f32", excess / allowed, 0.0, 1.0)
        bound = entry["hard_bound"]
        largest = float(weights.abs().max())
        assert largest <= bound * (1 + 1e-6), name
        if weights.numel() > 10_000:
            assert largest > 0.97 * bound, name
    for name, parameter in draws[0].items():
        if name not in described:
            expected = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            assert (parameter == expected).all(), name


@pytest.mark.parity_files("rank_dead*.npz")
def test_effective_ranks_equal_the_fixture(parity_file: ParityFile, compare: Comparison):
    delta = float(parity_file["delta"])
    file = parity_file.name
    kinds = {kind: [key.split("/")[1] for key in parity_file if key.startswith(f"{kind}/")] for kind in ("sv", "mat")}
    assert all(kinds.values())
    for name in kinds["sv"]:
        rank = spectrum_rank(torch.from_numpy(parity_file[f"sv/{name}"]), delta)
        compare(file, f"srank_sv/{name}", "f64", rank, parity_file[f"srank_sv/{name}"], 0)
    for name in kinds["mat"]:
        for matrix in (torch.from_numpy(parity_file[f"mat/{name}"]), torch.from_numpy(parity_file[f"mat/{name}"]).T):
            expected = parity_file[f"srank_mat/{name}"]
            compare(file, f"srank_mat/{name}", "f64", effective_rank(matrix, delta), expected, 0)
            if f"srank_mat_delta0.05/{name}" in parity_file:
                expected = parity_file[f"srank_mat_delta0.05/{name}"]
                compare(file, f"srank_mat_delta0.05/{name}", "f64", effective_rank(matrix, 0.05), expected, 0)


@pytest.mark.parity_files("rank_dead*.npz")
def test_dead_units_equal_the_fixture(parity_file: ParityFile, compare: Comparison):
    relu = torch.from_numpy(parity_file["dead/relu_act"])
    compare(parity_file.name, "dead/relu_mask", "f64", dead_relu_units(relu), parity_file["dead/relu_mask"], 0)
    smooth = torch.from_numpy(parity_file["dead/smooth_act"])
    masks = [key for key in parity_file if key.startswith("dead/smooth_mask_")]
    assert masks
    for key in masks:
        dead = dead_smooth_units(smooth, float(key.rsplit("_", 1)[1]))
        compare(parity_file.name, key, "f64", dead, parity_file[key], 0)
