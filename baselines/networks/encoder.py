"""What every image encoder is: four stacked frames in, features out; and the steps that all of them share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.fast import fused_norm

FRAMES = 4  # input channels; a protocol with another frame stack is refused


class Encoder(nn.Module):
    """Base of the encoders; a network of one's own needs these attributes, `forward` and `reset_parameters`."""

    features: int  # width of the output
    layer_names: tuple[str, ...] = ("conv1", "conv2", "conv3", "dense")  # each also names a submodule
    smooth: bool = False  # GELU (true) or ReLU (false) units
    rectified_layers: tuple[str, ...] = ()  # layers whose named output is that of a ReLU
    compute_dtype: torch.dtype | None = None  # None: that of the parameters; `precision.use_precision` sets it
    fused_input: bool = False  # `fast.use_fused_norms` sets it

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        """Encodes a batch.

        Args:
            observations: [B, 4, 84, 84], uint8 or float in 0..255; the last frame is the newest.
            activations: if given, filled with each named layer's output: [B, H, W, C] or [B, features].
        Returns: [B, features] in the parameters' dtype.
        """
        raise NotImplementedError

    def layer(self, name: str) -> nn.Module:
        """The part of the network that one of `layer_names` names."""
        return self.get_submodule(name)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws new weights from a CPU generator, biases 0, LayerNorm scale 1, as the official code initialises."""
        raise NotImplementedError

    def images(self, observations: Tensor, dtype: torch.dtype) -> Tensor:
        """`scaled_images`, or its fused equal."""
        if self.fused_input and observations.dtype == torch.uint8:
            return fused_norm.scaled_images(observations, dtype)
        return scaled_images(observations, dtype)


def scaled_images(observations: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 4, 84, 84] in 0..255 -> 0..1 in `dtype`, channels_last. The argument is left as it is."""
    return observations.to(dtype=dtype, memory_format=torch.channels_last) / 255


def flatten_nhwc(images: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H * W * C]; a view of channels_last memory."""
    return images.permute(0, 2, 3, 1).flatten(1)


def keep(activations: dict[str, Tensor] | None, name: str, output: Tensor) -> Tensor:
    """Notes a layer's output, images as [B, H, W, C]; gives it back unchanged."""
    if activations is not None:
        activations[name] = output.permute(0, 2, 3, 1) if output.ndim == 4 else output
    return output


def one_convolution(images: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Both convolutions of `images` as one: [B, 2C, H, W], the outputs of `first` before those of `second`.

    The weights are laid side by side anew each time, so that parameters, optimizer and checkpoints know of two.
    """
    weight = torch.cat((first.weight, second.weight))
    assert first.bias is not None
    assert second.bias is not None
    return F.conv2d(images, weight, torch.cat((first.bias, second.bias)), first.stride, first.padding)
