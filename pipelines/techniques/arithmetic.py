"""What the pipelines of this folder compute."""

from __future__ import annotations


def years_between(first: int, last: int) -> int:
    """Return how many years lie between two years."""
    return int(last) - int(first)
