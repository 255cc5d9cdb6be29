"""What goes wrong in a report through a user's own input."""


class ReportsError(ValueError):
    """A claims file, a claim's name or an output folder that cannot be used; the message is one line."""
