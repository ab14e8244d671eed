"""Round numbers for the axes of figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 and their powers of ten that is no smaller."""
    power = 10.0 ** floor(log10(least))
    return next(size * power for size in (1, 2, 5, 10) if size * power >= least * (1 - 1e-9))


def round_ticks(least: float, most: float, count: int) -> list[float]:
    """Return round numbers around values, at most about `count` of them; the first and the last enclose the values."""
    span = (most - least) or abs(most) or 1.0
    step = round_step(span / max(1, count))
    first, last = floor(least / step + 1e-9), ceil(most / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return [number * step for number in range(first, last + 1)]


def tick_decimals(ticks: Sequence[float]) -> int:
    """Return the number of decimals that the numbers of ticks need."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return max(0, ceil(-log10(step) - 1e-9))
