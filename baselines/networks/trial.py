"""Tries an encoder of a user's own out before anything is trained with it, and says in one line what is wrong.

Two minibatches of made-up observations on the CPU, a second or two. What only takes something away (a layer without
diagnostics, a weight that nothing reaches) is a note, no error.
"""

from __future__ import annotations

import copy
import io
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.code import USER_ERRORS, describe_error
from baselines.config import ConfigError
from baselines.networks.diagnostics import layer_diagnostics
from baselines.networks.load import OwnEncoder, Table, load_encoder
from baselines.networks.precision import use_precision
from baselines.networks.q_network import QNetwork

_BATCH, _ACTIONS = 8, 6
_LEARNING_RATE = 2.5e-4


@dataclass(frozen=True)
class Tried:
    """What there is to know of an encoder that works."""

    parameters: int
    features: int
    layers: tuple[str, ...]  # that diagnostics are computed for
    notes: tuple[str, ...]  # a line each


def try_encoder(name: str, path: Path, table: Table, precision: str = "float32") -> Tried:
    """Builds, runs and trains the encoder `name`, whose code is in `path`, as an agent would.

    Raises ConfigError for anything that would stop a run, or let it give other results when it is resumed.
    """
    network = _network(name, table, precision)
    encoder = network.encoder
    assert isinstance(encoder, OwnEncoder)
    try:
        _check_weights(name, network, _network(name, table, precision))
    except ConfigError:
        raise
    except USER_ERRORS as error:  # a state that torch cannot read or compare
        raise ConfigError(f"{name}: its weights cannot be compared: {describe_error(error, path)}") from error
    _check_copies(name, network)
    observations, before = _observations(0), _observations(0)
    try:
        _check_output(name, network, observations, before)
        notes = _check_repeats(name, network, observations)
        notes += _check_update(name, network, observations)
        found = layer_diagnostics(network, observations)
        _check_input(name, observations, before)  # with `activations` it may go another way
    except ConfigError:
        raise
    except USER_ERRORS as error:
        hint = (
            "; in bf16 weights are bfloat16, so bring the observations to the dtype of a weight"
            if precision == "bf16"
            else " (observations are uint8 [B, 4, 84, 84])"
        )
        raise ConfigError(f"{name}: forward failed: {describe_error(error, path)}{hint}") from error
    layers = tuple(layer for layer in encoder.layer_names if f"effective_rank/{layer}" in found)
    missing = [layer for layer in encoder.layer_names if layer not in layers]
    if missing:
        notes.append(f"no diagnostics of {', '.join(missing)}: forward gives no output under that name")
    elif not layers:
        notes.append("no diagnostics: it names no layers (`layer_names`), and none of its parts has weights")
    return Tried(sum(p.numel() for p in encoder.parameters()), encoder.features, layers, tuple(notes))


def _network(name: str, table: Table, precision: str) -> QNetwork:
    network = QNetwork(load_encoder(name, table), _ACTIONS)
    try:
        network.reset_parameters(torch.Generator().manual_seed(0))
    except ConfigError:
        raise
    except USER_ERRORS as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{name}: reset_parameters(generator) failed: {type(error).__name__}: {text}") from error
    use_precision(network, precision)
    return network


def _observations(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (_BATCH, 4, 84, 84), dtype=torch.uint8, generator=generator)


def _check_weights(name: str, one: QNetwork, other: QNetwork) -> None:
    """Two builds from one seed; what else there is to draw from has moved on in between."""
    random.random()
    np.random.random()
    torch.rand(1)
    first, second = (
        {key.removeprefix("encoder.net."): value for key, value in network.state_dict().items()}
        for network in (one, other)
    )
    for key, value in first.items():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"{name}: {key} in its state is no tensor ({type(value).__name__}); keep what changes in buffers of "
                "tensors, and leave out get_extra_state"
            )
        if value.layout != torch.strided:
            raise ConfigError(f"{name}: {key} is a sparse tensor, which nothing here can copy; make it dense")
    unlike = [key for key in {**first, **second} if _kind(first.get(key)) != _kind(second.get(key))]
    if unlike:
        raise ConfigError(
            f"{name}: {unlike[0]} is not the same in every build (there or not, its shape or its dtype), so runs would "
            "not repeat; build the same parts every time"
        )
    differing = [key for key, value in first.items() if not _equal(value, second[key])]
    if differing:
        raise ConfigError(
            f"{name}: {differing[0]} is drawn outside the given generator, so runs would not repeat; leave it to "
            "torch's layers, or draw it in reset_parameters(generator)"
        )


def _kind(value: Tensor | None) -> tuple[torch.Size, torch.dtype] | None:
    return None if value is None else (value.shape, value.dtype)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same; nan is what nan is, for a buffer may begin with it."""
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _check_copies(name: str, network: QNetwork) -> None:
    """Target networks are copies, checkpoints are files."""
    try:
        copy.deepcopy(network)
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except USER_ERRORS as error:  # whatever copy, pickle and torch raise
        text = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{name} cannot be copied and saved ({type(error).__name__}: {text}), so that no checkpoint could hold it; "
            "keep open files, locks, generators and lambdas out of its attributes and its state"
        ) from error


def _check_output(name: str, network: QNetwork, observations: Tensor, before: Tensor) -> None:
    features = network.encoder(observations) if network.encoder.compute_dtype is None else None
    _check_input(name, observations, before)  # after every pass: two of them may undo each other's change
    if features is not None:
        wanted = (_BATCH, network.encoder.features)
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        if found != wanted:
            raise ConfigError(
                f"{name}: forward returns {found} for {_BATCH} observations; it must return "
                f"[B, features], here {wanted}"
            )
        if not features.dtype.is_floating_point:
            raise ConfigError(f"{name}: forward returns {features.dtype}; it must return floating point features")
    values = network(observations)
    _check_input(name, observations, before)
    if not torch.isfinite(values).all():
        raise ConfigError(f"{name}: its first output is not finite; observations are 0..255: divide them by 255")


def _check_input(name: str, observations: Tensor, before: Tensor) -> None:
    """On a CPU the observations are the emulator's own memory, of which a checkpoint holds the hash."""
    alike = observations.shape == before.shape and observations.dtype == before.dtype
    if not alike or not torch.equal(observations, before):
        raise ConfigError(f"{name}: forward changes its input; work on a copy (observations.clone())")


def _check_repeats(name: str, network: QNetwork, observations: Tensor) -> list[str]:
    """From one state, as a checkpoint keeps it, an input has one output. A pass may change buffers (spectral norm)."""
    state = copy.deepcopy(network.state_dict())
    values = network(observations)
    network.load_state_dict(state)
    if not torch.equal(network(observations), values):
        raise ConfigError(
            f"{name}: forward gives two outputs for one input (dropout, noise?), so that a resumed run would go "
            "another way; take the randomness out, and keep what changes in buffers"
        )
    alone = network(observations[:1])
    if not torch.allclose(alone, values[:1], rtol=1e-2, atol=1e-2):
        return ["an observation's features depend on the others in its batch (BatchNorm?): acting and learning see two"]
    return []


def _check_update(name: str, network: QNetwork, observations: Tensor) -> list[str]:
    """One gradient step on made-up targets, and what the network gives afterwards."""
    targets = torch.linspace(-1, 1, _BATCH)
    loss = 0.5 * (network(observations)[:, 0] - targets).square().mean()
    loss.backward()
    parameters = dict(network.encoder.named_parameters())
    gradients = {key: p.grad for key, p in parameters.items() if p.grad is not None}
    unfit = [key for key, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    if unfit:
        raise ConfigError(
            f"{name}: the gradient of {unfit[0].removeprefix('net.')} is not finite in the first update; look for a "
            "division, root or logarithm of 0"
        )
    torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE).step()
    with torch.no_grad():
        if not torch.isfinite(network(_observations(1))).all():
            raise ConfigError(f"{name}: its output is not finite after the first update; normalise its layers")
    unreached = [key.removeprefix("net.") for key, p in parameters.items() if p.requires_grad and p.grad is None]
    return [f"no gradient reaches {', '.join(unreached)}: forward does not use it"] if unreached else []
