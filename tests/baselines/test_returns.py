import pytest
import torch

from baselines.returns import lambda_returns


def column(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def flags(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_targets_mix_one_step_and_longer_returns():
    targets = lambda_returns(
        column([1.0, 0.0, 2.0]), flags([0, 0, 0]), column([10.0, 20.0, 30.0]), discount=0.5, lam=0.25
    )
    # last: 2 + .5 * 30 = 17;  middle: .5 * (.75 * 20 + .25 * 17) = 9.625;  first: 1 + .5 * (.75 * 10 + .25 * 9.625)
    assert targets[:, 0].tolist() == [5.953125, 9.625, 17.0]


def test_a_done_cuts_everything_after_it():
    targets = lambda_returns(
        column([1.0, 3.0, 2.0]), flags([0, 1, 0]), column([10.0, 20.0, 30.0]), discount=0.5, lam=0.25
    )
    assert targets[:, 0].tolist() == [1 + 0.5 * (0.75 * 10 + 0.25 * 3), 3.0, 17.0]


def test_lambda_zero_is_the_one_step_target_and_lambda_one_the_whole_sum():
    rewards, dones, values = column([1.0, 1.0]), flags([0, 0]), column([4.0, 8.0])
    assert lambda_returns(rewards, dones, values, discount=0.5, lam=0.0)[:, 0].tolist() == [3.0, 5.0]
    assert lambda_returns(rewards, dones, values, discount=0.5, lam=1.0)[:, 0].tolist() == [3.5, 5.0]


def test_environments_do_not_mix():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    targets = lambda_returns(rewards, torch.zeros(2, 2, dtype=torch.bool), torch.zeros(2, 2), discount=0.5, lam=1.0)
    assert targets.tolist() == [[1.0, 2.5], [0.0, 5.0]]


def test_targets_carry_no_gradient_and_leave_their_inputs():
    rewards, values = column([1.0, 2.0]), column([3.0, 4.0]).requires_grad_()
    targets = lambda_returns(rewards, flags([0, 0]), values, discount=0.9, lam=0.5)
    assert not targets.requires_grad
    assert rewards[:, 0].tolist() == [1.0, 2.0]


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape \[T, N\]"):
        lambda_returns(column([1.0]), flags([0, 0]), column([1.0]), discount=0.9, lam=0.5)


def test_dones_that_are_not_boolean_are_refused():
    with pytest.raises(ValueError, match=r"dones must be bool, not torch\.float64"):
        lambda_returns(column([1.0]), column([0.0]), column([1.0]), discount=0.9, lam=0.5)
