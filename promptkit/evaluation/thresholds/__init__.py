"""Thresholds: conditions that a suite puts on its metrics."""
