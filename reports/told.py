"""Whom a report tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, int, int], None]  # what is being done, how many of it are done, of how many


def nobody(_words: str, _done: int, _total: int) -> None:
    """Tells nobody."""
