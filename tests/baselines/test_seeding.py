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


def test_seed_1_gives_the_environments_of_the_published_runs():
    """As committed manifests have them. With others, no run could be resumed or proven, and no seed would be itself."""
    streams = Streams(1)
    assert streams.environment_seeds("train", 3) == [1867002961, 1364882272, 53956934]
    assert streams.environment_seeds("greedy", 3) == [240241362, 685974079, 2040099054]


@pytest.mark.parametrize(
    ("name", "place"),
    [("initial_weights", 0), ("exploration", 1), ("minibatches", 2), ("replay", 3), ("noise", 6)],
)
def test_a_stream_is_the_child_of_the_seed_at_its_place(name, place):
    child = np.random.SeedSequence(1, spawn_key=(place,))
    assert getattr(Streams(1), name).integers(2**63) == np.random.default_rng(child).integers(2**63)


def test_initial_weights_are_seeded_with_63_bits():
    assert Streams(1).torch_generator().initial_seed() == 6447455697624344479


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
