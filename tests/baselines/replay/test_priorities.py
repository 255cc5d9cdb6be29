"""Prioritised sampling: by hand, against dqn_zoo's numbers, and against a plain running sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.replay.priorities import (
    PrioritizedSampler,
    SumTree,
    importance_weights,
    linear_schedule,
    sampling_probabilities,
)


def tree_of(weights):
    tree = SumTree(len(weights))
    tree.fill(np.asarray(weights, float))
    return tree


@pytest.mark.parametrize("size", [1, 31, 32, 33, 1024, 1025, 40_000])
def test_a_leaf_is_found_as_often_as_it_weighs(size):
    weights = np.arange(size) % 3.0
    tree = tree_of(weights)
    if size == 1:
        weights[:] = 2
        tree.set(np.array([0]), 2.0)
    assert tree.total == weights.sum()
    found = tree.find(np.arange(int(weights.sum())) + 0.5)  # whole weights: each unit of the sum is hit once
    np.testing.assert_array_equal(np.bincount(found, minlength=size), weights)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2100), st.integers(0, 2**32 - 1))
def test_a_tree_set_piece_by_piece_is_the_same_to_the_bit_as_one_filled_at_once(size, seed):
    rng = np.random.default_rng(seed)
    weights = np.zeros(size)
    piecewise, filled = SumTree(size), SumTree(size)
    for _ in range(5):
        indices = rng.integers(size, size=rng.integers(1, 40))
        values = rng.exponential(size=len(indices))
        weights[indices] = values
        piecewise.set(indices, values)
    filled.fill(weights)
    for a, b in zip(piecewise._levels, filled._levels, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1e-12, 0.3, 1.0, 7e5]), min_size=1, max_size=80), st.integers(0, 2**32 - 1))
def test_look_up_follows_the_running_sum_and_never_finds_a_weightless_leaf(weights, seed):
    weights = np.array(weights)
    if not weights.any():
        weights[0] = 1
    targets = np.append(np.random.default_rng(seed).random(50), 1.0) * weights.sum()
    found = tree_of(weights).find(targets)
    sums = np.concatenate([[0.0], weights.cumsum()])
    slack = 1e-12 * sums[-1]
    assert (weights[found] > 0).all()
    assert (sums[found] <= targets + slack).all()
    assert (targets <= sums[found + 1] + slack).all()


@pytest.mark.parity_files("rainbow_per.npz")
def test_sampling_is_dqn_zoos(parity_file, compare):
    file, name = parity_file, parity_file.name
    exponent, leaf_of_id = float(file["priority_exponent"]), file["index_of_id"]
    size = len(leaf_of_id)
    id_of_leaf = np.argsort(leaf_of_id)

    bare = tree_of(file["sumtree/values"])
    compare(name, "sumtree/root", "f64", bare.total, file["sumtree/root"])
    compare(name, "sumtree/indices", "f64", bare.find(file["sumtree/targets"]), file["sumtree/indices"], 0)

    for share in ("usp0", "usp0.001"):
        uniform = float(share.removeprefix("usp"))
        sampler = PrioritizedSampler(int(file["capacity"]), exponent=exponent, uniform_probability=uniform)
        sampler.update(leaf_of_id, file["priorities"])
        tree = sampler._tree
        compare(name, "exponentiated", "f64", tree.leaves[leaf_of_id], file["exponentiated"])
        compare(name, "root", "f64", tree.total, file["root"])
        compare(
            name, f"{share}/prob_by_id", "f64", sampler.probabilities(leaf_of_id, size), file[f"{share}/prob_by_id"]
        )
        ids = id_of_leaf[tree.find(file[f"{share}/sample_u"] * tree.total)]
        compare(name, f"{share}/sample_ids", "f64", ids, file[f"{share}/sample_ids"], 0)
        probabilities = sampler.probabilities(leaf_of_id[ids], size)
        compare(name, f"{share}/sample_probs", "f64", probabilities, file[f"{share}/sample_probs"])
        betas = [
            key.removeprefix(f"{share}/is_weights_beta") for key in file if key.startswith(f"{share}/is_weights_beta")
        ]
        assert betas
        for beta in betas:
            weights = importance_weights(probabilities, size, exponent=float(beta))
            compare(name, f"{share}/is_weights", "f64", weights, file[f"{share}/is_weights_beta{beta}"])

    sampler.update(leaf_of_id[file["update/ids"]], file["update/priorities"])
    compare(name, "update/leaves", "f64", tree.leaves[leaf_of_id], file["update/exponentiated_after"])
    compare(name, "update/root", "f64", tree.total, file["update/root_after"])


@pytest.mark.parity_files("rainbow_per.npz")
def test_beta_rises_as_dqn_zoos(parity_file, compare):
    found = [
        linear_schedule(int(t), start=0.4, end=1.0, first=20_000, last=50_000_000)
        for t in parity_file["beta_schedule/t"]
    ]
    compare(parity_file.name, "beta_schedule", "f64", found, parity_file["beta_schedule/beta"])


def no_uniform_draw(count):
    raise AssertionError("drew uniformly")


def test_new_transitions_enter_with_the_largest_priority_seen():
    sampler = PrioritizedSampler(10, exponent=0.5, uniform_probability=0.0)
    sampler.insert(np.array([0]))
    sampler.update(np.array([0]), np.array([9.0]))
    sampler.update(np.array([0]), np.array([4.0]))
    sampler.insert(np.array([7]))
    np.testing.assert_allclose(sampler.probabilities(np.array([0, 7]), 2), [2 / 5, 3 / 5])


def test_draws_follow_the_priorities():
    sampler = PrioritizedSampler(100, exponent=0.5, uniform_probability=0.0)
    sampler.update(np.array([3, 50, 99]), np.array([1.0, 4.0, 25.0]))
    indices, probabilities = sampler.draw(8000, np.random.default_rng(0), size=3, uniform=no_uniform_draw)
    assert set(indices) == {3, 50, 99}
    for index, share in ((3, 1 / 8), (50, 2 / 8), (99, 5 / 8)):
        assert (indices == index).mean() == pytest.approx(share, abs=0.02)
        assert probabilities[indices == index][0] == pytest.approx(share)


def test_a_removed_transition_is_not_drawn():
    sampler = PrioritizedSampler(100, exponent=0.5, uniform_probability=0.0)
    sampler.insert(np.arange(50))
    sampler.remove(np.arange(49))
    indices, _ = sampler.draw(100, np.random.default_rng(0), size=1, uniform=no_uniform_draw)
    assert set(indices) == {49}


def test_the_uniform_share_reaches_transitions_without_priority():
    sampler = PrioritizedSampler(4, exponent=0.5, uniform_probability=0.5)
    sampler.update(np.array([0, 1]), np.array([1.0, 0.0]))
    rng = np.random.default_rng(0)
    indices, probabilities = sampler.draw(4000, rng, size=2, uniform=lambda count: rng.integers(2, size=count))
    assert (indices == 1).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(np.unique(probabilities), [0.25, 0.75])


def test_whether_a_draw_is_uniform_has_nothing_to_do_with_where_it_would_fall():
    sampler = PrioritizedSampler(2, exponent=0.5, uniform_probability=0.5)
    sampler.update(np.array([0, 1]), np.array([1.0, 9.0]))
    rng = np.random.default_rng(0)
    indices, _ = sampler.draw(4000, rng, size=2, uniform=lambda count: rng.integers(2, size=count))
    assert (indices == 1).mean() == pytest.approx(0.5 * 3 / 4 + 0.5 / 2, abs=0.03)


def test_without_any_priority_all_are_equally_likely():
    sampler = PrioritizedSampler(4, exponent=0.5, uniform_probability=0.001)
    sampler.update(np.arange(2), np.zeros(2))
    indices, probabilities = sampler.draw(
        3, np.random.default_rng(0), size=2, uniform=lambda count: np.arange(count) % 2
    )
    assert indices.tolist() == [0, 1, 0]
    assert probabilities.tolist() == [0.5, 0.5, 0.5]


def test_a_restored_sampler_draws_the_same():
    a = PrioritizedSampler(3000, exponent=0.5, uniform_probability=0.0)
    rng = np.random.default_rng(1)
    for _ in range(20):
        a.insert(rng.integers(3000, size=16))
        a.update(rng.integers(3000, size=32), rng.exponential(size=32))
    b = PrioritizedSampler(3000, exponent=0.5, uniform_probability=0.0)
    state = a.state_dict()
    a.insert(np.array([5]))  # what is saved stays as it was
    b.load_state_dict(state)
    assert b.state_dict()["weights"][5] != a.state_dict()["weights"][5]
    b.insert(np.array([5]))
    drawn = [s.draw(64, np.random.default_rng(2), size=3000, uniform=no_uniform_draw) for s in (a, b)]
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_importance_weights_are_at_most_one_and_undo_the_bias_at_beta_one():
    probabilities = sampling_probabilities(np.array([1.0, 3.0]), 4.0, 2, uniform_probability=0.0)
    np.testing.assert_allclose(importance_weights(probabilities, 2, exponent=1.0), [1, 1 / 3])
    np.testing.assert_allclose(importance_weights(probabilities, 2, exponent=0.0), [1, 1])


def test_a_schedule_is_constant_outside_its_range():
    values = [linear_schedule(i, start=0.0, end=1.0, first=10, last=20) for i in (0, 10, 15, 20, 99)]
    assert values == [0, 0, 0.5, 1, 1]
