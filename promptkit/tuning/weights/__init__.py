"""Weights as choices of a tuning: heads and adapters, trained on search rows for the prompt that the search chose."""
