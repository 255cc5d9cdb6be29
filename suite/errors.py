"""The one exception for a user's mistake; the command line prints it as one line and exits with 2."""


class UserError(ValueError):
    """What was wrong, what is allowed, what to do: one line, no traceback."""
