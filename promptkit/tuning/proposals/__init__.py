"""Wording proposed by a model: proposer, reflection prompt, failures shown, checks, crossover."""
