"""Baselines with other values than are pinned, to be taken for the pinned ones."""

import dataclasses

from baselines.registry import load_pinned


def shrunk(name, values):
    """The baseline of that name with these values."""
    pinned = load_pinned(name)
    config = dataclasses.replace(pinned.config, **values)
    return dataclasses.replace(pinned, config=config, values={**pinned.values, **values})
