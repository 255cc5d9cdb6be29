"""Fast paths: other implementations of the same arithmetic."""
