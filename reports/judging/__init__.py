"""What the results say of each claim, and of each baseline."""
