"""Mixed precision: what computes in bfloat16, and what must not."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from baselines.config import ConfigError
from baselines.fast.bf16 import ProductsInFloat32, lacks_bf16
from baselines.networks.distribution_network import build_c51_network
from baselines.networks.pqn_encoders import PQN_ENCODERS
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS
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
    "hadamax-rainbow": lambda generator: build_rainbow_network("hadamax-torso", 6, 51, 0.5, generator),
    "impala-pqn": lambda generator: build_q_network("impala", 6, generator),
} | {encoder: partial(build_q_network, encoder, 6) for encoder in sorted(ALL_PQN_ENCODERS.keys() - PQN_ENCODERS.keys())}

# Each product adds up the relative errors of two branches, so that more blocks round more.
CLOSENESS = {"hadamax-depth-5": (0.04, 0.98), "hadamax-depth-7": (0.06, 0.9)}  # of outputs and of gradients


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
    largest_error, least_similarity = CLOSENESS.get(name, (0.02, 0.99))
    assert (coarse - exact).norm() < largest_error * exact.norm()
    assert torch.cosine_similarity(*gradients.values(), dim=0) > least_similarity


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


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_which_processors_have_bf16_instructions(monkeypatch, found, lacks):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert lacks_bf16(torch.device("cpu")) == lacks
    assert not lacks_bf16(torch.device("cuda:0"))


@pytest.mark.parametrize("product", ["conv2d", "linear"])
def test_products_in_float32_are_the_exact_ones_rounded_once(product):
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv2d": ((3, 5, 9, 9), (7, 5, 4, 4)), "linear": ((6, 40), (7, 40))}
    given = [torch.randn(shape, generator=generator).bfloat16() for shape in (*shapes[product], (7,))]
    function = getattr(torch.nn.functional, product)
    coarse = [tensor.clone().requires_grad_() for tensor in given]
    with ProductsInFloat32():
        output = function(*coarse)
    exact = [tensor.double().requires_grad_() for tensor in given]
    wanted = function(*exact)
    upstream = torch.randn(output.shape, generator=generator).bfloat16()
    output.backward(upstream)
    wanted.backward(upstream.double())
    assert output.dtype == torch.bfloat16
    for found, true in [(output, wanted), *((c.grad, e.grad) for c, e in zip(coarse, exact, strict=True))]:
        assert found.dtype == torch.bfloat16
        rounded = true.detach().bfloat16()
        assert torch.allclose(found.double(), true, rtol=2**-8, atol=1e-5)  # half a step of bfloat16
        assert (found == rounded).float().mean() > 0.99  # sums in another order round otherwise now and then


def test_a_network_is_the_same_with_and_without_bf16_instructions_to_rounding(monkeypatch):
    outputs = {}
    for has in (True, False):
        found = {"architecture": "x86_64", "avx512_bf16": has}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        activations = {}
        outputs[has] = network("pqn", "bf16")(observations(), activations)
        assert {activation.dtype for activation in activations.values()} == {torch.bfloat16}
    assert (outputs[True] - outputs[False]).norm() < 0.01 * outputs[True].norm()


def test_products_in_float32_may_be_asked_for_by_name():
    inputs, weight = torch.randn(2, 8).bfloat16(), torch.randn(3, 8).bfloat16()
    with ProductsInFloat32():
        named = torch.nn.functional.linear(input=inputs, weight=weight)
        assert torch.equal(named, torch.nn.functional.linear(inputs, weight))
    assert torch.equal(named, (inputs.float() @ weight.float().T).bfloat16())


def test_products_in_float32_leave_other_types_alone():
    images, weight = torch.randn(2, 3, 8, 8).double(), torch.randn(4, 3, 3, 3).double()
    with ProductsInFloat32():
        assert torch.nn.functional.conv2d(images, weight).dtype == torch.float64
