"""An encoder by the name that a configuration gives it: out of an algorithm's table, or code of a user's own.

Code of one's own is any torch module with `features` and `forward`. `OwnEncoder` makes of it what agents take: weights
that come from the generator they are given, and layers to diagnose.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from baselines.code import USER_ERRORS, describe_error, is_reference, load_class, prints_aside
from baselines.config import ConfigError
from baselines.networks.encoder import Encoder, keep

Table = Mapping[str, Callable[[], Encoder]]


def load_encoder(name: str, table: Table) -> Encoder:
    """A new encoder; its weights are those that `reset_parameters` draws next.

    Raises:
        ConfigError: a plain name that `table` does not have; or code of one's own that cannot be loaded or built, or is
            no encoder.
    """
    if name in table:
        return table[name]()
    if not is_reference(name):
        known = ", ".join(table)
        raise ConfigError(
            f'unknown encoder {name!r}; the encoders are: {known}; or code of your own, "my_net.py:MyEncoder"'
        )
    return OwnEncoder(load_class(name), name)


class OwnEncoder(Encoder):
    """A user's module as an encoder.

    Its layers are those that it names itself (`layer_names`, and a `forward` that fills `activations`), or else its
    direct parts that have weights, by what they give.
    """

    def __init__(self, make: Callable[[], Any], reference: str) -> None:
        super().__init__()
        self._make, self.reference = make, reference
        self.net = self._built()
        try:
            self._read()
        except ConfigError:
            raise
        except USER_ERRORS as error:  # a property that raises, for one
            raise ConfigError(f"{reference} is no encoder: {describe_error(error, self._file())}") from error

    def _read(self) -> None:
        """What the module says of itself."""
        self.features = self.net.features
        takes = "activations" in inspect.signature(self.net.forward).parameters
        self.names_layers = takes and hasattr(self.net, "layer_names")
        if self.names_layers:
            self.layer_names = self._names("layer_names")
            self.rectified_layers = self._names("rectified_layers")
        else:
            parts = {name: part for name, part in self.net.named_children() if any(True for _ in part.parameters())}
            self.layer_names = tuple(parts)
            self.rectified_layers = tuple(name for name, part in parts.items() if _ends_in_relu(part))
        self.smooth = bool(getattr(self.net, "smooth", len(self.rectified_layers) < len(self.layer_names)))

    def _names(self, key: str) -> tuple[str, ...]:
        names = getattr(self.net, key, ())
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f'{self.reference}: {key} must be names of its parts, ("conv1", "dense") for one, is {names!r}'
            )
        return tuple(names)

    def forward(self, observations: Tensor, activations: dict[str, Tensor] | None = None) -> Tensor:
        if activations is None:
            return self.net(observations)
        if self.names_layers:
            return self.net(observations, activations)
        hooks = [self._kept(name, activations) for name in self.layer_names]
        try:
            return self.net(observations)
        finally:
            for hook in hooks:
                hook.remove()

    def _kept(self, name: str, activations: dict[str, Tensor]) -> Any:
        def note(_part: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim >= 2:
                keep(activations, name, output)

        return self.layer(name).register_forward_hook(note)

    def layer(self, name: str) -> nn.Module:
        return self.net.get_submodule(name)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Builds the module anew: what torch's own layers draw comes from a seed that `generator` gives.

        A module with a `reset_parameters` of its own is given the generator too.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = self._built()
            reset = getattr(self.net, "reset_parameters", None)
            if reset is not None:
                reset(generator)

    def _built(self) -> Any:
        try:
            with prints_aside():  # also where only its weights are counted
                net = self._make()
        except USER_ERRORS as error:
            raise ConfigError(
                f"{self.reference} cannot be built without arguments: {describe_error(error, self._file())}"
            ) from error
        if not isinstance(net, nn.Module):
            raise ConfigError(f"{self.reference} is no torch.nn.Module; derive it from torch.nn.Module")
        self._check(net)
        return net

    def _check(self, net: nn.Module) -> None:
        """Raises ConfigError for a module that cannot encode, or whose weights nobody can count or draw."""
        try:
            width = getattr(net, "features", None)
        except USER_ERRORS as error:
            raise ConfigError(f"{self.reference}: features failed: {describe_error(error, self._file())}") from error
        if type(width) is not int or width < 1:
            raise ConfigError(
                f"{self.reference} must have `features`, the width of what forward returns, a whole number from 1 "
                f"(it is {'missing' if width is None else repr(width)})"
            )
        if not callable(net.forward):
            raise ConfigError(f"{self.reference}: forward must be a method, is {net.forward!r}")
        for name, part in net.named_modules():
            own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
            if any(isinstance(tensor, UninitializedParameter | UninitializedBuffer) for tensor in own):
                raise ConfigError(
                    f"{self.reference}: {name or 'it'} has weights without a shape ({type(part).__name__}); "
                    "give the layer its input width (nn.Linear, not nn.LazyLinear)"
                )

    def _file(self) -> Path:
        return Path(inspect.getfile(self._make))


def _ends_in_relu(part: nn.Module) -> bool:
    *_, last = part.modules()
    return isinstance(last, nn.ReLU)
