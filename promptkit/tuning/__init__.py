"""Tuning: a better pipeline for a stated budget, confirmed on rows that the search never saw."""
