"""Which of our encoders and parameters a name in the PQN fixtures means."""

from __future__ import annotations

import re

ENCODER_OF_FILE = {"baseline": "nature-layernorm", "hadamax": "hadamax", "impala": "impala"}


def our_name(name: str, encoder: str) -> str:
    """Name of a parameter in `QNetwork` -> from its name in the official code."""
    path, leaf = name.rsplit("/", 1)
    leaf = "bias" if leaf == "bias" else "weight"
    if path.lower() == "action_dense":
        return f"values.{leaf}"
    if encoder == "impala":
        if path == "Dense_0":
            return f"encoder.dense.{leaf}"
        sequence = re.search(r"ConvSequence_(\d+)/", path)
        residual = re.search(r"ResidualBlock_(\d+)/Conv_(\d+)", path)
        convolution = f"residual{int(residual[1]) + 1}.conv{int(residual[2]) + 1}" if residual else "conv"
        return f"encoder.seq{int(sequence[1]) + 1}.{convolution}.{leaf}"
    kind, index = re.fullmatch(r"NatureCNN_0/(\w+)_(\d+)", path).groups()
    index = int(index)
    convolutions = 6 if encoder == "hadamax" else 3
    if kind == "Dense" or (kind == "LayerNorm" and index == convolutions):
        return f"encoder.dense.{'linear' if kind == 'Dense' else 'norm'}.{leaf}"
    part = "conv" if kind == "Conv" else "norm"
    if encoder == "hadamax":
        return f"encoder.conv{index // 2 + 1}.{part}_{'ab'[index % 2]}.{leaf}"
    return f"encoder.conv{index + 1}.{part}.{leaf}"
