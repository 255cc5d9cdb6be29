"""The C++ of PQN's encoder between its convolutions against the plain composition."""

import pytest
import torch
import torch.nn.functional as F
from fused import require_native

from baselines.fast import fused_norm
from baselines.fast import paths as fast
from baselines.fast.fused_norm import norm_relu
from baselines.networks.encoder import scaled_images
from baselines.networks.pqn_encoders import NORM_EPSILON
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network

CPU = torch.device("cpu")

each_type = pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 5e-6), (torch.bfloat16, 5e-3)], ids=str)


@pytest.fixture(autouse=True)
def compiled():
    require_native()


def made_up(shape, dtype=torch.float32):
    """Inputs, scale, bias, and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    inputs = 3 * torch.randn(shape, generator=generator) + 1
    learned = [torch.randn(shape[-1], generator=generator) for _ in "sb"]
    gradient = torch.randn(shape, generator=generator)
    return [tensor.to(dtype).requires_grad_() for tensor in (inputs, *learned)], gradient.to(dtype)


def plain(inputs, scale, bias, epsilon):
    return F.relu(F.layer_norm(inputs, scale.shape, scale, bias, epsilon))


def with_gradients(function, tensors, gradient):
    output = function(*tensors, NORM_EPSILON)
    return [output, *torch.autograd.grad(output, tensors, gradient)]


def largest_difference(found, exact):
    """Of any entry, relative to the largest one of its tensor."""
    pairs = [(got.detach().double(), want.detach()) for got, want in zip(found, exact, strict=True)]
    # Python's max would lose a nan that is not the first
    return float(torch.stack([(got - want).abs().max() / want.abs().max() for got, want in pairs]).max())


@each_type
@pytest.mark.parametrize("shape", [(2, 20, 20, 32), (5, 9, 9, 64), (3, 7, 128), (4100, 32), (7, 512)], ids=str)
def test_it_gives_the_plain_composition_and_its_gradients(shape, dtype, allowed):
    tensors, gradient = made_up(shape, dtype)
    found = with_gradients(norm_relu, tensors, gradient)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    assert {tensor.dtype for tensor in found} == {dtype}
    assert largest_difference(found, with_gradients(plain, exact, gradient.double())) < allowed


@each_type
def test_without_gradients_the_output_is_the_same(dtype, allowed):
    tensors, _ = made_up((3, 9, 9, 64), dtype)
    with torch.no_grad():
        alone = norm_relu(*tensors, NORM_EPSILON)
    assert torch.equal(alone, norm_relu(*tensors, NORM_EPSILON))


def test_the_number_of_threads_changes_no_bit():
    tensors, gradient = made_up((9000, 64))

    def with_threads(count):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            return with_gradients(norm_relu, tensors, gradient)
        finally:
            torch.set_num_threads(before)

    one = with_threads(1)
    for count in (2, 3):
        assert all(torch.equal(got, want) for got, want in zip(with_threads(count), one, strict=True))


def test_a_row_of_equal_numbers_is_its_bias():
    scale, bias = torch.ones(32), torch.linspace(-1, 1, 32)
    assert torch.equal(norm_relu(torch.full((3, 32), 7.0), scale, bias, NORM_EPSILON), bias.relu().expand(3, 32))


def test_what_is_not_a_number_stays_so():
    inputs = torch.zeros(2, 32)
    inputs[1, 5] = torch.nan
    output = norm_relu(inputs, torch.ones(32), torch.ones(32), NORM_EPSILON)
    assert output[0].isfinite().all()
    assert output[1].isnan().all()


def test_what_there_is_no_code_for_is_refused():
    for inputs in (torch.zeros(3, 48), torch.zeros(3, 32).double()):
        width = inputs.shape[-1]
        with pytest.raises(ValueError, match=f"no kernel for rows of {width} of {inputs.dtype}"):
            norm_relu(inputs, torch.ones(width), torch.ones(width), NORM_EPSILON)
    for observations in (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 4, 8, 8)):
        with pytest.raises(ValueError, match="no kernel to scale"):
            fused_norm.scaled_images(observations, torch.float32)
    assert fused_norm.why_not_width(48, CPU) == "48 channels, and it is made for 32, 64, 128, 512"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 84, 84), (2, 4, 7, 9), (1, 4, 1, 1), (0, 4, 84, 84)], ids=str)
def test_frames_are_scaled_to_the_very_bits(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    observations = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    found = fused_norm.scaled_images(observations, dtype)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, scaled_images(observations, dtype))
    turned = observations.transpose(2, 3)
    assert torch.equal(fused_norm.scaled_images(turned, dtype), scaled_images(turned, dtype))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_pqn_takes_both_on_a_cpu_and_learns_the_same(precision):
    network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    use_precision(network, precision)
    observations = torch.randint(0, 256, (4, 4, 84, 84), dtype=torch.uint8)

    def outputs_and_gradients():
        network.zero_grad()
        outputs = network(observations)
        outputs.square().mean().backward()
        return [outputs.detach(), *(parameter.grad.clone() for parameter in network.parameters())]

    before = outputs_and_gradients()
    paths = fast.use_fused_norms(network, CPU, plain=False)
    assert paths == fast.Paths(taken=(fast.FUSED_INPUT, fast.FUSED_NORM))
    assert network.encoder.fused_input
    assert network.encoder.conv1.fused_norm
    assert network.encoder.dense.fused_norm
    after = outputs_and_gradients()
    assert largest_difference(after, [tensor.double() for tensor in before]) < (2e-5 if precision == "float32" else 0.1)


def test_a_gelu_is_no_missed_path_and_plain_turns_all_off():
    hadamax = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_norms(hadamax, CPU, plain=False) == fast.Paths(taken=(fast.FUSED_INPUT,))
    network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    off = (f"{fast.FUSED_INPUT}: turned off", f"{fast.FUSED_NORM}: turned off")
    assert fast.use_fused_norms(network, CPU, plain=True) == fast.Paths(missed=off)
