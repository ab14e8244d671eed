"""How much each row adds to a ratio of sums over rows: what the variance of F1 or balanced accuracy is made of.

The influence of a row is how far the ratio would move with it (the delta method; Takahashi et al. 2022, Applied
Intelligence 52, for F1). Rows that depend on each other share a cluster code, and have one influence.

Labels come as codes: expected ones from 0 on, predicted ones too or -1 where an answer could not be read. A class that
is never expected has no recall: it has no part in a mean over classes, and predicting it is a wrong answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from promptkit.evaluation.statistics.interval import ordered_sum

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Sums:
    """Numerators and denominators of ratios, (units, classes). A unit is a cluster, or `Labels` says what else."""

    right: NDArray[np.float64]
    of: NDArray[np.float64]

    def influences(self, count: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the mean of the ratios, and what each unit adds to it."""
        import numpy as np

        of = count @ self.of
        ratios = count @ self.right / of
        apart = self.right - ratios * self.of
        # What is left of equal ratios is rounding, and would pass for a variance.
        apart[np.abs(apart) < ROUNDING * self.of] = 0
        return float(ratios.mean()), (apart / of).mean(axis=1)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one or two systems, as class numbers; the number of classes stands for any other label.

    Where rows are independent, those with the same labels are one unit, and `count` says how many they are; else a unit
    is a cluster. `unit`, `expected` and `predicted` are of equal length: what the units are made of.
    """

    unit: NDArray[np.int64]
    expected: NDArray[np.int64]
    predicted: tuple[NDArray[np.int64], ...]
    count: NDArray[np.float64]
    classes: int
    cells: int
    clusters: int
    rows: NDArray[np.float64]
    """How many rows of each class say as much at fewest: were the cells of a cluster all alike."""

    @property
    def all_rows(self) -> float:
        """How many rows that is for a mean over classes."""
        return self.classes**2 / float((1 / self.rows).sum())

    @property
    def one_more(self) -> float:
        """The sum over classes of the square of what one more row of it would add to a mean over classes."""
        return float((self.rows**-2).sum()) / self.classes**2

    def table(self, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of weights of each unit and class."""
        known = labels < self.classes
        places = self.unit[known] * self.classes + labels[known]
        return _totals(places, weights[known], len(self.count) * self.classes).reshape(-1, self.classes)

    def f1(self, which: int) -> Sums:
        """Return twice the true positives, and those with false positives and false negatives."""
        predicted = self.predicted[which]
        right = (self.expected == predicted).astype(float)
        of = self.table(self.expected, 1 + right) + self.table(predicted, 1 - right)
        return Sums(self.table(self.expected, 2 * right), of)

    def recall(self, which: int) -> Sums:
        """Return the right ones of each class, and how many are expected."""
        import numpy as np

        right = (self.expected == self.predicted[which]).astype(float)
        return Sums(self.table(self.expected, right), self.table(self.expected, np.ones(len(right))))

    def gains(self) -> NDArray[np.float64]:
        """Return how many more the first system has right in each unit."""
        first, second = ((self.expected == predicted).astype(float) for predicted in self.predicted)
        return _totals(self.unit, first - second, len(self.count))


def variance_of(influences: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    """Return the variance of a ratio by the influences of its clusters; 0 of a single cluster."""
    groups = float(count.sum())
    return groups / (groups - 1) * ordered_sum(count * influences**2) if groups > 1 else 0.0


def _totals(places: NDArray[np.int64], weights: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    import numpy as np

    return np.bincount(places, weights=weights, minlength=length).astype(np.float64, copy=False)


def f1_sums(
    true_positive: ArrayLike, false_positive: ArrayLike, false_negative: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the numerators and denominators of F1, one each a cell."""
    import numpy as np

    right, many, few = (np.asarray(each, dtype=np.float64) for each in (true_positive, false_positive, false_negative))
    if not right.shape == many.shape == few.shape:
        raise ValueError(f"counts of shapes {right.shape}, {many.shape} and {few.shape} are not of the same cells")
    return 2 * right, 2 * right + many + few


def clustered(right: ArrayLike, of: ArrayLike, clusters: ArrayLike, *, one: float = 1.0) -> tuple[Sums, float]:
    """Return the sums of each cluster, and how many rows say as much at fewest: were the cells of a cluster all alike.

    `one` is what one right thing counts in the wholes: 2 for F1. Raises ValueError for no cells, for what is no count,
    for a part that is more than its whole and for unlike lengths.
    """
    import numpy as np

    parts, wholes, codes = np.asarray(right, dtype=np.float64), np.asarray(of, dtype=np.float64), np.asarray(clusters)
    if not parts.shape == wholes.shape == codes.shape or parts.ndim != 1 or not len(parts):
        raise ValueError(f"sums of shapes {parts.shape} and {wholes.shape} with {codes.shape} clusters say nothing")
    if not ((parts >= 0) & (parts <= wholes) & (wholes < np.inf)).all():
        raise ValueError("a count is negative or no number, or a part is more than its whole")
    _, unit = np.unique(codes, return_inverse=True)
    groups = int(unit.max()) + 1
    sums = Sums(*(_totals(unit, each, groups)[:, None] for each in (parts, wholes)))
    alike = float((wholes**2).sum() / (sums.of**2).sum()) if wholes.any() else 1.0
    return sums, float(wholes.sum()) / one * alike


def read_labels(clusters: ArrayLike, expected: ArrayLike, *predicted: ArrayLike) -> Labels:
    """Return the labels of one or two systems on the same cells. Raises as `checked_codes` does."""
    import numpy as np

    codes, wanted, *got = checked_codes(clusters, expected, *predicted)
    classes, wanted = np.unique(wanted, return_inverse=True)
    size = len(classes)
    for place, labels in enumerate(got):
        near = np.minimum(np.searchsorted(classes, labels), size - 1)
        got[place] = np.where(classes[near] == labels, near, size)
    groups, unit = np.unique(codes, return_inverse=True)
    cells, count = len(codes), np.ones(len(groups))
    rows = np.bincount(wanted) * cells / float((np.bincount(unit).astype(np.float64) ** 2).sum())
    if len(groups) == cells:
        shape = (size, *[size + 1] * len(got))
        kinds, times = np.unique(np.ravel_multi_index((wanted, *got), shape), return_counts=True)
        wanted, *got = np.unravel_index(kinds, shape)
        unit, count = np.arange(len(kinds)), times.astype(np.float64)
    return Labels(unit, wanted, tuple(got), count, size, cells, len(groups), rows)


def checked_codes(clusters: ArrayLike, expected: ArrayLike, *predicted: ArrayLike) -> list[NDArray[np.int64]]:
    """Return the arrays as they came. Raises ValueError for no cells, for what is no code, and for unlike lengths."""
    import numpy as np

    arrays = [np.asarray(each) for each in (clusters, expected, *predicted)]
    if len({each.shape for each in arrays}) != 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        raise ValueError(f"codes of shapes {', '.join(str(each.shape) for each in arrays)} are of no cells")
    if any(each.dtype.kind not in "iu" for each in arrays):
        raise ValueError("codes of labels and clusters are whole numbers")
    if arrays[1].min() < 0 or any(each.min() < -1 for each in arrays[2:]):
        raise ValueError("codes of labels are 0 or more, or -1 where an answer could not be read")
    return arrays
