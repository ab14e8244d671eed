"""What one variant's rows say of F1, macro F1, balanced accuracy, and of precision and recall of a class.

These are ratios of sums over rows, no means of scores. Their interval is of Wilson's form, with the effective number of
rows that has the variance of the influences (see `influences`, also for what labels' codes are).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from promptkit.evaluation.statistics.influences import (
    Labels,
    Sums,
    checked_codes,
    clustered,
    f1_sums,
    read_labels,
    variance_of,
)
from promptkit.evaluation.statistics.interval import Mean, bounded_mean, score_interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class ClassScores(NamedTuple):
    """What is said of one class. `precision` is None where it is never predicted, `recall` where never expected.

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
    level: float = 0.95,
) -> Mean | None:
    """Return F1 of one class, or micro F1 over sets of labels, with an interval. None where nothing is to be found.

    All are (cells,): how many a cell has right, too many and too few, and its cluster. `effective` is half the number
    of what is expected and predicted where the variance is none. (With one label a row micro F1 is accuracy.) Raises
    ValueError for no cells, for what is no count, and for unlike lengths.
    """
    import numpy as np

    sums, fewest = clustered(*f1_sums(true_positive, false_positive, false_negative), clusters, one=2)
    if not sums.of.any():
        return None
    groups = len(sums.of)
    count = np.ones(groups)
    mean, influences = sums.influences(count)
    variance = variance_of(influences, count)
    effective = mean * (1 - mean) / variance if variance and 0 < mean < 1 else fewest
    interval = score_interval(mean, effective, t_quantile(level, groups - 1))
    return Mean(mean, *interval, np.size(true_positive), groups, effective)


def macro_f1(expected: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> Mean:
    """Return the mean of F1 over the classes that are expected, with an interval.

    All are (cells,), labels as codes. Where a class has few rows it covers less than it says, 84 to 96 of 100 for 95 at
    five: say so below ten. Raises ValueError for no cells, for what is no code, and for unlike lengths.
    """
    labels = read_labels(clusters, expected, predicted)
    return _over_classes(labels, labels.f1(0), level)


def balanced_accuracy(expected: ArrayLike, predicted: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> Mean:
    """Return the mean of recall over the classes that are expected, with an interval; as `macro_f1` otherwise."""
    labels = read_labels(clusters, expected, predicted)
    return _over_classes(labels, labels.recall(0), level)


def precision_recall(
    expected: ArrayLike, predicted: ArrayLike, code: int, clusters: ArrayLike, *, level: float = 0.95
) -> ClassScores:
    """Return precision, recall and F1 of the class `code`; Wilson's interval for the first two where rows are
    independent, its form with an effective number else. Takes and raises what `macro_f1` does.
    """
    codes, wanted, got = checked_codes(clusters, expected, predicted)
    is_wanted, is_got = wanted == code, got == code
    right = is_wanted & is_got

    def share(among: NDArray[np.bool_]) -> Mean | None:
        return bounded_mean(right[among], codes[among], binary=True, level=level) if among.any() else None

    both = f1(right, is_got & ~is_wanted, is_wanted & ~is_got, codes, level=level)
    return ClassScores(share(is_got), share(is_wanted), both)


def _over_classes(labels: Labels, sums: Sums, level: float) -> Mean:
    """Return a mean over classes with an interval.

    It has one more row of the largest variance in each class: one in all leaves out the class of few rows, and covers
    72 to 84 of 100 for 95 where a class has three to five.
    """
    mean, influences = sums.influences(labels.count)
    mean = min(1.0, mean)
    variance, largest, groups = variance_of(influences, labels.count), mean * (1 - mean), labels.clusters
    effective = labels.all_rows
    if variance and largest:
        effective = largest / (variance * (groups - 1) / groups + largest * labels.one_more)
    return Mean(mean, *score_interval(mean, effective, t_quantile(level, groups - 1)), labels.cells, groups, effective)
