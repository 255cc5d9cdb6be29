"""The variants against what can be counted and computed by hand."""

import tomllib
from importlib import resources

import numpy as np
import pytest
import torch

from baselines.families import FAMILIES, STUDIES
from baselines.networks.distribution_network import HadamaxC51Torso
from baselines.networks.load import load_encoder
from baselines.networks.pqn_encoders import PQN_ENCODERS, HadamaxEncoder
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS, HadamaxVariant, NatureVariant, same_average_pool, same_pad
from baselines.registry import describe, load_pinned

VARIANTS = sorted(ALL_PQN_ENCODERS.keys() - PQN_ENCODERS.keys())


def conv(inputs, outputs, kernel):
    """Weights and biases of a convolution."""
    return inputs * outputs * kernel**2 + outputs


def dense(inputs, outputs=512, normed=True):
    return inputs * outputs + outputs + (2 * outputs if normed else 0)


def blocks(widths, *, branches=2, outputs=1, normed=True):
    """All that a Hadamax encoder learns, its blocks having so many branches."""
    total, channels = 0, 4
    for width, kernel in zip(widths, (8, 4, *(3,) * (len(widths) - 2)), strict=True):
        total += branches * (conv(channels, width, kernel) + (2 * width if normed else 0))
        channels = width * outputs
    return total + dense(121 * channels, normed=normed)


def nature(widths):
    total, channels = 0, 4
    for width, kernel in zip(widths, (8, 4, *(3,) * (len(widths) - 2)), strict=True):
        total += conv(channels, width, kernel) + 2 * width
        channels = width
    return total + dense(49 * channels)


USUAL = (32, 64, 64)
COUNTS = {
    "hadamax-no-maxpool": blocks(USUAL),
    "hadamax-no-product": blocks(USUAL, branches=1),
    "hadamax-relu": blocks(USUAL),
    "hadamax-average-pool": blocks(USUAL),
    "hadamax-sum": blocks(USUAL),
    "hadamax-concatenation": blocks(USUAL, outputs=2),
    "hadamax-single-wide": blocks((64, 128, 128), branches=1),
    "hadamax-single-equal": blocks((64, 87, 64), branches=1),
    "hadamax-no-layernorm": blocks(USUAL, normed=False),
    "hadamax-depth-5": blocks((*USUAL, 64, 64)),
    "hadamax-depth-7": blocks((*USUAL, 64, 64, 64, 64)),
    "hadamax-half-width": blocks((16, 32, 32)),
    "hadamax-double-width": blocks((64, 128, 128)),
    "nature-depth-5": nature((*USUAL, 64, 64)),
    "nature-depth-7": nature((*USUAL, 64, 64, 64, 64)),
    "nature-half-width": nature((16, 32, 32)),
    "nature-double-width": nature((64, 128, 128)),
}


def encoder_of(name, seed=0):
    encoder = load_encoder(name, ALL_PQN_ENCODERS)
    encoder.reset_parameters(torch.Generator().manual_seed(seed))
    return encoder


def parameters(encoder):
    return sum(parameter.numel() for parameter in encoder.parameters())


def observations(count=2):
    return torch.randint(256, (count, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_as_many_weights_as_can_be_counted_by_hand(name):
    assert parameters(encoder_of(name)) == COUNTS[name]


def test_one_branch_of_equal_parameters_is_equal_to_two_within_a_thousandth():
    assert parameters(encoder_of("hadamax-single-equal")) == pytest.approx(parameters(HadamaxEncoder()), rel=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variants_maps_have_the_sizes_of_what_it_varies(name):
    encoder = encoder_of(name)
    activations = {}
    assert encoder(observations(), activations).shape == (2, 512)
    sides = [activations[layer].shape[1] for layer in encoder.layer_names[:-1]]
    usual = [21, 11, 11] if name.startswith("hadamax") else [20, 9, 7]
    assert sides == usual + usual[-1:] * (len(sides) - 3)
    assert list(activations) == list(encoder.layer_names)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_says_of_each_layer_whether_it_ends_in_relu(name):
    """Dead units of a ReLU and of GELU are counted by two rules."""
    encoder = encoder_of(name)
    rectified = name.startswith("nature") or name == "hadamax-relu"
    assert encoder.rectified_layers == (encoder.layer_names if rectified else ())
    activations = {}
    encoder(observations(), activations)
    assert all(bool((activations[layer] < 0).any()) is not rectified for layer in encoder.layer_names)


def test_a_variant_that_changes_nothing_is_the_encoder_itself():
    for plain, same in ((HadamaxEncoder(), HadamaxVariant()), (PQN_ENCODERS["nature-layernorm"](), NatureVariant())):
        plain.reset_parameters(torch.Generator().manual_seed(3))
        same.reset_parameters(torch.Generator().manual_seed(3))
        assert torch.equal(plain(observations()), same(observations()))


# A forward pass in plain numpy, float64 ------------------------------------------------------------------------------


def np_conv(images, weight, bias, stride):
    """SAME convolution of [H, W, C], the odd zero at bottom and right."""
    kernel, height = weight.shape[2], images.shape[0]
    rows = -(-height // stride)
    total = max((rows - 1) * stride + kernel - height, 0)
    padded = np.pad(images, ((total // 2, total - total // 2),) * 2 + ((0, 0),))
    out = np.empty((rows, rows, weight.shape[0]))
    for i in range(rows):
        for j in range(rows):
            window = padded[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            out[i, j] = np.tensordot(weight, window.transpose(2, 0, 1), 3) + bias
    return out


def np_norm(values, weight, bias):
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def np_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def np_pool(images, size, stride, how):
    """SAME pooling over what lies inside the map."""
    height = images.shape[0]
    rows = -(-height // stride)
    low = max((rows - 1) * stride + size - height, 0) // 2
    out = np.empty((rows, rows, images.shape[2]))
    for i in range(rows):
        for j in range(rows):
            top, left = i * stride - low, j * stride - low
            window = images[max(top, 0) : top + size, max(left, 0) : left + size]
            out[i, j] = how(how(window, axis=0), axis=0) if how is np.max else window.mean(axis=(0, 1))
    return out


def np_forward(name, weights, image):
    hidden = image.transpose(1, 2, 0) / 255
    active = (lambda x: np.maximum(x, 0)) if name == "hadamax-relu" else np_gelu
    normed = name != "hadamax-no-layernorm"
    for layer, (size, stride) in zip(("conv1", "conv2", "conv3"), ((4, 4), (2, 2), (3, 1)), strict=True):

        def branch(which, inputs=hidden, layer=layer, stride=stride):
            out = np_conv(
                inputs,
                weights[f"{layer}.conv_{which}.weight"],
                weights[f"{layer}.conv_{which}.bias"],
                stride if name == "hadamax-no-maxpool" else 1,
            )
            if normed:
                out = np_norm(out, weights[f"{layer}.norm_{which}.weight"], weights[f"{layer}.norm_{which}.bias"])
            return active(out)

        hidden = branch("a")
        if name == "hadamax-sum":
            hidden = hidden + branch("b")
        elif name == "hadamax-concatenation":
            hidden = np.concatenate([hidden, branch("b")], axis=-1)
        elif f"{layer}.conv_b.weight" in weights:
            hidden = hidden * branch("b")
        if name != "hadamax-no-maxpool":
            hidden = np_pool(hidden, size, stride, np.mean if name == "hadamax-average-pool" else np.max)
    out = weights["dense.linear.weight"] @ hidden.reshape(-1) + weights["dense.linear.bias"]
    return active(np_norm(out, weights["dense.norm.weight"], weights["dense.norm.bias"]) if normed else out)


THREE_BLOCKS = [n for n in VARIANTS if n.startswith("hadamax") and "width" not in n and "depth" not in n]


@pytest.mark.parametrize("name", THREE_BLOCKS)
def test_a_forward_pass_is_the_one_that_plain_numpy_gives(name):
    encoder = encoder_of(name).double()
    weights = {key: value.numpy() for key, value in encoder.state_dict().items()}
    image = observations(1)
    with torch.no_grad():
        found = encoder(image)[0].numpy()
    np.testing.assert_allclose(found, np_forward(name, weights, image[0].numpy().astype(float)), rtol=1e-9, atol=1e-9)


def test_padding_is_same_with_the_odd_zero_at_the_end():
    padded = same_pad(torch.ones(1, 1, 21, 21), 4, 2)
    assert padded.shape == (1, 1, 24, 24)
    assert padded[0, 0, 1, :].tolist() == [0.0] + [1.0] * 21 + [0.0] * 2


def test_an_average_pool_leaves_out_what_is_no_map():
    assert torch.equal(same_average_pool(torch.ones(1, 2, 21, 21), 2, 2), torch.ones(1, 2, 11, 11))
    assert torch.equal(same_average_pool(torch.ones(1, 2, 7, 7), 4, 1), torch.ones(1, 2, 7, 7))


def test_rainbows_torso_is_the_three_blocks_of_the_c51_experiment():
    torso = HadamaxC51Torso()
    assert parameters(torso) == 2 * (conv(4, 32, 8) + conv(32, 64, 4) + conv(64, 64, 3))
    assert torso(observations()).shape == (2, torso.features) == (2, 7744)


# What is pinned ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_changes_one_value_of_the_baseline_that_it_extends(name):
    study = load_pinned(name)
    base = describe(study.extends)
    changed = {key for key, value in study.values.items() if base.values.get(key) != value}
    assert changed == ({"learning_rate"} if "-lr-" in name else {"encoder"})
    assert study.sources[changed.pop()].startswith("variants: ")
    assert study.algorithm == base.algorithm
    assert study.code == {}


def test_the_family_of_the_papers_ablation_is_the_one_that_its_claim_names():
    claims = tomllib.loads(resources.files("reports").joinpath("claims.toml").read_text(encoding="utf-8"))["claim"]
    (ablation,) = [claim for claim in claims if claim["id"] == "ablation"]
    assert tuple(ablation["without"]) == FAMILIES["ablation"]
