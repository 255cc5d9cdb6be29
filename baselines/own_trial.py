"""For the tests that a user writes of an encoder: it, by the TOML that names it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch

from baselines.config import ConfigError
from baselines.networks.encoder import Encoder
from baselines.networks.load import load_encoder
from baselines.networks.pqn_encoders import PQN_ENCODERS
from baselines.networks.trial import Tried, try_encoder
from baselines.registry import Description, add_own, describe

_MINIBATCH = 128  # PQN's


def encoder_of(path: Path, *, seed: int) -> Encoder:
    """The encoder that the TOML at `path` names, with weights drawn from `seed`. Raises ConfigError."""
    encoder = load_encoder(_described(path).values["encoder"], {})
    encoder.reset_parameters(torch.Generator().manual_seed(seed))
    return encoder


def try_file(path: Path) -> Tried:
    """What `python -m suite run` tries before it trains with the encoder. Raises ConfigError for what would stop it."""
    description = _described(path)
    encoder = description.values["encoder"]
    return try_encoder(encoder, description.code[encoder].path, {}, description.values["precision"])


def slower_than_pqn(path: Path, *, repeats: int = 3) -> float:
    """Seconds of a forward and backward pass over a minibatch, as a multiple of those of PQN's encoder; a median."""
    own, pqn = encoder_of(path, seed=0), PQN_ENCODERS["nature-layernorm"]()
    observations = torch.randint(256, (_MINIBATCH, 4, 84, 84), dtype=torch.uint8)
    ratios = []
    for repeat in range(repeats + 1):
        ratio = _seconds(own, observations) / _seconds(pqn, observations)
        if repeat:  # the first one warms up
            ratios.append(ratio)
    return statistics.median(ratios)


def _described(path: Path) -> Description:
    description = describe(add_own(path))
    if description.values.get("encoder") not in description.code:
        raise ConfigError(f"{path}: its encoder is none of your own")
    return description


def _seconds(encoder: Encoder, observations: torch.Tensor) -> float:
    began = time.perf_counter()
    encoder(observations).square().mean().backward()
    return time.perf_counter() - began
