import ctypes
import math
import os
import stat

import pytest
import torch
from block_cases import (
    ABLATIONS,
    CASES,
    IMAGE_NORM,
    RECTIFIED,
    SMALL,
    Case,
    block,
    exact,
    inputs,
    largest_difference,
    near_ties,
    plain,
    with_gradients,
)
from fused import fuse, require_native

from baselines.fast import fused_block, native
from baselines.fast import paths as fast
from baselines.fast.block_shape import Norm, Pooling
from baselines.fast.fused_block import fused_block as fused
from baselines.networks.distribution_network import build_c51_network
from baselines.networks.pqn_encoders import HadamaxConv
from baselines.networks.pqn_variants import VariantBlock
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network

each_case = pytest.mark.parametrize("case", [*CASES, *ABLATIONS], ids=str)
each_small_case = pytest.mark.parametrize("case", SMALL, ids=str)


@pytest.fixture
def compiled():
    require_native()


@pytest.fixture
def fresh_native():
    """Forgets what was compiled, before and after."""
    native._native.cache_clear()
    yield
    native._native.cache_clear()


def test_inputs_leave_no_window_to_rounding():
    case = Case(32, 9, 4, 4, IMAGE_NORM)
    given = [tensor.detach() for tensor in inputs(case)]
    assert not near_ties(case, given).any()
    for image in given:
        image[:, :, 4, 5] = 9
        image[:, :, 5, 6] = 9  # in the same window
    near = near_ties(case, given)
    assert near.sum() == 3 * 32
    assert (near[:, :, 4, 5] | near[:, :, 5, 6]).all()


@each_case
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 5e-5), (torch.bfloat16, 5e-3)], ids=str)
def test_it_gives_the_plain_composition_and_its_gradients(compiled, case, dtype, allowed):
    tensors = inputs(case, dtype=dtype)
    found = with_gradients(block(fused, case, tensors), tensors)
    assert {tensor.dtype for tensor in found} == {dtype}
    assert largest_difference(found, exact(case, tensors)) < allowed


@each_small_case
def test_other_memory_orders_give_the_same(compiled, case):
    tensors = inputs(case)
    rows = with_gradients(block(fused, case, tensors), tensors)
    planes = [tensor.detach().contiguous().requires_grad_() for tensor in tensors]
    output = block(fused, case, planes)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16().float()
    assert gradient.is_contiguous()  # planes too, as after a flattening over (channel, row, column)
    columns = [output, *torch.autograd.grad(output, planes, gradient)]
    assert all(torch.equal(got, want) for got, want in zip(columns, rows, strict=True))


@each_small_case
def test_the_number_of_threads_changes_no_bit(compiled, case):
    tensors = inputs(case, images=7)

    def with_threads(count):
        torch.set_num_threads(count)
        return with_gradients(block(fused, case, tensors), tensors)

    try:
        alone, together = with_threads(1), with_threads(3)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(got, want) for got, want in zip(together, alone, strict=True))


@each_small_case
def test_without_gradients_it_gives_the_same(compiled, case):
    tensors = inputs(case)
    with torch.no_grad():
        assert torch.equal(block(fused, case, tensors), block(fused, case, tensors))
        values = block(fused, case, tensors)
    assert torch.equal(values, block(fused, case, tensors).detach())
    assert not values.requires_grad


def test_of_equal_products_the_first_gets_the_gradient_as_in_torch(compiled):
    case = CASES[1]
    tensors = inputs(case)
    with torch.no_grad():
        tensors[0].copy_(torch.ones_like(tensors[0]) * torch.linspace(-1, 1, case.channels)[:, None, None])
        tensors[1].copy_(tensors[0])
    found = with_gradients(block(fused, case, tensors), tensors)
    assert largest_difference(found, with_gradients(plain(case, tensors), tensors)) < 5e-5


@each_small_case
def test_not_a_number_stays_one(compiled, case):
    tensors = inputs(case)
    with torch.no_grad():
        tensors[0][1, 5, 0, 0] = float("nan")
        values = block(fused, case, tensors)
        assert torch.equal(values.isnan(), plain(case, tensors).isnan())
    assert values.isnan().any()


@pytest.mark.parametrize("place", range(3))
def test_the_largest_difference_is_no_number_where_any_is(place):
    """A comparison that lost it would let a block pass whose gradients are no numbers."""
    expected = [torch.zeros(2, dtype=torch.float64) for _ in range(3)]
    found = [torch.zeros(2) for _ in range(3)]
    found[place][1] = float("nan")
    assert math.isnan(largest_difference(found, expected))


@pytest.mark.parametrize(
    ("channels", "dtype", "window"), [(48, torch.float32, 4), (32, torch.float64, 4), (32, torch.float32, 16)]
)
def test_what_there_is_no_code_for_is_refused(channels, dtype, window):
    images = torch.zeros(1, channels, 16, 16, dtype=dtype)
    with pytest.raises(ValueError, match=f"no fused block for {channels} channels of {dtype} in windows of {window}"):
        fused(images, images, None, None, IMAGE_NORM, Pooling.symmetric(16, window, window, 0))


@pytest.mark.parametrize(
    ("branches", "norm"),
    [(2, Norm(per_image=True, epsilon=1e-5, rectified=True)), (1, IMAGE_NORM), (1, RECTIFIED)],
    ids=["relu of images", "one branch of images", "one branch with relu"],
)
def test_two_ablations_at_once_are_refused(branches, norm):
    images = torch.zeros(1, 32, 16, 16)
    with pytest.raises(ValueError, match="one of them at most"):
        fused(images, images if branches == 2 else None, None, None, norm, Pooling.same(16, 4, 4))


# Networks ---------------------------------------------------------------------------------------------------------


def networks():
    generator = torch.Generator().manual_seed(0)
    return {
        "pqn": build_q_network("hadamax", 6, generator),
        "c51": build_c51_network("hadamax-c51", 6, 51, generator),
        "relu": build_q_network("hadamax-relu", 6, generator),
        "no-product": build_q_network("hadamax-no-product", 6, generator),
        "no-maxpool": build_q_network("hadamax-no-maxpool", 6, generator),
    }


@pytest.mark.parametrize("name", ["pqn", "c51", "relu", "no-product", "no-maxpool"])
def test_a_fused_network_learns_as_the_plain_one_does(name):
    images = torch.randint(0, 256, (16, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def losses(*, fused):
        network = networks()[name]
        if fused:
            fuse(network)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        found = []
        for _ in range(4):
            loss = (network(images) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    assert losses(fused=True) == pytest.approx(losses(fused=False), rel=1e-4)


@pytest.mark.parametrize("encoder", ["hadamax-relu", "hadamax-no-product", "hadamax-no-maxpool"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_papers_ablations_are_fused_in_every_layer(compiled, encoder, precision):
    network = build_q_network(encoder, 6, torch.Generator().manual_seed(0))
    use_precision(network, precision)
    paths = fast.use_fused_blocks(network, torch.device("cpu"), plain=False)
    assert paths == fast.Paths(taken=("fused Hadamax block",))
    layers = [layer for layer in network.modules() if isinstance(layer, HadamaxConv | VariantBlock)]
    assert [layer.fused for layer in layers] == [True] * 3


@pytest.mark.parametrize("encoder", ["hadamax-no-layernorm", "hadamax-average-pool", "hadamax-sum"])
def test_other_blocks_have_no_such_path(encoder):
    network = build_q_network(encoder, 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_blocks(network, torch.device("cpu"), plain=False) == fast.Paths()


def test_only_hadamax_layers_have_a_fast_path():
    plain_network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    assert fast.use_fused_blocks(plain_network, torch.device("cpu"), plain=False) == fast.Paths()


def test_a_plain_run_leaves_the_layers_as_they_are():
    network = networks()["pqn"]
    paths = fast.use_fused_blocks(network, torch.device("cpu"), plain=True)
    assert paths == fast.Paths(missed=("fused Hadamax block: turned off",))
    assert not network.encoder.conv1.fused


def test_a_layer_of_another_width_runs_plain_and_says_why(compiled):
    """A Hadamax encoder of one's own with 48 channels used to crash on the default path."""
    network = networks()["pqn"]
    network.encoder.conv2 = HadamaxConv(32, 48, kernel_size=4, pool_size=2, pool_stride=2)
    network.encoder.conv3 = HadamaxConv(48, 64, kernel_size=3, pool_size=3, pool_stride=1)
    paths = fast.use_fused_blocks(network, torch.device("cpu"), plain=False)
    assert paths.taken == ("fused Hadamax block",)
    assert paths.missed == ("fused Hadamax block in encoder.conv2: 48 channels a branch, and it is made for 32 or 64",)
    network(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).sum().backward()


def test_windows_whose_places_a_byte_cannot_name_run_plain(compiled):
    layer = HadamaxConv(4, 32, kernel_size=8, pool_size=16, pool_stride=16)
    paths = fast.use_fused_blocks(layer, torch.device("cpu"), plain=False)
    assert paths.taken == ()
    assert "pooling windows of 16 x 16" in paths.missed[0]
    assert not layer.fused


# Compiling --------------------------------------------------------------------------------------------------------


def test_without_a_compiler_the_plain_block_runs_and_says_why(fresh_native, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    network = networks()["pqn"]
    paths = fast.use_fused_blocks(network, torch.device("cpu"), plain=False)
    assert paths.taken == ()
    assert paths.missed == ("fused Hadamax block: no C++ compiler was found (looked for $CXX, c++, g++, clang++)",)
    with torch.no_grad():
        assert network(torch.zeros(1, 4, 84, 84, dtype=torch.uint8)).shape == (1, 6)
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler was found"):
        block(fused, SMALL[0], inputs(SMALL[0]))


def test_a_compiler_that_fails_is_quoted(fresh_native, monkeypatch, tmp_path):
    compiler = tmp_path / "broken"
    compiler.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo broken 1.0; else echo "no such flag" >&2; exit 1; fi\n'
    )
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library() is None
    assert native.why_not() == f"{compiler} failed: no such flag"
    assert list((tmp_path / "hadamax-suite").iterdir()) == []


@pytest.fixture
def unoptimized(monkeypatch):
    """Compiles in two seconds instead of twenty."""
    monkeypatch.setattr(native, "FLAGS", tuple("-O0" if flag == "-O3" else flag for flag in native.FLAGS))


def test_the_library_is_compiled_once_and_kept(compiled, fresh_native, unoptimized, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(native.library(), ctypes.CDLL)
    (kept,) = (tmp_path / "hadamax-suite").iterdir()
    made = kept.stat().st_mtime_ns
    native._native.cache_clear()
    assert isinstance(native.library(), ctypes.CDLL)
    assert [(entry, entry.stat().st_mtime_ns) for entry in (tmp_path / "hadamax-suite").iterdir()] == [(kept, made)]


def test_a_cache_that_can_not_be_written_is_no_hindrance(compiled, fresh_native, unoptimized, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(native.tempfile, "tempdir", str(tmp_path))
    assert native.why_not() is None
    assert os.listdir(tmp_path) == ["file"]  # a process that ends leaves no folder behind
    case = SMALL[0]
    tensors = inputs(case)
    assert largest_difference(with_gradients(block(fused, case, tensors), tensors), exact(case, tensors)) < 5e-5


def test_a_device_without_fused_block_is_named():
    assert fused_block.why_not(torch.device("meta")) == "there is none for a meta device"
