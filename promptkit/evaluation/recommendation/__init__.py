"""Choosing a technique for a step: recommendations by rules, comparisons on data, and the evidence these leave."""
