import numpy as np
import pytest

from baselines.seeding import Streams


def test_neighbouring_seeds_share_no_environment():
    seeds = [Streams(seed).environment_seeds(kind, 128) for seed in range(5) for kind in ("train", "greedy")]
    flat = [seed for group in seeds for seed in group]
    assert len(set(flat)) == len(flat)
    assert all(0 <= seed < 2**31 for seed in flat)


def test_environment_seeds_do_not_depend_on_how_many_are_asked_for():
    assert Streams(3).environment_seeds("train", 128)[:8] == Streams(3).environment_seeds("train", 8)


def test_streams_are_separate():
    a, b = Streams(0), Streams(0)
    a.exploration.random(1000)  # more draws from one stream leave the others where they were
    assert a.minibatches.integers(2**40) == b.minibatches.integers(2**40)
    assert a.exploration.random() != b.exploration.random()


def test_a_restored_state_draws_the_same():
    a = Streams(1)
    a.exploration.random(7)
    state = a.state_dict()
    expected = a.exploration.random(5)
    b = Streams(2)
    b.load_state_dict(state)
    np.testing.assert_array_equal(b.exploration.random(5), expected)


def test_an_unknown_stream_is_an_attribute_error():
    with pytest.raises(AttributeError, match="dice"):
        Streams(0).dice  # noqa: B018
