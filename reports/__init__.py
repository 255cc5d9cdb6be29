"""What the results say: aggregation, claims, figures and the generated site."""
