"""How far judgements of the same things agree, beyond what chance does. All are 1 at full agreement, 0 at chance.

A number that is not defined, as where all judgements are of one class, is NaN.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def cohen_kappa(a: ArrayLike, b: ArrayLike) -> float:
    """Return Cohen's kappa of two judges (Cohen 1960, Educational and Psychological Measurement 20:37).

    `a` and `b` are (rows,) of class numbers, in the same order. It collapses where nearly all rows are of one class;
    `gwet_ac1` does not. Raises ValueError for lengths that differ.
    """
    import numpy as np

    table = _table(a, b)
    by_chance = float(np.sum(table.sum(axis=0) * table.sum(axis=1)))
    return _beyond(float(np.trace(table)), by_chance)


def gwet_ac1(a: ArrayLike, b: ArrayLike, *, classes: int | None = None) -> float:
    """Return Gwet's AC1 of two judges (Gwet 2008, British J. of Mathematical and Statistical Psychology 61:29).

    `a` and `b` are (rows,) of class numbers, in the same order; `classes` is how many there could be (left out: those
    that occur). Raises ValueError for lengths that differ and for fewer classes than occur.
    """
    import numpy as np

    table = _table(a, b)
    possible = len(table) if classes is None else classes
    if possible < len(table):
        raise ValueError(f"{len(table)} classes occur where {possible} could")
    if possible < 2:
        return nan
    shares = (table.sum(axis=0) + table.sum(axis=1)) / 2
    return _beyond(float(np.trace(table)), float(np.sum(shares * (1 - shares))) / (possible - 1))


def krippendorff_alpha(values: ArrayLike, units: ArrayLike, *, ordinal: bool = False) -> float:
    """Return Krippendorff's alpha of any number of judges (Krippendorff 2004, Content Analysis, chapter 11).

    `values` and `units` are (judgements,): what was judged, as a number, and of which unit. A judgement that is missing
    is not in them, and a unit with one judgement says nothing. Classes have no order (nominal) or, with `ordinal`, that
    of their numbers. Raises ValueError for lengths that differ.
    """
    import numpy as np

    judged, of = np.asarray(values), np.asarray(units)
    if judged.shape != of.shape or judged.ndim != 1:
        raise ValueError(f"{judged.shape} values of {of.shape} units are no judgements")
    seen, value = np.unique(judged, return_inverse=True)
    distinct, unit = np.unique(of, return_inverse=True)
    counts = np.zeros((len(distinct), len(seen)))
    np.add.at(counts, (unit, value), 1)
    sizes = counts.sum(axis=1)
    counts, sizes = counts[sizes > 1], sizes[sizes > 1]
    if not len(sizes):
        return nan
    weighted = counts / (sizes - 1)[:, None]
    coincidences = counts.T @ weighted - np.diag(weighted.sum(axis=0))
    totals = coincidences.sum(axis=0)
    distances = _ordinal_distances(totals) if ordinal else 1 - np.eye(len(seen))
    expected = float(totals @ distances @ totals)
    if not expected:
        return nan
    return 1 - (float(totals.sum()) - 1) * float(np.sum(coincidences * distances)) / expected


def _ordinal_distances(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far classes are from each other: squared, the judgements between them and half of their own."""
    import numpy as np

    ranks = np.cumsum(totals) - totals / 2
    return np.square(ranks[:, None] - ranks[None, :])


def _table(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the shares of rows that the judges put into each pair of classes, (classes, classes)."""
    import numpy as np

    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"judgements of shapes {first.shape} and {second.shape} are no pairs")
    seen, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    table = np.zeros((len(seen), len(seen)))
    np.add.at(table, (codes[: len(first)], codes[len(first) :]), 1)
    return table / max(1, len(first))


def _beyond(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else nan
