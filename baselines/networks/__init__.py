"""Networks and what belongs to them: encoders, heads, initial weights, precision, noise, diagnostics."""
