import pytest
import torch

from baselines.networks.pqn_encoders import PQN_ENCODERS
from baselines.networks.q_network import build_q_network


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("encoder", PQN_ENCODERS)
def test_a_network_gives_one_value_per_action(encoder):
    network = build_q_network(encoder, 18, generator())
    assert network(torch.zeros(3, 4, 84, 84, dtype=torch.uint8)).shape == (3, 18)


@pytest.mark.parametrize("encoder", PQN_ENCODERS)
def test_weights_depend_on_the_generator_alone(encoder):
    torch.manual_seed(1)
    first = build_q_network(encoder, 6, generator()).state_dict()
    torch.manual_seed(2)
    second = build_q_network(encoder, 6, generator()).state_dict()
    other = build_q_network(encoder, 6, generator(1)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["values.weight"], other["values.weight"])


def test_parallel_branches_start_with_different_weights():
    conv = build_q_network("hadamax", 6, generator()).encoder.conv1
    assert not torch.equal(conv.conv_a.weight, conv.conv_b.weight)


def test_an_unknown_encoder_is_refused_with_the_known_names():
    with pytest.raises(
        ValueError, match="unknown encoder 'natur'; the encoders are: nature-layernorm, hadamax, impala"
    ):
        build_q_network("natur", 6, generator())


def test_no_action_is_refused():
    with pytest.raises(ValueError, match="at least one action, not 0"):
        build_q_network("hadamax", 0, generator())
