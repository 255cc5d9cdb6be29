"""Replay memory, and what samples from it and schedules its use."""
