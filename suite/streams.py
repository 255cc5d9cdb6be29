"""Standard streams as the user's shell gave them: closed, full, or unable to show every character."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

_PLAIN = {"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2026": "...", "\u2265": ">=", "\u2264": "<="}
_ERRORS = "suite-plain"


def prepare() -> None:
    """Call first: opens closed streams on nothing, and has characters that a stream cannot show written plainly."""
    codecs.register_error(_ERRORS, _in_plain_characters)
    # In the order of their numbers: an absent stream would give its number to the next file that is opened.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def abandon_stdout() -> None:
    """Sends to nothing what stdout still holds and what is yet to be printed."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character) or _ascii(character) for character in text), error.end


def _ascii(character: str) -> str:
    """The letter below an accent; '?' for what has none."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii") or "?"
