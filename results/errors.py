"""The one exception for what users can put right."""


class ResultsError(ValueError):
    """Results that cannot be used as asked; the message is one line: what is wrong, where, what to do."""
