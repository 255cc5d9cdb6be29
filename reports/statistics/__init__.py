"""Aggregates over runs and games, with their intervals."""
