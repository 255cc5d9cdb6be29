import numpy as np
import pytest
import torch

from baselines.networks.noise import FactorisedNoise


def noise(seed=0):
    return FactorisedNoise(np.random.default_rng(seed), torch.device("cpu"))


def test_noise_is_the_signed_root_of_unit_normals():
    drawn = noise().draw(40, 5000).double()
    normal = drawn.sign() * drawn.square()
    assert drawn.dtype == torch.float64
    assert normal.mean().item() == pytest.approx(0, abs=0.01)
    assert normal.var().item() == pytest.approx(1, abs=0.01)
    assert normal.pow(4).mean().item() == pytest.approx(3, abs=0.1)
    for quantile, expected in ((0.025, -1.959964), (0.84134475, 1.0), (0.9986501, 3.0)):
        assert normal.flatten().quantile(quantile).item() == pytest.approx(expected, abs=0.06)


def test_noise_is_not_truncated():
    levels = torch.tensor([0, 32767, 32768, 65535])
    values = noise().values(levels)
    normal = values.sign() * values.square()
    torch.testing.assert_close(normal, -normal.flip(0))
    assert normal[-1].item() == pytest.approx(4.324, abs=0.01)  # the quantile 1 - 1 / 131,072
    assert 0 < normal[2] < 1e-4


def test_each_draw_is_new_and_the_stream_repeats_it():
    a, b = noise(), noise()
    first, second = a.draw(3, 1000), a.draw(3, 1000)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(first, b.draw(3, 1000), rtol=0, atol=0)
