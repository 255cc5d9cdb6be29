"""What was measured: the files a run leaves, the store that reads and writes them, published reference data."""
