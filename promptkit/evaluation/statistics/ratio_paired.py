"""What two variants on the same rows say of the difference of F1, macro F1, balanced accuracy, precision or recall."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

from promptkit.evaluation.statistics.influences import Sums, clustered, f1_sums, read_labels, variance_of
from promptkit.evaluation.statistics.interval import Interval, Paired, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

DRAWS: Final = 9_999
ALL_SWAPS: Final = 14
"""Up to so many rows that differ all 2^m ways to swap them are tried."""
SWAPS_AT_ONCE: Final = 2_000_000
METHOD: Final = "t on influences, swapped rows"


def f1_difference(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> Paired | None:
    """Return F1 of `a` minus that of `b`, None where one of them is undefined.

    `a` and `b` are (cells, 3), how many each cell has right, too many and too few, on the same cells in the same order.
    See `ratio_difference`, which it is with these sums.
    """
    import numpy as np

    (right_a, of_a), (right_b, of_b) = (f1_sums(*np.asarray(counts).T) for counts in (a, b))
    return ratio_difference(right_a, of_a, right_b, of_b, clusters, level=level, seed=seed)


def ratio_difference(
    right_a: ArrayLike,
    of_a: ArrayLike,
    right_b: ArrayLike,
    of_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Paired | None:
    """Return the ratio of sums of `a` minus that of `b`, such as precision; None where one of them is undefined.

    All are (cells,): parts and wholes of both on the same cells, and their clusters. The interval is t on the
    differences of influences; p comes from swapping the two in clusters at random, all ways where few differ. `n`,
    `better` and `worse` count clusters, a cluster is better by what is right less what is wrong; `spread` is the
    standard deviation of what one cluster says. Raises ValueError as `f1` does.
    """
    import numpy as np

    first, fewest_a = clustered(right_a, of_a, clusters)
    second, fewest_b = clustered(right_b, of_b, clusters)
    if not (first.of.any() and second.of.any()):
        return None
    gains = (2 * (first.right - second.right) - (first.of - second.of))[:, 0]
    return _difference(first, second, np.ones(len(gains)), min(fewest_a, fewest_b), gains, level, seed)


def macro_f1_difference(
    expected: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Return macro F1 of `a` minus that of `b` on the same cells, as `ratio_difference` does; codes as for `macro_f1`.

    `better` and `worse` count clusters in which a has more right, or fewer.
    """
    labels = read_labels(clusters, expected, predicted_a, predicted_b)
    return _difference(labels.f1(0), labels.f1(1), labels.count, labels.like_rows, labels.gains(), level, seed)


def balanced_accuracy_difference(
    expected: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Return balanced accuracy of `a` minus that of `b` on the same cells; as `macro_f1_difference` otherwise."""
    labels = read_labels(clusters, expected, predicted_a, predicted_b)
    return _difference(labels.recall(0), labels.recall(1), labels.count, labels.like_rows, labels.gains(), level, seed)


def _difference(
    first: Sums,
    second: Sums,
    count: NDArray[np.float64],
    like_rows: float,
    gains: NDArray[np.float64],
    level: float,
    seed: int,
) -> Paired:
    (mean_a, of_a), (mean_b, of_b) = first.influences(count), second.influences(count)
    groups, difference = round(float(count.sum())), mean_a - mean_b
    variance = variance_of(of_a - of_b, count)
    if groups == 1:
        low, high = -1.0, 1.0
    elif variance:
        half = t_quantile(level, groups - 1) * sqrt(variance)
        low, high = difference - half, difference + half
    else:
        low, high = _of_like_rows(difference, like_rows, level)
    return Paired(
        difference=difference,
        low=max(-1.0, low),
        high=min(1.0, high),
        p=_swapped(first, second, count, abs(difference), seed),
        n=groups,
        better=round(float(count[gains > 0].sum())),
        worse=round(float(count[gains < 0].sum())),
        spread=sqrt(variance * groups),
        method=METHOD,
    )


def _of_like_rows(difference: float, rows: float, level: float) -> Interval:
    """Return the interval of this many rows that all differ by the same, with two more as `paired_graded` has them."""
    r = abs(difference) or 1.0
    centre = difference * rows / (rows + 2)
    squares = rows * (difference - centre) ** 2 + (r - centre) ** 2 + (r + centre) ** 2
    half = t_quantile(level, rows + 1) * sqrt(squares / (rows + 1) / (rows + 2))
    return Interval(min(centre - half, difference), max(centre + half, difference))


def _swapped(first: Sums, second: Sums, count: NDArray[np.float64], observed: float, seed: int) -> float:
    """Return how often a difference is as large where the two are swapped in each cluster by a coin.

    All ways where at most 14 clusters differ, else (1 + hits)/(1 + draws) of random ones (Phipson & Smyth 2010). A way
    in which a ratio is undefined is a hit.
    """
    import numpy as np

    moves = np.hstack([second.right - first.right, second.of - first.of])
    differ = moves.any(axis=1)
    if not differ.any():
        return 1.0
    kinds, places = np.unique(moves[differ], axis=0, return_inverse=True)
    times = np.bincount(places, weights=count[differ]).astype(np.int64)
    totals = [count @ part for part in (first.right, first.of, second.right, second.of)]

    def hits(swapped: NDArray[np.int64], kinds: NDArray[np.float64]) -> int:
        right, of = np.hsplit(swapped @ kinds, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = ((totals[0] + right) / (totals[1] + of) - (totals[2] - right) / (totals[3] - of)).mean(axis=1)
        # Differences that are equal but for rounding are hits.
        return int(np.sum(~(np.abs(apart) < observed - 1e-12)))

    if (many := int(times.sum())) <= ALL_SWAPS:
        ways = np.arange(2**many)[:, None] >> np.arange(many) & 1
        return hits(ways, np.repeat(kinds, times, axis=0)) / len(ways)
    generator = np.random.default_rng(seed)
    at_once, found = max(1, SWAPS_AT_ONCE // len(times)), 0
    for start in range(0, DRAWS, at_once):
        shape = (min(at_once, DRAWS - start), len(times))
        found += hits(generator.binomial(times, 0.5, shape), kinds)
    return (1 + found) / (1 + DRAWS)
