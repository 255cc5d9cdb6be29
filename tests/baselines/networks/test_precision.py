"""Mixed precision: what computes in bfloat16, and what must not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from baselines.config import ConfigError
from baselines.networks.distribution_network import build_c51_network
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network
from baselines.networks.rainbow_network import build_rainbow_network
from baselines.registry import BASELINES, VARIANTS, describe, load_pinned

NETWORKS = {
    "pqn": lambda generator: build_q_network("nature-layernorm", 6, generator),
    "hadamax-pqn": lambda generator: build_q_network("hadamax", 6, generator),
    "c51": lambda generator: build_c51_network("nature", 6, 51, generator),
    "hadamax-c51": lambda generator: build_c51_network("hadamax-c51", 6, 51, generator),
    "rainbow": lambda generator: build_rainbow_network("nature-torso", 6, 51, 0.5, generator),
}


def network(name, precision):
    built = NETWORKS[name](torch.Generator().manual_seed(0))
    use_precision(built, precision)
    return built


def observations():
    return torch.randint(0, 256, (8, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_bf16_gives_nearly_the_float32_outputs_and_gradients(name):
    outputs, gradients = {}, {}
    for precision in ("float32", "bf16"):
        built = network(name, precision)
        outputs[precision] = built(observations())
        outputs[precision].square().mean().backward()
        gradients[precision] = torch.cat(
            [weight.grad.flatten() for weight in built.parameters() if weight.grad is not None]
        )
    exact, coarse = outputs["float32"], outputs["bf16"]
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    assert (coarse - exact).norm() < 0.02 * exact.norm()
    assert torch.cosine_similarity(*gradients.values(), dim=0) > 0.99


@pytest.mark.parametrize("name", NETWORKS)
def test_the_encoder_alone_computes_in_bf16_and_every_weight_stays_float32(name):
    built, activations = network(name, "bf16"), {}
    outputs = built(observations(), activations)
    outputs.sum().backward()
    assert {activation.dtype for activation in activations.values()} == {torch.bfloat16}
    assert outputs.dtype == torch.float32
    for weight in built.parameters():
        assert weight.dtype == torch.float32
        assert weight.grad is None or weight.grad.dtype == torch.float32


def test_float32_leaves_a_network_in_whatever_precision_its_weights_have():
    assert network("pqn", "float32").double()(observations()).dtype == torch.float64


def test_another_precision_is_refused():
    with pytest.raises(ConfigError, match=r"precision 'float16' is not supported \(allowed: float32, bf16\)"):
        network("pqn", "float16")


@pytest.mark.parametrize(("name", "variant"), list(zip(BASELINES, VARIANTS, strict=True)))
def test_a_variant_differs_from_its_baseline_in_precision_alone(name, variant):
    pinned, other = load_pinned(name), load_pinned(variant)
    assert other.name == f"{name}-bf16"
    assert other.config.precision == "bf16"
    assert pinned.config.precision == "float32"
    assert dataclasses.replace(other.config, precision="float32") == pinned.config
    assert other.sources["precision"].partition(":")[0] in other.references


def test_a_variant_of_no_baseline_is_refused():
    with pytest.raises(ConfigError, match="unknown baseline 'dqn-bf16'"):
        describe("dqn-bf16")
