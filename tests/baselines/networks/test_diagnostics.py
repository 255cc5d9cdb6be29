import math

import numpy as np
import pytest
import torch

from baselines.networks import diagnostics
from baselines.networks.diagnostics import (
    dead_relu_units,
    dead_smooth_units,
    effective_rank,
    layer_diagnostics,
    spectrum_rank,
)
from baselines.networks.pqn_encoders import PQN_ENCODERS
from baselines.networks.q_network import build_q_network


def network(name: str):
    return build_q_network(name, 6, torch.Generator().manual_seed(0))


def observations(batch: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def test_the_rank_counts_until_all_but_delta_of_the_spectrum_is_covered():
    assert spectrum_rank(torch.tensor([0.01, 10.0, 0.1, 5.0, 0.001])) == 2  # 15 of 15.111 is 99.3 %
    assert spectrum_rank(torch.tensor([98.9, 1.1])) == 2
    assert spectrum_rank(torch.tensor([99.1, 0.9])) == 1
    assert spectrum_rank(torch.tensor([98.9, 1.1]), delta=0.05) == 1


def test_the_rank_of_a_matrix_is_that_of_its_singular_values():
    matrix = torch.zeros(3, 7)
    matrix[0, 2], matrix[1, 5], matrix[2, 0] = 10.0, -5.0, 0.05
    assert effective_rank(matrix) == effective_rank(matrix.T) == 2
    assert effective_rank(torch.ones(6, 5)) == 1
    assert effective_rank(torch.zeros(6, 5)) == 0


def test_a_low_rank_float32_matrix_is_not_filled_up_by_rounding():
    draw = torch.Generator().manual_seed(0)
    wide = torch.randn(256, 3, generator=draw) @ torch.randn(3, 3136, generator=draw)
    assert effective_rank(wide) == 3


def test_a_matrix_that_is_not_finite_or_no_matrix_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        effective_rank(torch.tensor([[1.0, math.nan]]))
    with pytest.raises(ValueError, match=r"not shape \(2, 3, 4\)"):
        effective_rank(torch.zeros(2, 3, 4))


def test_a_relu_unit_is_dead_only_if_it_is_zero_everywhere():
    activations = torch.zeros(2, 3, 3, 4)  # images: judged over batch and positions
    activations[..., 1] = 2.0
    activations[1, 2, 0, 2] = 1e-12
    assert dead_relu_units(activations).tolist() == [True, False, False, True]


def test_a_smooth_unit_is_dead_if_it_hardly_varies():
    activations = torch.full((4, 3), 5.0)
    activations[:, 1] += torch.tensor([0.0, 0.1, 0.0, 0.1])
    activations[:, 2] += torch.tensor([0.0, 0.0019, 0.0, 0.0019])  # population deviation 0.00095, a sample's 0.0011
    assert dead_smooth_units(activations).tolist() == [True, False, True]
    assert dead_smooth_units(activations, 1e-4).tolist() == [True, False, False]


@pytest.mark.parametrize("name", PQN_ENCODERS)
def test_every_layer_is_diagnosed_and_gradients_only_where_there_are_any(name):
    net = network(name)
    kinds = ["effective_rank", "dead_fraction", "activation_norm"]
    layers = net.encoder.layer_names
    assert set(layer_diagnostics(net, observations())) == {f"{kind}/{layer}" for kind in kinds for layer in layers}
    net(observations()).square().mean().backward()
    found = layer_diagnostics(net, observations())
    assert set(found) == {f"{kind}/{layer}" for kind in [*kinds, "gradient_norm"] for layer in layers}
    weight_and_bias = torch.cat([p.grad.double().flatten() for p in net.encoder.dense.parameters()])
    assert found["gradient_norm/dense"] == pytest.approx(float(weight_and_bias.norm()), rel=1e-4)


def test_diagnosing_leaves_gradients_and_weights_alone():
    net = network("nature-layernorm")
    net(observations()).square().mean().backward()
    before = [(p.detach().clone(), p.grad.clone()) for p in net.parameters()]
    layer_diagnostics(net, observations())
    for p, (value, gradient) in zip(net.parameters(), before, strict=True):
        assert torch.equal(p, value)
        assert torch.equal(p.grad, gradient)


def test_equal_observations_have_rank_one_and_only_dead_smooth_units():
    found = layer_diagnostics(network("hadamax"), observations(1).expand(5, -1, -1, -1))
    assert found["effective_rank/dense"] == 1
    assert found["effective_rank/conv2"] == 1
    assert found["dead_fraction/dense"] == 1.0
    assert found["dead_fraction/conv2"] == 0.0  # its channels still vary over positions


def test_a_channel_whose_norm_is_pushed_below_zero_counts_as_dead():
    net = network("nature-layernorm")
    with torch.no_grad():
        net.encoder.conv2.norm.weight.zero_()
        net.encoder.conv2.norm.bias.fill_(1.0)
        net.encoder.conv2.norm.bias[:16] = -1.0
    assert layer_diagnostics(net, observations())["dead_fraction/conv2"] == 0.25


def test_a_sum_is_dead_where_it_hardly_varies_though_its_network_has_relu_units():
    net = network("impala")
    with torch.no_grad():
        for parameter in net.encoder.seq5.parameters():
            parameter.zero_()
        net.encoder.seq5.residual2.conv2.bias[:16] = 3.0
    found = layer_diagnostics(net, observations())
    assert found["dead_fraction/seq5"] == 1.0  # 48 of its 64 channels are 0, and 16 are 3
    with torch.no_grad():
        net.encoder.dense.weight.zero_()
        net.encoder.dense.bias.fill_(-1.0)
        net.encoder.dense.bias[:64] = 3.0
    assert layer_diagnostics(net, observations())["dead_fraction/dense"] == 0.75  # a ReLU that is never 0 is not dead


def test_the_activation_norm_is_a_root_mean_square():
    net = network("nature-layernorm")
    with torch.no_grad():
        net.encoder.dense.norm.weight.zero_()
        net.encoder.dense.norm.bias[:256] = 3.0
    assert layer_diagnostics(net, observations())["activation_norm/dense"] == pytest.approx(3 / math.sqrt(2))


def test_a_diverged_layer_has_no_rank():
    net = network("nature-layernorm")
    with torch.no_grad():
        net.encoder.dense.norm.bias[0] = math.nan
    found = layer_diagnostics(net, observations())
    assert math.isnan(found["effective_rank/dense"])
    assert found["effective_rank/conv3"] > 0


def test_ranks_of_a_large_sample_go_through_the_network_in_parts_and_name_its_size(monkeypatch):
    net, seen = network("hadamax"), observations(7)
    with torch.no_grad():
        activations: dict[str, torch.Tensor] = {}
        net(seen, activations)
    expected = {
        f"effective_rank_7/{layer}": float(np.linalg.matrix_rank(activations[layer].flatten(1).double().numpy()))
        for layer in net.encoder.layer_names
    }
    monkeypatch.setattr(diagnostics, "FORWARD_ROWS", 3)
    monkeypatch.setattr(diagnostics, "GRAM_COLUMNS", 100)
    found = diagnostics.layer_ranks(net, seen)
    assert found == {
        f"effective_rank_7/{layer}": float(effective_rank(activations[layer].flatten(1))) for layer in activations
    }
    assert found.keys() == expected.keys()
    assert all(1 <= found[name] <= expected[name] for name in found)


def test_a_rank_over_outputs_that_are_not_finite_is_no_number():
    net = network("nature-layernorm")
    with torch.no_grad():
        net.encoder.dense.norm.bias[0] = math.nan
    found = diagnostics.layer_ranks(net, observations(5))
    assert math.isnan(found["effective_rank_5/dense"])
    assert found["effective_rank_5/conv1"] > 0
