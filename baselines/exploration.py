"""How much an agent explores."""

from __future__ import annotations


def linear_epsilon(index: int, *, start: float, end: float, decay: float) -> float:
    """Probability of a random action at the `index`-th update, counted from 0.

    Falls linearly from `start` to `end` over `decay` updates, then stays. `decay` need not be whole: the official code
    takes a tenth of all updates without rounding.

    Raises: ValueError if `decay` is not positive or `index` is negative.
    """
    if not decay > 0:
        raise ValueError(f"decay must be positive, not {decay}")
    if index < 0:
        raise ValueError(f"index must not be negative, is {index}")
    return (start - end) * (1 - min(index, decay) / decay) + end
