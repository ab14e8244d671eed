"""Metrics: one class for each kind, found by the word that a suite names it by (`registry`)."""
