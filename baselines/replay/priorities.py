"""Prioritised sampling (Schaul et al. 2016, arXiv 1511.05952) as dqn_zoo does it: proportional, with a sum tree.

P(i) = (1 - u) p[i]^omega / sum p^omega + u / size, where a small uniform share u keeps every transition in play.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

# Children of a node. Wide and shallow: a million leaves are four levels, each one numpy operation for a whole batch.
_FANOUT = 32


class SumTree:
    """Non-negative weights on leaves 0..size-1, found by running sum.

    A node is always the sum of its children as they are now, never an accumulated difference: after the same weights
    were set, in whatever order and number of calls, the tree is the same to the bit.
    """

    def __init__(self, size: int):
        self.size = size
        widths = [-(-size // _FANOUT) * _FANOUT]
        while widths[-1] > _FANOUT:
            widths.append(-(-(widths[-1] // _FANOUT) // _FANOUT) * _FANOUT)
        # Level 0 has the leaves; each is [nodes of the level above, children].
        self._levels = [np.zeros((width // _FANOUT, _FANOUT)) for width in widths]

    @property
    def leaves(self) -> np.ndarray:
        """[size] float64, a view."""
        return self._levels[0].reshape(-1)[: self.size]

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._levels[-1].sum())

    def set(self, indices: np.ndarray, weights: np.ndarray | float) -> None:
        """Sets the weights of leaves `indices` [B]; where one occurs twice, its last weight stays."""
        self._levels[0].reshape(-1)[indices] = weights
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            indices = indices // _FANOUT
            level.reshape(-1)[indices] = below[indices].sum(axis=1)

    def fill(self, weights: np.ndarray) -> None:
        """Sets every leaf; `weights` [size] float64."""
        self.leaves[:] = weights
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            level.reshape(-1)[: len(below)] = below.sum(axis=1)

    def find(self, targets: np.ndarray) -> np.ndarray:
        """For each of `targets` [B], the least leaf whose running sum is strictly greater, [B] int64.

        `targets` lie in 0..total. Never a leaf of weight 0, however sums round, unless all are 0.
        """
        nodes = np.zeros(len(targets), dtype=np.int64)
        rest = targets.astype(np.float64)
        for level in reversed(self._levels):
            children = level[nodes]  # [B, fanout]
            sums = children.cumsum(axis=1)
            chosen = (sums <= rest[:, None]).sum(axis=1)
            beyond = chosen == _FANOUT  # rounding, or the end of the range: the last child that has any weight
            if beyond.any():
                chosen[beyond] = _FANOUT - 1 - (children[beyond, ::-1] > 0).argmax(axis=1)
            rows = np.arange(len(nodes))
            rest -= np.where(chosen > 0, sums[rows, chosen - 1], 0.0)
            nodes = nodes * _FANOUT + chosen
        return nodes


class PrioritizedSampler:
    """Draws indices of a memory by priority, and remembers the priorities."""

    def __init__(self, size: int, *, exponent: float, uniform_probability: float):
        """`size`: of the index range; `exponent`: omega; `uniform_probability`: u."""
        self._tree = SumTree(size)
        self._exponent = exponent
        self._uniform_probability = uniform_probability
        self._largest = 1.0  # priority of what has not been learned from: the largest seen so far

    def insert(self, indices: np.ndarray) -> None:
        """New transitions enter with the largest priority so far, so that each is soon seen."""
        self._tree.set(indices, self._largest**self._exponent)

    def remove(self, indices: np.ndarray) -> None:
        self._tree.set(indices, 0.0)

    def update(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Sets new priorities [B], not negative, of transitions that are still in the memory."""
        self._tree.set(indices, priorities.astype(np.float64) ** self._exponent)
        self._largest = max(self._largest, float(priorities.max()))

    def draw(
        self, count: int, generator: np.random.Generator, *, size: int, uniform: Callable[[int], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws with replacement.

        Args:
            size: transitions in the memory.
            uniform: draws that many of them uniformly, for the uniform share and where every priority is 0.
        Returns: indices [count] int64 and the probability of each draw [count] float64.
        """
        total = self._tree.total
        where, spread = generator.random((2, count))
        if total > 0:
            indices = self._tree.find(where * total)
            spread_out = np.flatnonzero(spread < self._uniform_probability)
            if len(spread_out):
                indices[spread_out] = uniform(len(spread_out))
        else:
            indices = uniform(count)
        return indices, self.probabilities(indices, size)

    def probabilities(self, indices: np.ndarray, size: int) -> np.ndarray:
        """P(i) of `indices` in a memory of `size` transitions, [B] float64."""
        return sampling_probabilities(
            self._tree.leaves[indices], self._tree.total, size, uniform_probability=self._uniform_probability
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the size: 8 bytes a transition, as a tensor, which a checkpoint can hold."""
        return {"weights": torch.from_numpy(self._tree.leaves.copy()), "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tree.fill(state["weights"].cpu().numpy())
        self._largest = state["largest"]


def sampling_probabilities(weights: np.ndarray, total: float, size: int, *, uniform_probability: float) -> np.ndarray:
    """Probability of each of `weights` [B], exponent applied, among `size` of which the sum is `total`."""
    if total == 0:
        return np.full(len(weights), 1 / size)
    return (1 - uniform_probability) * weights / total + uniform_probability / size


def importance_weights(probabilities: np.ndarray, size: int, *, exponent: float) -> np.ndarray:
    """((1 / size) / P(i))^beta over the largest of the batch, [B] float64: at most 1."""
    weights = (1 / (size * probabilities)) ** exponent
    return weights / weights.max()


def linear_schedule(index: int, *, start: float, end: float, first: int, last: int) -> float:
    """From `start` at index `first` linearly to `end` at `last`; constant before and after."""
    share = min(max((index - first) / (last - first), 0.0), 1.0) if last > first else float(index >= first)
    return start + share * (end - start)
