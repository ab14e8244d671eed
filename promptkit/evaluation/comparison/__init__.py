"""Comparison of a run with another run, or with a baseline file."""
