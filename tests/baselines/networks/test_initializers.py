import math

import pytest
import torch

from baselines.networks.initializers import fans, he_normal_, lecun_normal_, truncated_normal_, xavier_normal_


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fans_count_the_receptive_field():
    assert fans(torch.empty(64, 32, 4, 4)) == (512, 1024)
    assert fans(torch.empty(6, 512)) == (512, 6)


def test_a_truncated_normal_has_the_deviation_asked_for_and_a_hard_bound():
    weights = truncated_normal_(torch.empty(400, 1000), 0.25, generator())
    assert float(weights.std()) == pytest.approx(0.25, rel=0.005)
    assert float(weights.mean()) == pytest.approx(0.0, abs=0.002)
    bound = 2 * 0.25 / 0.8796256610342398
    assert 0.99 * bound < float(weights.abs().max()) <= bound * (1 + 1e-6)
    # of a normal cut at two deviations, 71.5 % lies within one: erf(1/sqrt 2) / erf(2/sqrt 2)
    within = float((weights.abs() < bound / 2).double().mean())
    assert within == pytest.approx(0.682689 / 0.954500, abs=0.004)


@pytest.mark.parametrize(
    ("draw", "variance"),
    [(he_normal_, 2 / 512), (xavier_normal_, 2 / (512 + 1024)), (lecun_normal_, 1 / 512)],
)
def test_each_rule_has_its_variance(draw, variance):
    weights = draw(torch.empty(64, 32, 4, 4), generator())
    assert float(weights.std()) == pytest.approx(math.sqrt(variance), rel=0.02)


def test_a_seed_gives_the_same_weights_in_every_dtype():
    single = lecun_normal_(torch.empty(8, 8), generator(3))
    double = lecun_normal_(torch.empty(8, 8, dtype=torch.float64), generator(3))
    assert torch.equal(single, double.float())
    assert not torch.equal(single, lecun_normal_(torch.empty(8, 8), generator(4)))
