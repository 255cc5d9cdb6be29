"""Trials of what only a GPU takes: each lets pass what is right and notices what is not, with stand-ins for kernels.

The kernels themselves run in `interpreted_triton`.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from baselines.fast import fused_norm, triton_block, triton_norm
from baselines.fast import paths as fast
from baselines.fast.trials import why_not_fused_norm, why_not_one_convolution, why_not_scaled
from baselines.networks import distribution_network, encoder, pqn_encoders
from baselines.networks.distribution_network import HadamaxC51Conv, image_norm
from baselines.networks.pqn_encoders import ConvNormRelu, DenseNorm, HadamaxConv, hadamax_block
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TYPES = [torch.float32, torch.bfloat16]


# One convolution --------------------------------------------------------------------------------------------------


def plain_joint(both, norm_a, norm_b, norm, pooling):
    """What `joint_block` gives, composed of torch's own."""
    a, b = both.chunk(2, dim=1)
    if norm.per_image:
        return F.max_pool2d(
            F.gelu(image_norm(a)) * F.gelu(image_norm(b)), pooling.size, pooling.stride, pooling.padding
        )
    return hadamax_block(a, b, norm_a, norm_b, pooling.size, pooling.stride)


def norms_swapped(both, norm_a, norm_b, norm, pooling):
    return plain_joint(both, norm_b, norm_a, norm, pooling)


def one_half_twice(both, *rest):
    a, _ = both.chunk(2, dim=1)
    return plain_joint(torch.cat((a, a), dim=1), *rest)


def gradient_of_one_half_lost(both, *rest):
    a, b = both.chunk(2, dim=1)
    return plain_joint(torch.cat((a, b.detach()), dim=1), *rest)


def wrong_without_gradients(both, *rest):
    return plain_joint(both, *rest) * (1 if torch.is_grad_enabled() else 1.1)


def pixel_layer():
    return HadamaxConv(4, 32, kernel_size=4, pool_size=2, pool_stride=2)


def image_layer():
    return HadamaxC51Conv(4, 32, kernel_size=4, padding=2, pool=(2, 2, 0))


def verdict(monkeypatch, layer, block, dtype=torch.float32):
    for module in (pqn_encoders, distribution_network):
        monkeypatch.setattr(module, "joint_block", block)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    found = why_not_one_convolution(layer, CPU, dtype)
    assert not layer.one_convolution
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    return found


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("make", [pixel_layer, image_layer])
def test_one_convolution_that_gives_what_two_do_is_proven(monkeypatch, make, dtype):
    assert verdict(monkeypatch, make(), plain_joint, dtype) is None


@pytest.mark.parametrize(
    ("make", "broken", "reason"),
    [
        (pixel_layer, norms_swapped, "its output is off by"),
        (pixel_layer, one_half_twice, "its output is off by"),
        (image_layer, one_half_twice, "its output is off by"),
        (pixel_layer, wrong_without_gradients, "its output without gradients is off by"),
        (pixel_layer, gradient_of_one_half_lost, "its gradient of "),
        (image_layer, gradient_of_one_half_lost, "its gradient of "),
    ],
)
def test_one_convolution_that_mixes_halves_up_is_noticed(monkeypatch, make, broken, reason):
    assert verdict(monkeypatch, make(), broken).startswith(reason)


@pytest.mark.parametrize("make", [pixel_layer, image_layer])
def test_parameters_stay_those_of_two_convolutions(make):
    layer = make()
    names = list(layer.state_dict())
    layer.one_convolution = True
    assert list(layer.state_dict()) == names
    assert {name.partition(".")[0] for name in names} >= {"conv_a", "conv_b"}


def test_layers_take_one_convolution_where_it_is_proven_and_only_there(monkeypatch):
    monkeypatch.setattr(fast.fused_block, "why_not", lambda device: None)
    monkeypatch.setattr(fast, "why_not_fused", lambda layer, *_: None)
    monkeypatch.setattr(
        fast, "why_not_one_convolution", lambda layer, *_: "too far" if layer.conv_a.kernel_size == (3, 3) else None
    )
    network = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    paths = fast.use_fused_blocks(network, CUDA, plain=False)
    assert paths == fast.Paths(
        taken=(fast.FUSED_BLOCK, fast.ONE_CONVOLUTION),
        missed=(f"{fast.ONE_CONVOLUTION} in encoder.conv3: too far",),
    )
    layers = network.encoder.conv1, network.encoder.conv2, network.encoder.conv3
    assert [layer.one_convolution for layer in layers] == [True, True, False]
    assert all(layer.fused for layer in layers)
    on_cpu = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_blocks(on_cpu, CPU, plain=False).taken == (fast.FUSED_BLOCK,)
    assert not on_cpu.encoder.conv1.one_convolution


@pytest.mark.parametrize(
    ("encoder", "taken"),
    [
        ("hadamax-relu", (fast.FUSED_BLOCK, fast.ONE_CONVOLUTION)),
        ("hadamax-no-product", (fast.FUSED_BLOCK,)),  # it has one convolution
        ("hadamax-no-maxpool", (fast.FUSED_BLOCK,)),
    ],
)
def test_the_papers_ablations_take_what_they_have(monkeypatch, encoder, taken):
    monkeypatch.setattr(fast.fused_block, "why_not", lambda device: None)
    for trial in ("why_not_fused", "why_not_one_convolution"):
        monkeypatch.setattr(fast, trial, lambda layer, *_: None)
    network = build_q_network(encoder, 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_blocks(network, CUDA, plain=False) == fast.Paths(taken=taken)


# Norm and ReLU ----------------------------------------------------------------------------------------------------


def plain_norm_relu(inputs, scale, bias, epsilon):
    return F.relu(F.layer_norm(inputs.float(), scale.shape, scale.float(), bias.float(), epsilon)).to(inputs.dtype)


def no_scale(inputs, scale, bias, epsilon):
    return plain_norm_relu(inputs, torch.ones_like(scale) + 0 * scale, bias, epsilon)


def no_relu(inputs, scale, bias, epsilon):
    return F.layer_norm(inputs, scale.shape, scale, bias, epsilon)


def gradient_of_bias_lost(inputs, scale, bias, epsilon):
    return plain_norm_relu(inputs, scale, bias.detach() + 0 * bias, epsilon)


def norm_wrong_without_gradients(inputs, scale, bias, epsilon):
    return plain_norm_relu(inputs, scale, bias, epsilon) * (1 if torch.is_grad_enabled() else 1.1)


RECTIFIED = [lambda: ConvNormRelu(4, 32, kernel_size=8, stride=4), lambda: DenseNorm(7, 64, F.relu)]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("make", RECTIFIED, ids=["conv", "dense"])
def test_a_norm_that_gives_the_plain_composition_is_proven(monkeypatch, make, dtype):
    monkeypatch.setattr(pqn_encoders, "norm_relu", plain_norm_relu)
    layer = make()
    assert why_not_fused_norm(layer, CPU, dtype) is None
    assert not layer.fused_norm


@pytest.mark.parametrize("broken", [no_scale, no_relu, gradient_of_bias_lost, norm_wrong_without_gradients])
@pytest.mark.parametrize("make", RECTIFIED, ids=["conv", "dense"])
def test_a_norm_that_does_something_else_is_noticed(monkeypatch, make, broken):
    monkeypatch.setattr(pqn_encoders, "norm_relu", broken)
    assert why_not_fused_norm(make(), CPU, torch.float32).startswith("it is off by ")


def by_256(observations, dtype):
    return (observations.float() / 256).to(dtype).contiguous(memory_format=torch.channels_last)


def planes(observations, dtype):
    return (observations.float() / 255).to(dtype)


def test_every_byte_and_its_place_in_memory_is_looked_at(monkeypatch):
    for function, wanted in (
        (encoder.scaled_images, None),
        (by_256, "it is off by "),
        (planes, "its images are not in channels_last memory"),
    ):
        monkeypatch.setattr(fused_norm, "scaled_images", function)
        for dtype in TYPES if function is not by_256 else TYPES[:1]:
            found = why_not_scaled(CPU, dtype)
            assert found is None if wanted is None else found.startswith(wanted)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_pqn_takes_what_is_proven_in_its_own_precision(monkeypatch, precision):
    seen = set()

    def norm_verdict(layer, device, dtype):
        seen.add(dtype)
        return "too far" if layer.norm.normalized_shape == (512,) else None

    monkeypatch.setattr(fused_norm, "why_not", lambda _: None)  # Triton may be missing
    monkeypatch.setattr(fast, "why_not_scaled", lambda device, dtype: seen.add(dtype))
    monkeypatch.setattr(fast, "why_not_fused_norm", norm_verdict)
    network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    use_precision(network, precision)
    paths = fast.use_fused_norms(network, CUDA, plain=False)
    assert paths == fast.Paths(
        taken=(fast.FUSED_INPUT, fast.FUSED_NORM), missed=(f"{fast.FUSED_NORM} in encoder.dense: too far",)
    )
    assert seen == {torch.float32 if precision == "float32" else torch.bfloat16}
    assert network.encoder.fused_input
    assert network.encoder.conv1.fused_norm
    assert not network.encoder.dense.fused_norm


def test_plain_turns_it_off_and_gelu_is_no_missed_path(monkeypatch):
    network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_norms(network, CUDA, plain=True).missed == (
        f"{fast.FUSED_INPUT}: turned off",
        f"{fast.FUSED_NORM}: turned off",
    )
    monkeypatch.setattr(fast, "why_not_scaled", lambda *_: None)
    monkeypatch.setattr(fused_norm, "why_not", lambda _: None)
    hadamax = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_norms(hadamax, CUDA, plain=False) == fast.Paths(taken=(fast.FUSED_INPUT,))


def test_a_width_that_the_kernel_can_not_hold_is_told():
    assert triton_norm.why_not_width(512) is None
    for width in (48, 2048):
        assert triton_norm.why_not_width(width).startswith(f"{width} channels")
    assert triton_block.why_not() == triton_norm.why_not()
