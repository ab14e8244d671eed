"""Ratios of sums over rows (F1, macro F1, balanced accuracy, precision, recall): intervals and paired differences.

Their variance comes from influences, the influence of a row being how far the ratio would move with it (the delta
method; Takahashi et al. 2022, Applied Intelligence 52, for F1). Intervals are of Wilson's form, with the effective
number of rows that has that variance. Rows that depend on each other share a cluster code and have one influence.

Labels come as codes, expected ones from 0 on, predicted ones too or -1 where an answer could not be read. A class that
is never expected has no recall, so it has no part in a mean over classes; predicting it is a wrong answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.evaluation.statistics.interval import (
    CONFIDENCE,
    Mean,
    Paired,
    bounded_mean,
    ordered_sum,
    score_interval,
    t_quantile,
)

ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class RatioSums:
    """Numerators and denominators of ratios, (units, classes). A unit is a cluster or a unit of `LabelCodes`."""

    right: NDArray[np.float64]
    of: NDArray[np.float64]

    def influences(self, count: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the mean of the ratios, and the influence of each unit on it."""
        of = count @ self.of
        ratios = count @ self.right / of
        apart = self.right - ratios * self.of
        # The rest of equal ratios is rounding, which would pass for a variance.
        apart[np.abs(apart) < ROUNDING * self.of] = 0
        return float(ratios.mean()), (apart / of).mean(axis=1)


@dataclass(frozen=True, slots=True)
class LabelCodes:
    """Labels of one or two systems as class numbers, where the number of classes stands for any other label.

    Independent rows with the same labels are one unit, of which `count` is the size; otherwise a unit is a cluster.
    `unit`, `expected` and `predicted` are of equal length and describe the members of units.
    """

    unit: NDArray[np.int64]
    expected: NDArray[np.int64]
    predicted: tuple[NDArray[np.int64], ...]
    count: NDArray[np.float64]
    classes: int
    cells: int
    clusters: int
    rows: NDArray[np.float64]
    """The least effective rows of each class: those if the cells of a cluster were all equal."""

    @property
    def all_rows(self) -> float:
        """The least effective rows of a mean over classes."""
        return self.classes**2 / float((1 / self.rows).sum())

    @property
    def one_more(self) -> float:
        """The sum over classes of the squared influence of one more row of the class on a mean over classes."""
        return float((self.rows**-2).sum()) / self.classes**2

    def table(self, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of weights of each unit and class."""
        known = labels < self.classes
        places = self.unit[known] * self.classes + labels[known]
        return _totals(places, weights[known], len(self.count) * self.classes).reshape(-1, self.classes)

    def f1(self, which: int) -> RatioSums:
        """Return twice the true positives, and the same plus false positives and false negatives."""
        predicted = self.predicted[which]
        right = (self.expected == predicted).astype(float)
        of = self.table(self.expected, 1 + right) + self.table(predicted, 1 - right)
        return RatioSums(self.table(self.expected, 2 * right), of)

    def recall(self, which: int) -> RatioSums:
        """Return the numbers of right and of expected labels of each class."""
        right = (self.expected == self.predicted[which]).astype(float)
        return RatioSums(self.table(self.expected, right), self.table(self.expected, np.ones(len(right))))

    def gains(self) -> NDArray[np.float64]:
        """Return the number of labels that the first system has right beyond the second's, in each unit."""
        first, second = ((self.expected == predicted).astype(float) for predicted in self.predicted)
        return _totals(self.unit, first - second, len(self.count))


def variance_of(influences: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    """Return the variance of a ratio from the influences of its clusters; 0 for a single cluster."""
    groups = float(count.sum())
    return groups / (groups - 1) * ordered_sum(count * influences**2) if groups > 1 else 0.0


def _totals(places: NDArray[np.int64], weights: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.bincount(places, weights=weights, minlength=length).astype(np.float64, copy=False)


def f1_sums(
    true_positive: ArrayLike, false_positive: ArrayLike, false_negative: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the numerators and denominators of F1, one of each for every cell."""
    right, many, few = (
        np.asarray(counts, dtype=np.float64) for counts in (true_positive, false_positive, false_negative)
    )
    if not right.shape == many.shape == few.shape:
        raise ValueError(f"counts of shapes {right.shape}, {many.shape} and {few.shape} are not of the same cells")
    return 2 * right, 2 * right + many + few


def cluster_ratios(
    right: ArrayLike, of: ArrayLike, clusters: ArrayLike, *, one: float = 1.0
) -> tuple[RatioSums, float]:
    """Return the sums of each cluster, and the least effective rows: those if the cells of a cluster were all equal.

    `one` is the weight of one right answer in the denominators: 2 for F1. Raises ValueError for no cells, for numbers
    that are not counts, for a part above its whole and for different lengths.
    """
    parts, wholes, codes = np.asarray(right, dtype=np.float64), np.asarray(of, dtype=np.float64), np.asarray(clusters)
    if not parts.shape == wholes.shape == codes.shape or parts.ndim != 1 or not len(parts):
        raise ValueError(f"sums of shapes {parts.shape} and {wholes.shape} with {codes.shape} clusters say nothing")
    if not ((parts >= 0) & (parts <= wholes) & (wholes < np.inf)).all():
        raise ValueError("a count is negative or not a number, or a part is more than its whole")
    _, unit = np.unique(codes, return_inverse=True)
    groups = int(unit.max()) + 1
    sums = RatioSums(*(_totals(unit, values, groups)[:, None] for values in (parts, wholes)))
    alike = float((wholes**2).sum() / (sums.of**2).sum()) if wholes.any() else 1.0
    return sums, float(wholes.sum()) / one * alike


def read_labels(clusters: ArrayLike, expected: ArrayLike, *predicted: ArrayLike) -> LabelCodes:
    """Return the labels of one or two systems on the same cells. Raises as `checked_codes` does."""
    codes, expected_codes, *got = checked_codes(clusters, expected, *predicted)
    classes, expected_codes = np.unique(expected_codes, return_inverse=True)
    size = len(classes)
    for place, labels in enumerate(got):
        near = np.minimum(np.searchsorted(classes, labels), size - 1)
        got[place] = np.where(classes[near] == labels, near, size)
    groups, unit = np.unique(codes, return_inverse=True)
    cells, count = len(codes), np.ones(len(groups))
    rows = np.bincount(expected_codes) * cells / float((np.bincount(unit).astype(np.float64) ** 2).sum())
    if len(groups) == cells:
        shape = (size, *[size + 1] * len(got))
        kinds, times = np.unique(np.ravel_multi_index((expected_codes, *got), shape), return_counts=True)
        expected_codes, *got = np.unravel_index(kinds, shape)
        unit, count = np.arange(len(kinds)), times.astype(np.float64)
    return LabelCodes(unit, expected_codes, tuple(got), count, size, cells, len(groups), rows)


def checked_codes(clusters: ArrayLike, expected: ArrayLike, *predicted: ArrayLike) -> list[NDArray[np.int64]]:
    """Return the arguments as arrays. Raises ValueError for no cells, numbers that are not codes, and different
    lengths.
    """
    arrays = [np.asarray(codes) for codes in (clusters, expected, *predicted)]
    if len({codes.shape for codes in arrays}) != 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        raise ValueError(f"codes of shapes {', '.join(str(codes.shape) for codes in arrays)} are not of the same cells")
    if any(codes.dtype.kind not in "iu" for codes in arrays):
        raise ValueError("codes of labels and clusters are whole numbers")
    if arrays[1].min() < 0 or any(codes.min() < -1 for codes in arrays[2:]):
        raise ValueError("codes of labels are 0 or more, or -1 where an answer could not be read")
    return arrays


class ClassScores(NamedTuple):
    """The scores of one class. `precision` is None where it is never predicted, `recall` where it is never expected.

    `f1` is None where it is neither.
    """

    precision: Mean | None
    recall: Mean | None
    f1: Mean | None


def f1(
    true_positive: ArrayLike,
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = CONFIDENCE,
) -> Mean | None:
    """Return F1 of one class, or micro F1 over sets of labels, with an interval; None where nothing is expected or
    found.

    All are (cells,): the counts of true positives, false positives and false negatives of a cell, and its cluster.
    `effective` is half the number of expected and predicted labels where the variance is 0. (With one label a row micro
    F1 is accuracy.) Raises ValueError for no cells, for numbers that are not counts, and for different lengths.
    """
    sums, fewest = cluster_ratios(*f1_sums(true_positive, false_positive, false_negative), clusters, one=2)
    if not sums.of.any():
        return None
    groups = len(sums.of)
    count = np.ones(groups)
    mean, influences = sums.influences(count)
    variance = variance_of(influences, count)
    effective = mean * (1 - mean) / variance if variance and 0 < mean < 1 else fewest
    interval = score_interval(mean, effective, t_quantile(level, groups - 1))
    return Mean(mean, *interval, np.size(true_positive), groups, effective)


def macro_f1(expected: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, *, level: float = CONFIDENCE) -> Mean:
    """Return the mean of F1 over the classes that are expected, with an interval.

    All are (cells,), labels as codes. Where a class has few rows it covers less than its level, 84 to 96 % at 95 % for
    five rows: report it below ten. Raises ValueError for no cells, numbers that are not codes, and different lengths.
    """
    labels = read_labels(clusters, expected, predicted)
    return _over_classes(labels, labels.f1(0), level)


def balanced_accuracy(
    expected: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, *, level: float = CONFIDENCE
) -> Mean:
    """Return the mean of recall over the classes that are expected, with an interval; else like `macro_f1`."""
    labels = read_labels(clusters, expected, predicted)
    return _over_classes(labels, labels.recall(0), level)


def precision_recall(
    expected: ArrayLike, predicted: ArrayLike, code: int, clusters: ArrayLike, *, level: float = CONFIDENCE
) -> ClassScores:
    """Return precision, recall and F1 of the class `code`.

    The first two have Wilson's interval where rows are independent, else its form with an effective number of rows.
    Takes and raises what `macro_f1` does.
    """
    codes, expected_codes, predicted_codes = checked_codes(clusters, expected, predicted)
    is_expected, is_predicted = expected_codes == code, predicted_codes == code
    right = is_expected & is_predicted

    def share(among: NDArray[np.bool_]) -> Mean | None:
        return bounded_mean(right[among], codes[among], binary=True, level=level) if among.any() else None

    both = f1(right, is_predicted & ~is_expected, is_expected & ~is_predicted, codes, level=level)
    return ClassScores(share(is_predicted), share(is_expected), both)


def _over_classes(labels: LabelCodes, sums: RatioSums, level: float) -> Mean:
    """Return a mean over classes with an interval.

    One more row of the largest variance is added to each class. A single one would ignore a class of few rows and cover
    72 to 84 % at 95 % where a class has three to five.
    """
    mean, influences = sums.influences(labels.count)
    mean = min(1.0, mean)
    variance, largest, groups = variance_of(influences, labels.count), mean * (1 - mean), labels.clusters
    effective = labels.all_rows
    if variance and largest:
        effective = largest / (variance * (groups - 1) / groups + largest * labels.one_more)
    return Mean(mean, *score_interval(mean, effective, t_quantile(level, groups - 1)), labels.cells, groups, effective)


SWAP_DRAWS: Final = 9_999
ALL_SWAPS: Final = 14
"""Up to this many differing rows all 2^m ways to swap them are tried."""
SWAPS_AT_ONCE: Final = 2_000_000
METHOD: Final = "t on influences with a pseudo-row a class, swapped rows"


def f1_difference(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, *, level: float = CONFIDENCE, seed: int = 0
) -> Paired | None:
    """Return F1 of `a` minus that of `b`, None where one of them is undefined.

    `a` and `b` are (cells, 3): true positives, false positives and false negatives, on the same cells in the same
    order. For the rest see `ratio_difference`.
    """
    first, second = (f1_sums(*np.asarray(counts).T) for counts in (a, b))
    return _of_sums(first, second, clusters, 2.0, level, seed)


def ratio_difference(
    right_a: ArrayLike,
    of_a: ArrayLike,
    right_b: ArrayLike,
    of_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Paired | None:
    """Return the ratio of sums of `a` minus that of `b`, such as precision; None where one of them is undefined.

    All are (cells,): the part and the whole of each cell, for both on the same cells, and the clusters. The interval is
    t on the differences of influences, with one more row that differs as those that do. p comes from swapping the two
    in clusters at random, or in all ways where few differ. `n`, `better` and `worse` count clusters; in a better one
    the first has more right after its errors are subtracted. `spread` is the standard deviation of a single cluster.
    Raises ValueError as `f1` does.
    """
    return _of_sums((right_a, of_a), (right_b, of_b), clusters, 1.0, level, seed)


def macro_f1_difference(
    expected: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Paired:
    """Return macro F1 of `a` minus that of `b` on the same cells, like `ratio_difference`; codes as for `macro_f1`.

    `better` and `worse` count clusters in which a has more right, or fewer.
    """
    labels = read_labels(clusters, expected, predicted_a, predicted_b)
    return _of_labels(labels, labels.f1(0), labels.f1(1)).compared(level, seed)


def balanced_accuracy_difference(
    expected: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Paired:
    """Return balanced accuracy of `a` minus that of `b` on the same cells; else like `macro_f1_difference`."""
    labels = read_labels(clusters, expected, predicted_a, predicted_b)
    return _of_labels(labels, labels.recall(0), labels.recall(1)).compared(level, seed)


def _of_sums(
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    clusters: ArrayLike,
    one: float,
    level: float,
    seed: int,
) -> Paired | None:

    first, rows_a = cluster_ratios(*a, clusters, one=one)
    second, rows_b = cluster_ratios(*b, clusters, one=one)
    if not (first.of.any() and second.of.any()):
        return None
    both = (first.of + second.of)[:, 0]
    gains = 2 * (first.right - second.right) - (first.of - second.of)
    one_more = (2 / (rows_a + rows_b)) ** 2
    pair = _PairedRatios(first, second, np.ones(len(both)), both / both.sum(), one_more, gains[:, 0])
    return pair.compared(level, seed)


def _of_labels(labels: LabelCodes, first: RatioSums, second: RatioSums) -> _PairedRatios:
    expected = labels.recall(0).of
    share = (expected / (labels.count @ expected)).mean(axis=1)
    return _PairedRatios(first, second, labels.count, share, labels.one_more, labels.gains())


@dataclass(frozen=True, slots=True)
class _PairedRatios:
    """Two systems on the same units. `share` is how far a unit could move a ratio between all wrong and all right.

    `one_more` is the sum over classes of the squares of what one more row could move.
    """

    first: RatioSums
    second: RatioSums
    count: NDArray[np.float64]
    share: NDArray[np.float64]
    one_more: float
    gains: NDArray[np.float64]

    def compared(self, level: float, seed: int) -> Paired:
        (mean_a, of_a), (mean_b, of_b) = (sums.influences(self.count) for sums in (self.first, self.second))
        groups, difference = round(float(self.count.sum())), mean_a - mean_b
        low, high, spread = -1.0, 1.0, 0.0
        if groups > 1:
            variance = self._variance(of_a - of_b, groups)
            half, spread = t_quantile(level, groups - 1) * sqrt(variance), sqrt(variance * groups)
            low, high = max(low, difference - half), min(high, difference + half)
        return Paired(
            difference=difference,
            low=low,
            high=high,
            p=_swapped(self.first, self.second, self.count, abs(difference), seed),
            n=groups,
            better=round(float(self.count[self.gains > 0].sum())),
            worse=round(float(self.count[self.gains < 0].sum())),
            spread=spread,
            method=METHOD,
        )

    def _variance(self, influences: NDArray[np.float64], groups: int) -> float:
        """Return the variance of the difference with one more row in each class that differs as those that do.

        Without it the interval collapses where few rows differ: it covers 50 to 60 % at 95 % with 30 rows.
        """
        differ = abs(influences) > ROUNDING * self.share
        influences, moved = influences * differ, 1.0
        if differ.any():
            count = self.count[differ]
            moved = ordered_sum(count * (influences[differ] / self.share[differ]) ** 2) / float(count.sum())
        return variance_of(influences, self.count) * (groups - 1) / groups + moved * self.one_more


def _swapped(first: RatioSums, second: RatioSums, count: NDArray[np.float64], observed: float, seed: int) -> float:
    """Return the share of swaps, by a coin toss in each cluster, whose difference is as large as the one seen.

    All ways where at most 14 clusters differ, else (1 + hits)/(1 + draws) of random ones (Phipson & Smyth 2010). A way
    in which a ratio is undefined is a hit.
    """
    moves = np.hstack([second.right - first.right, second.of - first.of])
    differ = moves.any(axis=1)
    if not differ.any():
        return 1.0
    order = np.flatnonzero(differ)[np.lexsort(moves[differ].T)]
    starts = np.flatnonzero(np.concatenate(([True], (moves[order[1:]] != moves[order[:-1]]).any(axis=1))))
    kinds, times = moves[order[starts]], np.add.reduceat(count[order].astype(np.int64), starts)
    totals = [count @ part for part in (first.right, first.of, second.right, second.of)]

    def hits(swapped: NDArray[np.int64], kinds: NDArray[np.float64]) -> int:
        right, of = np.hsplit(swapped @ kinds, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = ((totals[0] + right) / (totals[1] + of) - (totals[2] - right) / (totals[3] - of)).mean(axis=1)
        # Differences that are equal up to rounding count as hits.
        return int(np.sum(~(np.abs(apart) < observed - 1e-12)))

    if (many := int(times.sum())) <= ALL_SWAPS:
        ways = np.arange(2**many)[:, None] >> np.arange(many) & 1
        return hits(ways, np.repeat(kinds, times, axis=0)) / len(ways)
    generator = np.random.default_rng(seed)
    at_once, found = max(1, SWAPS_AT_ONCE // len(times)), 0
    for start in range(0, SWAP_DRAWS, at_once):
        shape = (min(at_once, SWAP_DRAWS - start), len(times))
        found += hits(generator.binomial(times, 0.5, shape), kinds)
    return (1 + found) / (1 + SWAP_DRAWS)
