"""What a run's processor is called, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def processor(hardware: Mapping[str, Any]) -> str:
    """The processor with its vector instructions: two kinds can have one name ("AMD EPYC"), and not one speed.

    Args:
        hardware: of a manifest. Those of older versions name no instructions.
    """
    instructions = hardware.get("instructions")
    return f"{hardware.get('cpu')} ({instructions})" if instructions else str(hardware.get("cpu"))
