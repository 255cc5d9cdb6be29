"""Convolutions by Fourier transforms against torch's own in float64."""

import copy
import ctypes

import pytest
import torch
import torch.nn.functional as F
from fused import require_native
from torch import nn

from baselines.fast import fourier_convolution, native, trials
from baselines.fast import paths as fast
from baselines.fast.fourier_convolution import fourier_convolutions
from baselines.networks.distribution_network import build_c51_network
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network
from baselines.registry import describe

CPU = torch.device("cpu")
NO_BF16 = {"architecture": "x86_64", "avx2": True}

each_type = pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 2e-6), (torch.bfloat16, 5e-3)], ids=str)


@pytest.fixture(autouse=True)
def compiled():
    require_native()


@pytest.fixture
def no_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: NO_BF16, raising=False)


def made_up(shape=(3, 4, 30, 51), channels=32, branches=2, dtype=torch.float32):
    """Images, convolutions, and a gradient for each output."""
    generator = torch.Generator().manual_seed(0)
    kernel = 8 if shape[1] == 4 else 4 if shape[2] > 20 else 3
    convolutions = [nn.Conv2d(shape[1], channels, kernel) for _ in range(branches)]
    with torch.no_grad():
        for parameter in nn.ModuleList(convolutions).parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).bfloat16())
    images = torch.rand(shape, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    if shape[2] in (13, 25):  # with padding
        images = F.pad(images[:, :, 1:-1, 1:-1], (1,) * 4)
    images.requires_grad_(kernel < 8)
    outputs = (shape[0], channels, shape[2] - kernel + 1, shape[3] - kernel + 1)
    gradients = [torch.randn(outputs, generator=generator).to(dtype) for _ in convolutions]
    return images, [convolution.to(dtype) for convolution in convolutions], gradients


def with_gradients(images, convolutions, gradients, convolve):
    parameters = [parameter for convolution in convolutions for parameter in convolution.parameters()]
    outputs = convolve(images, *convolutions)
    if not images.requires_grad:
        return [*outputs, *torch.autograd.grad(outputs, parameters, gradients)]
    *found, to_images = torch.autograd.grad(outputs, [*parameters, images], gradients)
    padded = images.shape[2] in (13, 25)  # what padding gets is nobody's
    return [*outputs, *found, to_images[:, :, 1:-1, 1:-1] if padded else to_images]


def by_torch(images, *convolutions):
    return [F.conv2d(images, convolution.weight, convolution.bias) for convolution in convolutions]


def exactly(images, convolutions, gradients):
    exact = [copy.deepcopy(convolution).double() for convolution in convolutions]
    true = images.detach().double().requires_grad_(images.requires_grad)
    return with_gradients(true, exact, [gradient.double() for gradient in gradients], by_torch)


def largest_difference(found, exact):
    """Of any entry, relative to the largest one of its tensor."""
    pairs = [(got.detach().double(), want.detach()) for got, want in zip(found, exact, strict=True)]
    # Python's max would lose a nan that is not the first
    return float(torch.stack([(got - want).abs().max() / want.abs().max() for got, want in pairs]).max())


@each_type
@pytest.mark.parametrize(
    ("shape", "channels", "branches"),
    [
        pytest.param((3, 4, 91, 91), 32, 2, id="Hadamax-PQN"),
        pytest.param((2, 4, 92, 92), 32, 2, id="Hadamax-C51"),
        pytest.param((5, 4, 30, 51), 64, 2, id="twice as wide"),
        pytest.param((9, 4, 25, 8), 32, 1, id="one column of outputs"),
        pytest.param((1, 4, 8, 8), 32, 3, id="one window"),
        pytest.param((9, 32, 24, 24), 64, 2, id="Hadamax-PQN's second"),
        pytest.param((9, 32, 25, 25), 64, 2, id="Hadamax-C51's second"),
        pytest.param((3, 64, 24, 24), 128, 2, id="the second twice as wide"),
        pytest.param((70, 32, 24, 24), 32, 1, id="more images than are summed at once"),
        pytest.param((70, 64, 13, 13), 64, 2, id="the third"),
        pytest.param((3, 128, 12, 12), 32, 3, id="the third without padding"),
    ],
)
def test_it_gives_the_convolutions_and_their_gradients(shape, channels, branches, dtype, allowed):
    given = made_up(shape, channels, branches, dtype)
    found = with_gradients(*given, fourier_convolutions)
    assert {tensor.dtype for tensor in found} == {dtype}
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in found[:branches])
    assert largest_difference(found, exactly(*given)) < allowed


@each_type
def test_without_gradients_the_outputs_are_the_same(dtype, allowed):
    images, convolutions, gradients = made_up(dtype=dtype)
    with torch.no_grad():
        outputs = fourier_convolutions(images, *convolutions)
    found = with_gradients(images, convolutions, gradients, fourier_convolutions)
    assert all(torch.equal(got, want) for got, want in zip(outputs, found, strict=False))


each_kind = pytest.mark.parametrize(
    "shape", [(5, 4, 91, 91), (9, 32, 24, 24), (9, 32, 25, 25), (9, 64, 13, 13)], ids=["frames", "24", "25", "13"]
)


@each_kind
def test_no_image_touches_another(shape):
    images, convolutions, _ = made_up(shape)
    with torch.no_grad():
        together = fourier_convolutions(images, *convolutions)
        images[:3, :, 1:-1, 1:-1] = torch.nan
        for before, after in zip(together, fourier_convolutions(images, *convolutions), strict=True):
            assert after[:3].isnan().all()
            assert largest_difference([after[4]], [before[4].double()]) < 2e-6


@pytest.mark.parametrize("shape", [(25, 4, 91, 91), (130, 32, 24, 24), (130, 32, 13, 13)], ids=["frames", "24", "13"])
def test_the_number_of_threads_changes_no_bit(shape):
    given = made_up(shape)

    def with_threads(count):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            return with_gradients(*given, fourier_convolutions)
        finally:
            torch.set_num_threads(before)

    one = with_threads(1)
    for count in (2, 3):
        assert all(torch.equal(got, want) for got, want in zip(with_threads(count), one, strict=True))


@each_kind
def test_other_memory_orders_give_the_same(shape):
    images, convolutions, gradients = made_up(shape)
    rows = with_gradients(images, convolutions, gradients, fourier_convolutions)
    for convolution in convolutions:
        convolution.to(memory_format=torch.channels_last)
    planes = [gradient.contiguous() for gradient in gradients]
    other = images.detach().contiguous().requires_grad_(images.requires_grad)
    found = with_gradients(other, convolutions, planes, fourier_convolutions)
    assert all(torch.equal(got, want) for got, want in zip(found, rows, strict=True))


def test_what_it_is_not_made_for_is_refused():
    images, convolutions, _ = made_up()
    for wrong in (images.clone().requires_grad_(), images.double(), images[:, :, :7], images.to("meta")):
        with pytest.raises(ValueError, match="no transforms for"):
            fourier_convolutions(wrong, *convolutions)
    maps, convolutions, _ = made_up((2, 32, 24, 24))
    for wrong in (maps[:, :, :21], maps[:, :, :21, :21], F.pad(maps, (1,) * 4), maps.double()):
        with pytest.raises(ValueError, match="no transforms for"):
            fourier_convolutions(wrong, *convolutions)


@pytest.mark.parametrize(
    ("convolution", "reason"),
    [
        (nn.Conv2d(4, 32, 8), None),
        (nn.Conv2d(4, 64, 8, padding=4), None),
        (nn.Conv2d(32, 64, 4), None),
        (nn.Conv2d(64, 64, 3, padding=1), None),
        (nn.Conv2d(4, 48, 8), "4 channels to 48, and it is made for 4 frames and multiples of 32"),
        (nn.Conv2d(3, 32, 8), "3 channels to 32, and it is made for 4 frames and multiples of 32"),
        (nn.Conv2d(16, 32, 4), "16 channels to 32, and it is made for 4 frames and multiples of 32"),
        (nn.Conv2d(64, 64, 5), "it is made for windows of 8 x 8, 4 x 4 and 3 x 3 at stride 1"),
        (nn.Conv2d(4, 32, 8, stride=4), "it is made for windows of 8 x 8, 4 x 4 and 3 x 3 at stride 1"),
        (nn.Conv2d(4, 32, 8, bias=False), "it is made for windows of 8 x 8, 4 x 4 and 3 x 3 at stride 1"),
    ],
)
def test_which_layers_it_is_for(convolution, reason):
    assert fourier_convolution.why_not_shape(convolution) == reason


def test_bf16_stays_with_the_processors_that_have_tiles_for_it(monkeypatch):
    tiles = {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": True}
    for found, concerned in ((NO_BF16, True), (tiles | {"amx_bf16": False}, True), (tiles, False), ({}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert fourier_convolution.concerns(CPU, torch.bfloat16) == concerned
        assert fourier_convolution.concerns(CPU, torch.float32)
    assert not fourier_convolution.concerns(torch.device("cuda"), torch.float32)
    assert not fourier_convolution.concerns(CPU, torch.float64)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", ["hadamax-pqn", "hadamax-c51"])
def test_a_network_takes_it_and_gives_the_same(no_bf16, name, precision):
    encoder, generator = describe(name).values["encoder"], torch.Generator().manual_seed(0)
    build = {"hadamax-pqn": build_q_network, "hadamax-c51": lambda *given: build_c51_network(*given[:2], 51, given[2])}
    network = build[name](encoder, 6, generator)
    use_precision(network, precision)
    observations = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8, generator=generator)

    def outputs_and_gradients():
        network.zero_grad()
        outputs = network(observations)
        outputs.square().mean().backward()
        return [outputs.detach(), *(parameter.grad.clone() for parameter in network.parameters())]

    plain = outputs_and_gradients()
    assert fast.use_fourier(network, CPU, plain=False) == fast.Paths(taken=(fast.FOURIER,))
    assert [module.fourier for module in network.modules() if hasattr(module, "fourier")] == [True] * 3
    transformed = outputs_and_gradients()
    assert not torch.equal(transformed[0], plain[0])  # it was taken: sums run in another order
    off = trials.relative_difference(transformed, plain)
    assert off < {"float32": 1e-4, "bf16": 0.1}[precision]


@pytest.mark.parametrize(
    "variant", ["hadamax-relu", "hadamax-no-product", "hadamax-concatenation", "hadamax-double-width"]
)
def test_variants_take_it_too(variant):
    encoder = ALL_PQN_ENCODERS[variant]()
    encoder.reset_parameters(torch.Generator().manual_seed(0))
    observations = torch.randint(0, 256, (2, 4, 84, 84), generator=torch.Generator().manual_seed(1))
    plain = encoder(observations)
    assert fast.use_fourier(encoder, CPU, plain=False) == fast.Paths(taken=(fast.FOURIER,))
    assert encoder.conv1.fourier
    assert not torch.equal(encoder(observations), plain)
    assert torch.allclose(encoder(observations), plain, atol=1e-4)


def test_a_variant_whose_windows_stride_has_no_such_path():
    encoder = ALL_PQN_ENCODERS["hadamax-no-maxpool"]()
    assert fast.use_fourier(encoder, CPU, plain=False) == fast.Paths()


def test_a_layer_whose_images_want_a_gradient_does_without(no_bf16):
    network = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    fast.use_fourier(network, CPU, plain=False)
    observations = torch.rand(1, 4, 84, 84).requires_grad_()
    network(observations).sum().backward()
    assert observations.grad.abs().sum() > 0


def test_plain_runs_and_networks_without_such_layers_take_nothing():
    hadamax = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    assert fast.use_fourier(hadamax, CPU, plain=True) == fast.Paths(missed=(f"{fast.FOURIER}: turned off",))
    assert not any(module.fourier for module in hadamax.modules() if hasattr(module, "fourier"))
    nature = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    assert fast.use_fourier(nature, CPU, plain=False) == fast.Paths()


@pytest.mark.parametrize(
    ("layer", "fault", "part"),
    [
        ("conv1", "fourier_forward", 6),  # outputs
        ("conv1", "fourier_backward", 5),  # gradients of weights
        ("conv1", "fourier_backward", 6),  # of biases
        ("conv2", "fourier_images_forward", 6),
        ("conv2", "fourier_images_backward", 6),
        ("conv2", "fourier_images_backward", 7),
        ("conv2", "fourier_images_backward", 8),  # of images
        ("conv3", "fourier_images_forward", 6),
        ("conv3", "fourier_images_backward", 8),
    ],
)
def test_a_kernel_that_gives_something_else_is_found_out(monkeypatch, layer, fault, part):
    """One number of a result is changed behind the kernel's back."""
    true = native.required()

    class Faulty:
        def __getattr__(self, name):
            return wrong if name == fault else getattr(true, name)

    def wrong(*arguments):
        getattr(true, fault)(*arguments)
        place = arguments[part].value if isinstance(arguments[part], ctypes.c_void_p) else arguments[part][0]
        at = 4000 if part == 8 else 3  # of an image, not in its padding
        (ctypes.c_float * (at + 1)).from_address(place)[at] += 1000.0

    tried = getattr(build_q_network("hadamax", 6, torch.Generator().manual_seed(0)).encoder, layer)
    assert trials.why_not_fourier(tried, torch.float32) is None
    monkeypatch.setattr(fourier_convolution.native, "required", Faulty)
    assert trials.why_not_fourier(tried, torch.float32).startswith("it is off by ")
