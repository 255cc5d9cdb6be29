import copy
import math

import pytest
import torch

from baselines.optim import RAdam, clip_by_global_norm_, global_norm, radam_scalars


def parameters(dtype=torch.float64) -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype))
        for shape in ((5, 3), (4,))
    ]


def set_gradients(params, step: int) -> None:
    draw = torch.Generator().manual_seed(100 + step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=draw, dtype=torch.float64).to(p.dtype) * 10.0 ** -(step % 8)


def test_the_first_step_is_lr_times_the_gradient():
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    parameter.grad = torch.tensor([0.5, -4.0], dtype=torch.float64)
    RAdam([parameter], lr=0.1).step()
    assert parameter.tolist() == pytest.approx([0.95, 2.4], abs=1e-15)  # m / (1 - b1) = g, not normalised


def test_the_sixth_step_is_the_first_rectified_one():
    scales = [float(radam_scalars(torch.tensor(float(t)), 1.0, (0.9, 0.999), 1e-8)[0]) for t in range(1, 8)]
    assert [scale != 0 for scale in scales] == [False] * 5 + [True] * 2


def test_a_constant_gradient_gives_rectified_steps_of_lr_times_r():
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = RAdam([parameter], lr=1.0, eps=1e-30)
    gradient = torch.tensor([3.0, -1e-6], dtype=torch.float64)
    for _ in range(6):
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimizer.step()
    # rho_inf = 1999, rho_6 = 1999 - 12 * 0.999^6 / (1 - 0.999^6)
    rho = 1999 - 12 * 0.999**6 / (1 - 0.999**6)
    r = math.sqrt((rho - 4) * (rho - 2) * 1999 / (1995 * 1997 * rho))
    assert (parameter - before).tolist() == pytest.approx([-r, r], rel=1e-9)


def test_the_capturable_form_takes_the_same_steps():
    plain, capturable = parameters(), parameters()
    optimizers = [RAdam(plain, lr=1e-3), RAdam(capturable, lr=1e-3, capturable=True)]
    for step in range(10):
        set_gradients(plain, step)
        set_gradients(capturable, step)
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(plain, capturable, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-15)


@pytest.mark.parametrize("capturable", [False, True])
def test_a_restored_optimizer_goes_on_as_the_saved_one(capturable):
    params = parameters(torch.float32)
    optimizer = RAdam(params, lr=1e-2, capturable=capturable)
    for step in range(7):
        set_gradients(params, step)
        optimizer.step()
    copies = [torch.nn.Parameter(p.detach().clone()) for p in params]
    restored = RAdam(copies, lr=1.0, capturable=capturable)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(7, 12):
        for group, rule in ((params, optimizer), (copies, restored)):
            set_gradients(group, step)
            rule.step()
    for p, q in zip(params, copies, strict=True):
        assert torch.equal(p, q)


def test_parameters_without_a_gradient_stay():
    moved, still = parameters()
    before = still.detach().clone()
    optimizer = RAdam([moved, still], lr=0.1)
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert torch.equal(still, before)
    assert still not in optimizer.state


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"lr": 1.0, "eps": 0.0}, {"lr": 1.0, "betas": (0.9, 1.0)}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match="need lr > 0"):
        RAdam(parameters(), **wrong)


def with_gradient(values: list[float]) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.zeros(len(values)))
    parameter.grad = torch.tensor(values)
    return parameter


def test_gradients_are_scaled_together_to_the_largest_norm():
    first, second, without = with_gradient([3.0]), with_gradient([0.0, 4.0]), torch.nn.Parameter(torch.zeros(2))
    assert float(clip_by_global_norm_([first, second, without], 1.0)) == 5.0
    assert first.grad.tolist() == pytest.approx([0.6])
    assert second.grad.tolist() == pytest.approx([0.0, 0.8])
    assert without.grad is None


@pytest.mark.parametrize("values", [[3.0, 4.0], [0.0, 0.0]])
def test_gradients_within_the_norm_stay_as_they_are(values):
    parameter = with_gradient(values)
    clip_by_global_norm_([parameter], 5.1)
    assert parameter.grad.tolist() == values


def test_the_norm_of_a_large_float32_layer_keeps_its_digits():
    entries = torch.randn(512, 7744, generator=torch.Generator().manual_seed(0))
    assert float(global_norm([entries])) == pytest.approx(float(entries.double().norm()), rel=1e-6)


def test_the_global_norm_joins_tensors_of_any_shape():
    tensors = [torch.tensor(2.0), torch.full((2, 2, 1, 1), 2.0), torch.tensor([5.0, 2.0, 0.0])]
    assert float(global_norm(tensors)) == 7.0  # 4 + 16 + 29


def test_clipping_before_any_backward_is_refused():
    with pytest.raises(ValueError, match=r"call backward\(\) first"):
        clip_by_global_norm_(parameters(), 1.0)
