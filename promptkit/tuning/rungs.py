"""What a race costs from a row on: what its candidates ask, and how far a budget reaches if the field keeps halving."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

CostOfBest = Callable[[int, int, int], float]
"""What so many of the best cost from one row to another."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Calls a row of each candidate, and how many rows of the order each has seen already."""

    costs: Sequence[float]
    known: Sequence[int]

    def of(self, candidates: Sequence[int], start: int, stop: int) -> float:
        """Return what it costs that candidates who have seen `start` rows see `stop`."""
        return sum(self.costs[each] * max(0, stop - max(start, self.known[each])) for each in candidates)


def going_on(cost: CostOfBest, alive: int, seen: int, rows: int) -> float:
    """Return what it costs to go on from a row, with the field halved and the rows doubled until one is left."""
    total = 0.0
    while seen < rows and alive > 1:
        until = min(rows, 2 * seen)
        total += cost(alive, seen, until)
        seen, alive = until, ceil(alive / 2)
    return total


def first_rung(prices: Prices, alive: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return the largest row to which all can go so that the race can still go on from there with half of them.

    Who will be left is not known before it, so a half costs half of all. It is `seen` where nothing can be paid.
    """

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(alive, start, stop) * count / len(alive)

    def needed(rung: int) -> float:
        return cost(len(alive), seen, rung) + going_on(cost, ceil(len(alive) / 2), rung, rows)

    # The cost grows with the rung: a further row for all costs more than it saves of a later doubling.
    return seen + bisect_right(range(seen + 1, rows + 1), budget, key=needed)


def survivors(prices: Prices, ranked: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return how many of the best can go on from a rung within the budget; fewer than 2 where a race cannot."""

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(ranked[:count], start, stop)

    return next((s for s in range(len(ranked), 1, -1) if going_on(cost, s, seen, rows) <= budget), 1)
