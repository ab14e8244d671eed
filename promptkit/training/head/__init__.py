"""Heads: classifiers on the vectors that a model has of a step's prompts."""
