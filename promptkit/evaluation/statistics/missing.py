"""What can still be said where cells are missing, because a server or a tool failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.evaluation.statistics.interval import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def missing_bounds(mean: float, missing: float) -> Interval:
    """Return between which means of all cells lie, whatever the missing ones would score in [0, 1].

    `mean` is that of the cells that are there, `missing` the share that is not (Manski 1989, Journal of Human Resources
    24:343). Raises ValueError for a share that is none.
    """
    if not 0 <= missing <= 1:
        raise ValueError(f"{missing} is no share")
    there = mean * (1 - missing)
    return Interval(there, there + missing)


def against(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return paired scores in [0, 1] with each missing one (NaN) counted against `a`: 0 in `a`, 1 in `b`.

    What is shown of `a` against `b` with these is shown whatever the missing ones would score.
    """
    import numpy as np

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.where(np.isnan(first), 0.0, first), np.where(np.isnan(second), 1.0, second)
