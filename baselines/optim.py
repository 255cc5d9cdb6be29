"""RAdam and gradient clipping by the official rules (optax), which torch's own do not follow.

torch.optim.RAdam adds its epsilon before correcting the bias of the second moment, which makes the epsilon 13 times
larger at the sixth step and 4 times at the sixtieth; gradient entries near or below 1e-6, ordinary here, are stepped
differently. torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class RAdam(torch.optim.Optimizer):
    """Rectified Adam (Liu et al. 2020, arXiv 1908.03265) as optax computes it, t = 1, 2, ...:

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  mh = m / (1 - b1^t);  vh = v / (1 - b2^t)
    p -= lr * r * mh / (sqrt(vh) + eps)   where the variance is tractable (rho >= 5: from t = 6 with the usual betas)
    p -= lr * mh                          before

    The published float32 runs evaluate r with rounding that makes it up to 0.6 % smaller for some tens of steps; that
    start-up transient is not imitated.

    With `capturable` the step counter lives beside the parameters and nothing is read back from the device, so that a
    step can be captured in a CUDA graph.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        capturable: bool = False,
    ) -> None:
        if not lr > 0 or not eps > 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"need lr > 0, eps > 0 and betas in [0, 1): {lr=}, {eps=}, {betas=}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "capturable": capturable})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; those of a group must have been updated equally often."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            pairs = [(parameter, parameter.grad) for parameter in group["params"] if parameter.grad is not None]
            if pairs:
                self._update(group, *map(list, zip(*pairs, strict=True)))
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        states = [self._state_of(parameter, group["capturable"]) for parameter in parameters]
        first = [state["first_moment"] for state in states]
        second = [state["second_moment"] for state in states]
        steps = [state["step"] for state in states]
        beta1, beta2 = group["betas"]

        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        scalars = radam_scalars(steps[0], group["lr"], group["betas"], group["eps"])
        # A number read from the CPU is free and keeps all its digits.
        scale, offset = (s.to(parameters[0].dtype) if group["capturable"] else s.item() for s in scalars)
        denominators = torch._foreach_sqrt(second)
        torch._foreach_mul_(denominators, scale)
        # With a tensor, `alpha` picks the overload that leaves it on the device. Without, torch reads the number back,
        # which waits for the device and is forbidden while a graph is captured.
        torch._foreach_add_(denominators, offset, **({"alpha": 1} if group["capturable"] else {}))
        torch._foreach_addcdiv_(parameters, first, denominators)

    def _state_of(self, parameter: Tensor, capturable: bool) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            # float32, because that is what torch makes of a loaded "step"; it counts exactly up to 16 million
            device = parameter.device if capturable else torch.device("cpu")
            state["step"] = torch.zeros((), dtype=torch.float32, device=device)
            state["first_moment"] = torch.zeros_like(parameter)
            state["second_moment"] = torch.zeros_like(parameter)
        return state


def radam_scalars(step: Tensor, lr: float, betas: tuple[float, float], eps: float) -> tuple[Tensor, Tensor]:
    """The two numbers of a step that make both rules one: p += m / (scale * sqrt(v) + offset).

    Args:
        step: scalar, the number of this update, counted from 1.
    Returns: `scale` and `offset`, both not above 0, float64 scalars on the device of `step`.
    """
    beta1, beta2 = betas
    step = step.double()
    decay = beta2**step
    correction1, correction2 = 1 - beta1**step, 1 - decay
    rho_limit = 2 / (1 - beta2) - 1
    rho = rho_limit - 2 * step * decay / correction2
    tractable = rho.clamp(min=5.0)  # keeps the root real where its value is not used
    rectification = torch.sqrt(
        (tractable - 4) * (tractable - 2) * rho_limit / ((rho_limit - 4) * (rho_limit - 2) * tractable)
    )
    rectified = rho >= 5
    rate = torch.where(rectified, lr * rectification, lr) / correction1
    scale = torch.where(rectified, -1 / (rate * correction2.sqrt()), 0.0)
    offset = torch.where(rectified, -eps / rate, -1 / rate)
    return scale, offset


@torch.no_grad()
def clip_by_global_norm_(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales the gradients in place so that their joint L2 norm is at most `max_norm`; optax's rule, no epsilon.

    Args:
        parameters: tensors whose `.grad` is clipped; those without one are passed over.
        max_norm: above 0.
    Returns: scalar, the norm before clipping, on the gradients' device and without waiting for it.
    Raises: ValueError if no parameter has a gradient.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise ValueError("no parameter has a gradient to clip; call backward() first")
    norm = global_norm(gradients)
    torch._foreach_mul_(gradients, torch.where(norm < max_norm, 1.0, max_norm / norm))
    return norm


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Joint L2 norm of at least one tensor, as a scalar on their device and in their dtype."""
    # Row by row: torch sums squares in few running sums, which over millions of float32 entries loses four digits.
    rows = [torch.linalg.vector_norm(t.flatten(1), dim=1) if t.ndim > 1 else t.reshape(-1) for t in tensors]
    return torch.linalg.vector_norm(torch.cat(rows))
