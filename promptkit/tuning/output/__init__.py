"""The files that a tuning run writes."""
