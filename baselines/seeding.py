"""Every random stream of a run, spawned from its one seed.

All streams are numpy generators on the host, on every device: what a run draws does not depend on where it computes,
and a checkpoint keeps their states as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

# The order is part of the protocol: a child's place fixes its stream. New streams go at the end.
_NAMES = (
    "initial_weights",
    "exploration",
    "minibatches",
    "replay",
    "train_environments",
    "greedy_environments",
    "noise",
)


class Streams:
    """The named generators of one run.

    `initial_weights`, `exploration`, `minibatches`, `replay` and `noise` are `numpy.random.Generator`s (PCG64).
    """

    def __init__(self, seed: int):
        children = dict(zip(_NAMES, np.random.SeedSequence(seed).spawn(len(_NAMES)), strict=True))
        self._environment_seeds = {
            "train": children.pop("train_environments"),
            "greedy": children.pop("greedy_environments"),
        }
        self._generators = {name: np.random.default_rng(child) for name, child in children.items()}

    def __getattr__(self, name: str) -> np.random.Generator:
        generators = self.__dict__.get("_generators", {})
        if name not in generators:
            raise AttributeError(name)
        return generators[name]

    def environment_seeds(self, kind: str, count: int) -> list[int]:
        """Seeds of `count` environments of `kind` ("train" or "greedy"), each non-negative and within int32.

        envpool would give environment i the seed `seed + i`, so that neighbouring seeds shared all but one of their
        environments; these are drawn apart instead (a numbered deviation from the official code).
        """
        return (self._environment_seeds[kind].generate_state(count) >> 1).astype(int).tolist()

    def torch_generator(self) -> torch.Generator:
        """A CPU generator for the initial weights, seeded from their stream; call once."""
        return torch.Generator().manual_seed(int(self._generators["initial_weights"].integers(2**63)))

    def state_dict(self) -> dict[str, Any]:
        return {name: generator.bit_generator.state for name, generator in self._generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, generator in self._generators.items():
            generator.bit_generator.state = state[name]
