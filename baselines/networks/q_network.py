"""What turns an encoder's features into action values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.networks.encoder import Encoder
from baselines.networks.initializers import lecun_normal_
from baselines.networks.load import load_encoder
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS
from baselines.networks.precision import encode


class QNetwork(nn.Module):
    """An encoder and one linear layer of action values, the network of PQN."""

    def __init__(self, encoder: Encoder, actions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.values = nn.Linear(encoder.features, actions)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        """Action values [B, A] of observations [B, 4, 84, 84], uint8 or float in 0..255.

        `activations`, if given, is filled with the encoder's named outputs.
        """
        return self.values(encode(self.encoder, observations, activations))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws new weights from a CPU generator as the official code initialises them."""
        self.encoder.reset_parameters(generator)
        lecun_normal_(self.values.weight, generator)
        nn.init.zeros_(self.values.bias)


def build_q_network(encoder: str, actions: int, generator: torch.Generator) -> QNetwork:
    """A float32 network on the CPU with the official initial weights, drawn from a CPU generator.

    Raises:
        ConfigError: no encoder of that name.
        ValueError: no action.
    """
    if actions < 1:
        raise ValueError(f"need at least one action, not {actions}")
    network = QNetwork(load_encoder(encoder, ALL_PQN_ENCODERS), actions)
    network.reset_parameters(generator)
    return network
