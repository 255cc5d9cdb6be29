"""The one exception for what users can put right, and how what they gave is shown in it."""

_LONGEST = 100


class ResultsError(ValueError):
    """Results that cannot be used as asked; the message is one line: what is wrong, where, what to do."""


def shown(value: object) -> str:
    """A text quoted, anything else as text: on one line, cut where it is long."""
    text = repr(value) if isinstance(value, str) else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"
