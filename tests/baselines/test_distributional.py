"""Return distributions, on numbers worked out by hand; the official ones are in test_parity_c51 and _rainbow."""

import pytest
import torch

from baselines.distributional import action_values, c51_losses, cross_entropy, double_q_targets, project, support

ATOMS = support(-1, 1, 5)  # -1, -0.5, 0, 0.5, 1


def masses(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_the_support_is_evenly_spaced_and_includes_both_ends():
    assert ATOMS.tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize("arguments", [(1, 1, 51), (2, -2, 51), (-10, 10, 1)])
def test_a_support_needs_a_range_and_two_atoms(arguments):
    with pytest.raises(ValueError, match="two atoms"):
        support(*arguments)


def test_mass_between_two_atoms_is_shared_by_nearness():
    # all mass at 0.5, halved and moved by 0.1: 0.35 lies 0.7 of the way from 0 to 0.5
    target = project(masses([0, 0, 0, 1, 0]), torch.tensor([0.1]).double(), torch.tensor([0.5]).double(), ATOMS)
    torch.testing.assert_close(target, masses([0, 0, 0.3, 0.7, 0]))


def test_a_terminal_step_puts_all_mass_on_the_reward():
    target = project(masses([0.2] * 5), torch.tensor([-0.5]).double(), torch.tensor([0.0]).double(), ATOMS)
    torch.testing.assert_close(target, masses([0, 1, 0, 0, 0]))


def test_mass_beyond_the_support_is_kept_at_its_ends():
    target = project(masses([0.5, 0, 0, 0, 0.5]), torch.tensor([3.0]).double(), torch.tensor([1.0]).double(), ATOMS)
    torch.testing.assert_close(target, masses([0, 0, 0, 0, 1]))


def test_projection_keeps_the_mass_and_away_from_the_ends_the_mean():
    generator = torch.Generator().manual_seed(0)
    mass = torch.rand(64, 5, generator=generator, dtype=torch.float64)
    mass /= mass.sum(dim=1, keepdim=True)
    rewards = torch.rand(64, generator=generator, dtype=torch.float64) * 0.4 - 0.2
    target = project(mass, rewards, torch.full((64,), 0.7).double(), ATOMS)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(64).double())
    torch.testing.assert_close(target @ ATOMS, rewards + 0.7 * (mass @ ATOMS))


def test_action_values_are_expectations():
    even, sure = torch.zeros(5), torch.tensor([0.0, 0, 0, 0, 100])
    torch.testing.assert_close(action_values(torch.stack([even, sure])[None].double(), ATOMS), masses([0, 1]))


def test_double_q_selects_by_one_network_and_evaluates_by_the_other():
    next_logits = torch.full((1, 2, 5), -100.0).double()
    next_logits[0, 0, 4] = 100  # action 0 is worth 1 to the evaluating network, action 1 only -1
    next_logits[0, 1, 0] = 100
    reward, discount = torch.zeros(1).double(), torch.ones(1).double()
    target = double_q_targets(next_logits, masses([0.0, 0.1]), reward, discount, ATOMS)
    torch.testing.assert_close(target, masses([1, 0, 0, 0, 0]))


def test_both_losses_look_at_the_action_taken_only():
    logits = torch.zeros(2, 3, 5, dtype=torch.float64, requires_grad=True)
    targets, actions = masses([0, 0, 1, 0, 0], [0.5, 0, 0, 0, 0.5]), torch.tensor([2, 0])
    for losses in (c51_losses(logits, actions, targets), cross_entropy(logits, actions, targets)):
        torch.testing.assert_close(losses, torch.full((2,), 5.0).double().log())
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        moved = gradient.abs().sum(dim=2) > 0
        assert moved.tolist() == [[False, False, True], [True, False, False]]


def test_c51_takes_no_gradient_from_probabilities_at_the_margin():
    logits = torch.tensor([[[50.0, 0, 0, 0, 0]]], dtype=torch.float64, requires_grad=True)
    losses = c51_losses(logits, torch.tensor([0]), masses([0, 1, 0, 0, 0]))
    losses.sum().backward()
    torch.testing.assert_close(losses.detach(), torch.tensor([1e-5]).double().log().neg())
    assert not logits.grad.any()
