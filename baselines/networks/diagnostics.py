"""How healthy a network's layers are: effective rank, dead neurons, sizes of activations and gradients.

Effective rank is that of Kumar et al. 2021 (arXiv 2010.14498). What counts as a dead neuron is this project's choice,
for published definitions differ: a ReLU unit is dead when its output is exactly 0 on the whole batch; any other unit
(GELU, products, sums) when its output is practically constant, its population standard deviation below 1e-3. A
convolution's unit is a channel, judged over batch and positions together.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from baselines.networks.encoder import Encoder
from baselines.optim import global_norm


class Diagnosable(Protocol):
    """A network of any agent."""

    @property
    def encoder(self) -> Encoder: ...

    def __call__(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor: ...


RANK_DELTA = 0.01
SMOOTH_THRESHOLD = 1e-3
GRAM_ROWS = 64  # at once: a Gram matrix is symmetric, and only its lower blocks are computed
GRAM_COLUMNS = 4096  # at once: of a wide matrix no whole copy in float64 is made
FORWARD_ROWS = 256  # observations at once through the network


def effective_rank(matrix: Tensor, delta: float = RANK_DELTA) -> int:
    """srank_delta: the least k whose largest k singular values sum to at least 1 - delta of the sum of all.

    Singular values are the roots of the smaller Gram matrix's eigenvalues, in float64: many times faster than an SVD
    of a wide matrix, and off by at most about 1e-8 of the largest value, which no rank at a sensible delta notices.

    Args:
        matrix: [samples, features] float, not centred.
    Returns: between 1 and min(samples, features); 0 for a matrix of zeros.
    Raises: ValueError if it is not a matrix or not finite.
    """
    if matrix.ndim != 2:
        raise ValueError(f"need a matrix [samples, features], not shape {tuple(matrix.shape)}")
    gram = _gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
    if not torch.isfinite(gram).all():
        raise ValueError("the matrix has entries that are not finite")
    return spectrum_rank(torch.linalg.eigvalsh(gram, UPLO="L").clamp(min=0).sqrt(), delta)


def _gram(rows: Tensor) -> Tensor:
    """rows @ rows.T in float64, the lower half alone (what is above the diagonal blocks stays 0, and is not read)."""
    gram = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for columns in rows.split(GRAM_COLUMNS, dim=1):
        part = columns.double()
        for start in range(0, len(rows), GRAM_ROWS):
            block = part[start : start + GRAM_ROWS]
            gram[start : start + GRAM_ROWS, : start + GRAM_ROWS] += block @ part[: start + GRAM_ROWS].T
    return gram


def spectrum_rank(singular_values: Tensor, delta: float = RANK_DELTA) -> int:
    """`effective_rank` of a matrix with these singular values [K], in any order."""
    descending = singular_values.double().sort(descending=True).values
    cumulative = descending.cumsum(0)
    if cumulative[-1] == 0:
        return 0
    return int((cumulative / cumulative[-1] < 1 - delta).sum()) + 1


def dead_relu_units(activations: Tensor) -> Tensor:
    """[..., units] -> bool [units], true where a unit is exactly 0 everywhere."""
    return (activations == 0).flatten(0, -2).all(dim=0)


def dead_smooth_units(activations: Tensor, threshold: float = SMOOTH_THRESHOLD) -> Tensor:
    """[..., units] -> bool [units], true where a unit's population standard deviation is below `threshold`."""
    return activations.double().flatten(0, -2).std(dim=0, correction=0) < threshold


@torch.no_grad()
def layer_diagnostics(network: Diagnosable, observations: Tensor) -> dict[str, float]:
    """Diagnostics of every named layer of the encoder on one batch of observations [B, 4, 84, 84].

    Returns, for each layer: `effective_rank/<layer>` of its outputs as [B, all units]; `dead_fraction/<layer>`;
    `activation_norm/<layer>`, the root mean square of its outputs; and `gradient_norm/<layer>`, the L2 norm of the
    gradients its parameters hold now, left out where they hold none. The rank is nan where outputs are not finite.
    A layer that the encoder did not fill in is left out.
    """
    activations: dict[str, Tensor] = {}
    network(observations, activations)
    encoder = network.encoder
    found: dict[str, float] = {}
    for layer in encoder.layer_names:
        if layer not in activations:
            continue  # of a user's encoder, whose trial has said so
        outputs = activations[layer].float()
        dead = dead_relu_units(outputs) if layer in encoder.rectified_layers else dead_smooth_units(outputs)
        finite = bool(torch.isfinite(outputs).all())
        found[f"effective_rank/{layer}"] = float(effective_rank(outputs.flatten(1))) if finite else float("nan")
        found[f"dead_fraction/{layer}"] = float(dead.float().mean())
        found[f"activation_norm/{layer}"] = float(outputs.square().mean(dtype=torch.float64).sqrt())
        parameters = encoder.layer(layer).parameters()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            found[f"gradient_norm/{layer}"] = float(global_norm(gradients))
    return found


@torch.no_grad()
def layer_ranks(network: Diagnosable, observations: Tensor) -> dict[str, float]:
    """Effective rank of every named layer of the encoder over a large sample of observations [N, 4, 84, 84].

    A rank is never above N, and near N differences vanish. So N belongs to the figure and is in its name:
    `effective_rank_2048/conv2`. One layer's outputs are held at a time, for those of all would take more memory than
    training does. The rank is nan where outputs are not finite; a layer that the encoder did not fill in is left out.
    """
    found: dict[str, float] = {}
    for layer in network.encoder.layer_names:
        outputs = None
        for start in range(0, len(observations), FORWARD_ROWS):
            activations: dict[str, Tensor] = {}
            network(observations[start : start + FORWARD_ROWS], activations)
            if layer not in activations:
                break
            part = activations.pop(layer).flatten(1)
            if outputs is None:
                outputs = part.new_empty(len(observations), part.shape[1], dtype=torch.float32)
            outputs[start : start + FORWARD_ROWS] = part
        if outputs is not None:
            is_finite = bool(torch.isfinite(outputs).all())
            name = f"effective_rank_{len(observations)}/{layer}"
            found[name] = float(effective_rank(outputs)) if is_finite else float("nan")
    return found
