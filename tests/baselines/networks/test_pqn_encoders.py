import math

import pytest
import torch

from baselines.networks import pqn_encoders as encoders
from baselines.networks.pqn_encoders import PQN_ENCODERS, HadamaxConv, channel_norm, hadamax_block, same_max_pool
from baselines.networks.q_network import build_q_network

each_encoder = pytest.mark.parametrize("name", PQN_ENCODERS)


def observations(batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def network(name: str, seed: int = 0):
    return build_q_network(name, 6, torch.Generator().manual_seed(seed))


@each_encoder
def test_every_named_layer_is_a_submodule_and_leaves_its_activation(name):
    encoder = network(name).encoder
    activations = {}
    features = encoder(observations(), activations)
    assert tuple(activations) == encoder.layer_names
    for layer in encoder.layer_names:
        assert list(encoder.get_submodule(layer).parameters())
    assert features.shape == (2, encoder.features)
    assert activations["dense"] is features
    assert set(encoder.rectified_layers) <= set(encoder.layer_names)
    for layer in encoder.rectified_layers:
        assert (activations[layer] >= 0).all()


@each_encoder
def test_images_stay_channels_last_so_that_norm_and_flattening_copy_nothing(name):
    activations = {}
    network(name)(observations(), activations)
    for output in activations.values():
        assert output.is_contiguous()  # as [B, H, W, C]


@each_encoder
def test_observations_are_left_as_they_are(name):
    images = observations().float().to(memory_format=torch.channels_last)
    before = images.clone()
    network(name)(images)
    assert torch.equal(images, before)


@each_encoder
def test_an_observation_is_judged_by_itself(name):
    images = observations(3).double()
    net = network(name).double()
    together, alone = net(images), net(images[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-12)


@each_encoder
def test_a_bfloat16_network_stays_near_the_float32_one(name):
    images = observations(4)
    exact, coarse = network(name)(images), network(name).bfloat16()(images)
    assert coarse.dtype == torch.bfloat16
    assert (coarse.float() - exact).abs().max() < 0.1 * exact.abs().max()


@each_encoder
def test_the_network_compiles_to_one_graph(name):
    net, images = network(name), observations()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(images), net(images), atol=1e-6)


def test_taking_a_batch_in_slices_changes_nothing(monkeypatch):
    net, images = network("hadamax").double(), observations(3)

    def values_and_gradient(slice_elements):
        monkeypatch.setattr(encoders, "CPU_SLICE_ELEMENTS", slice_elements)
        net.zero_grad()
        values = net(images)
        values.square().sum().backward()
        return values.detach(), net.encoder.conv1.conv_a.weight.grad.clone()

    whole = values_and_gradient(2**40)
    sliced = values_and_gradient(1)
    assert torch.allclose(whole[0], sliced[0], rtol=0, atol=1e-12)
    assert torch.allclose(whole[1], sliced[1], rtol=0, atol=1e-11)


def test_channel_norm_looks_at_one_pixel_at_a_time():
    images = torch.tensor([[[[1.0, 5.0]], [[3.0, 5.0]]]], dtype=torch.float64)  # two channels, two pixels
    normed = channel_norm(images, torch.tensor([2.0, 2.0]).double(), torch.tensor([0.0, 0.5]).double())
    unit = 1 / math.sqrt(1 + 1e-6)  # the first pixel's deviation is 1, the second one's 0
    expected = torch.tensor([[[[-2 * unit, 0.0]], [[2 * unit + 0.5, 0.5]]]], dtype=torch.float64)
    assert torch.allclose(normed, expected, atol=1e-12)


def test_an_even_kernel_is_padded_one_more_at_the_bottom_and_right():
    def padding(kernel_size):
        return HadamaxConv(1, 1, kernel_size=kernel_size, pool_size=1, pool_stride=1).padding

    assert padding(8) == (3, 4, 3, 4)  # left, right, top, bottom
    assert padding(4) == (1, 2, 1, 2)
    assert padding(3) == (1, 1, 1, 1)


def test_max_pooling_pads_with_minus_infinity_at_the_end_first():
    images = torch.tensor([[-5.0, -4.0, -3.0], [-6.0, -7.0, -8.0], [-9.0, -2.0, -10.0]])[None, None]
    assert same_max_pool(images, 2, 2)[0, 0].tolist() == [[-4.0, -3.0], [-2.0, -10.0]]  # 2 low 0, high 1
    assert same_max_pool(images, 3, 1)[0, 0].tolist() == [[-4.0, -3.0, -3.0], [-2.0, -2.0, -2.0], [-2.0, -2.0, -2.0]]
    # size 4, stride 1: one before and two after, so the last window along each axis starts past the first pixel
    images = torch.full((1, 1, 3, 3), -5.0)
    images[0, 0, 0, 0] = -1.0
    assert same_max_pool(images, 4, 1)[0, 0].tolist() == [[-1.0, -1.0, -5.0], [-1.0, -1.0, -5.0], [-5.0, -5.0, -5.0]]


@pytest.mark.parametrize(
    ("height", "size", "stride", "expected"),
    [(84, 4, 4, 21), (21, 2, 2, 11), (11, 3, 1, 11), (84, 3, 2, 42), (42, 3, 2, 21), (21, 3, 2, 11), (6, 3, 2, 3)],
)
def test_same_pooling_rounds_the_size_up(height, size, stride, expected):
    assert same_max_pool(torch.zeros(1, 1, height, height), size, stride).shape[-1] == expected


def test_the_hadamax_block_multiplies_its_two_branches():
    a = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1)
    b = torch.tensor([3.0, 1.0], dtype=torch.float64).view(1, 2, 1, 1)
    unit, zero = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    out = hadamax_block(a, b, (unit, zero), (unit, zero), 1, 1)
    # both channels are gelu(1) * gelu(-1), with the tanh form: 0.8411920 and -0.1588080 (eps moves the 7th digit)
    assert out.flatten().tolist() == pytest.approx([-0.1335881, -0.1335881], abs=2e-6)
