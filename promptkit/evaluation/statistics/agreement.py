"""Agreement between raters, and the validity of an LLM judge: position bias and agreement with labels.

Coefficients of agreement are 1 at full agreement and 0 at chance. Where one is not defined, as with judgements of one
class only, it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isnan, nan
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.evaluation.statistics.bootstrap import RESAMPLES, percentile_interval
from promptkit.evaluation.statistics.interval import CONFIDENCE, Mean, normal_quantile, wilson
from promptkit.evaluation.statistics.paired import mid_p

LEAST_PAIRS: Final = 10
"""The fewest rows of which a rank correlation is given: of two it is always 1 or −1."""


def cohen_kappa(a: ArrayLike, b: ArrayLike) -> float:
    """Return Cohen's kappa of two raters (Cohen 1960, Educational and Psychological Measurement 20:37).

    `a` and `b` are (rows,) of class numbers, in the same order. It collapses where nearly all rows are of one class;
    `gwet_ac1` does not. Raises ValueError for different lengths.
    """
    table = _confusion_shares(a, b)
    by_chance = float(np.sum(table.sum(axis=0) * table.sum(axis=1)))
    return _chance_corrected(float(np.trace(table)), by_chance)


def gwet_ac1(a: ArrayLike, b: ArrayLike, *, classes: int | None = None) -> float:
    """Return Gwet's AC1 of two raters (Gwet 2008, British J. of Mathematical and Statistical Psychology 61:29).

    `a` and `b` are (rows,) of class numbers, in the same order; `classes` is how many are possible (by default as
    many as occur). Raises ValueError for different lengths and for fewer classes than occur.
    """
    table = _confusion_shares(a, b)
    possible = len(table) if classes is None else classes
    if possible < len(table):
        raise ValueError(f"{len(table)} classes occur where {possible} could")
    if possible < 2:
        return nan
    shares = (table.sum(axis=0) + table.sum(axis=1)) / 2
    return _chance_corrected(float(np.trace(table)), float(np.sum(shares * (1 - shares))) / (possible - 1))


def krippendorff_alpha(values: ArrayLike, units: ArrayLike, *, ordinal: bool = False) -> float:
    """Return Krippendorff's alpha of any number of raters (Krippendorff 2004, Content Analysis, chapter 11).

    `values` and `units` are (ratings,): the rating as a number, and the rated unit. Missing ratings are left out, and a
    unit with one rating does not count. Classes have no order (nominal) or, with `ordinal`, that of their numbers.
    Raises ValueError for different lengths.
    """
    judged, of = np.asarray(values), np.asarray(units)
    if judged.shape != of.shape or judged.ndim != 1:
        raise ValueError(f"{judged.shape} values of {of.shape} units are not ratings")
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


def alpha_with_interval(
    ratings: NDArray[np.float64], *, ordinal: bool = False, draws: int = RESAMPLES
) -> tuple[float, float, float]:
    """Return Krippendorff's alpha with its percentile interval from `draws` resamples of units; NaN if not defined.

    `ratings` is (units, raters), NaN where a rater did not rate. Raises ValueError where no resample has an alpha.
    """

    def alpha(chosen: NDArray[np.int64]) -> float:
        drawn = ratings[chosen]
        units = np.repeat(np.arange(len(chosen)), drawn.shape[1])
        known = ~np.isnan(drawn.ravel())
        return krippendorff_alpha(drawn.ravel()[known], units[known], ordinal=ordinal)

    value = alpha(np.arange(len(ratings)))
    if isnan(value):
        return nan, nan, nan
    interval = percentile_interval(alpha, len(ratings), draws=draws)
    return value, interval.low, interval.high


def _ordinal_distances(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distances of classes: the ratings between two classes and half of those in them."""
    ranks = np.cumsum(totals) - totals / 2
    return np.square(ranks[:, None] - ranks[None, :])


def _confusion_shares(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the shares of rows that the raters put into each pair of classes, (classes, classes)."""
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"ratings of shapes {first.shape} and {second.shape} are not pairs")
    seen, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    table = np.zeros((len(seen), len(seen)))
    np.add.at(table, (codes[: len(first)], codes[len(first) :]), 1)
    return table / max(1, len(first))


def _chance_corrected(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else nan


SKEWED: Final = 0.8
"""Above this share of one class kappa collapses, and AC1 takes its place."""


class OrderCounts(NamedTuple):
    """The verdicts of a pairwise judge on `n` rows, each shown in both orders.

    `wins` and `losses` count rows that A or B won in both orders; the rest are ties. `first` and `last` count rows
    where the answer shown first, or last, won in both; `same` counts rows with the same verdict in both, `neither`
    included.
    """

    wins: int
    losses: int
    first: int
    last: int
    same: int
    n: int


def both_orders(a_first: ArrayLike, b_first: ArrayLike) -> OrderCounts:
    """Return the counts of verdicts in both orders: (rows,) each, 1 where A won, -1 where B did, 0 for neither.

    `a_first` has the verdicts with A shown first. Raises ValueError for different lengths and for other verdicts.
    """
    one, other = np.asarray(a_first), np.asarray(b_first)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"verdicts of shapes {one.shape} and {other.shape} are not pairs")
    if not np.isin(np.concatenate([one, other]), (-1, 0, 1)).all():
        raise ValueError("a verdict is 1, -1 or 0")
    return OrderCounts(
        wins=int(np.sum((one == 1) & (other == 1))),
        losses=int(np.sum((one == -1) & (other == -1))),
        first=int(np.sum((one == 1) & (other == -1))),
        last=int(np.sum((one == -1) & (other == 1))),
        same=int(np.sum(one == other)),
        n=len(one),
    )


class PositionBias(NamedTuple):
    """A bias from -1 (the last answer always wins) to 1 (the first does), 0 for none, with the p of no bias."""

    bias: float
    p: float


def position_bias(first: int, last: int) -> PositionBias:
    """Return a judge's position bias, from the rows where the answer shown first, or last, won in both orders.

    p is the two-sided mid-p of `first` against Bin(first + last, ½). Without such rows the bias is 0. Raises ValueError
    for negative counts.
    """
    p = mid_p(first, last)
    return PositionBias((first - last) / (first + last) if first + last else 0.0, p)


def consistency(same: int, n: int, *, level: float = CONFIDENCE) -> Mean:
    """Return the share of `n` rows with the same verdict in both orders, with Wilson's interval; NaN without rows.

    Raises ValueError for impossible counts.
    """
    return _share(same, n, level)


def _share(count: int, n: int, level: float) -> Mean:
    low, high = wilson(count, n, z=normal_quantile(level))
    return Mean(count / n if n else nan, low, high, n, n, float(n))


class LabelAgreement(NamedTuple):
    """A judge's agreement with labels: `raw` is the share of equal ones, `value` is beyond chance, with its interval.

    `value` and its interval are NaN where all are of one class and the method is undefined.
    """

    raw: Mean
    method: str
    value: float
    low: float
    high: float


def agreement_with_labels(
    judged: ArrayLike,
    labels: ArrayLike,
    *,
    ordinal: bool = False,
    classes: int | None = None,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> LabelAgreement:
    """Return a judge's agreement with labels of the same rows, both (rows,) of class numbers.

    The coefficient beyond chance is Cohen's kappa; Gwet's AC1 where one class has over 80 % of the labels, since kappa
    collapses there; Krippendorff's alpha where classes are `ordinal`. Its interval is from 2,000 bootstrap samples of
    rows. `classes` is how many classes are possible (for AC1). Use at least 50 labelled rows, better 100. Raises
    ValueError for different lengths and for no rows.
    """
    ours, theirs = np.asarray(judged), np.asarray(labels)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise ValueError(f"judgements of shape {ours.shape} and labels of shape {theirs.shape} are not pairs")
    # The bootstrap draws rows by position: sorting makes it independent of their order.
    order = np.lexsort((theirs, ours))
    ours, theirs, n = ours[order], theirs[order], len(ours)
    method, beyond_chance = _beyond_chance(ours, theirs, ordinal=ordinal, classes=classes)

    def value(rows: NDArray[np.int64]) -> float:
        return beyond_chance(ours[rows], theirs[rows])

    of_all = value(np.arange(n))
    low, high = (nan, nan) if isnan(of_all) else percentile_interval(value, n, level=level, seed=seed)
    return LabelAgreement(_share(int(np.sum(ours == theirs)), n, level), method, of_all, low, high)


def _beyond_chance(
    judged: NDArray[np.int64], labels: NDArray[np.int64], *, ordinal: bool, classes: int | None
) -> tuple[str, Callable[[NDArray[np.int64], NDArray[np.int64]], float]]:
    """Return the name of the coefficient that fits these rows, and its function."""
    if ordinal:
        return "Krippendorff's alpha", _ordinal_alpha
    if np.unique(labels, return_counts=True)[1].max() > SKEWED * len(labels):
        # Resamples can lack a class that these rows have.
        possible = max(2, len(np.unique(np.concatenate([judged, labels])))) if classes is None else classes
        return "Gwet's AC1", partial(gwet_ac1, classes=possible)
    return "Cohen's kappa", cohen_kappa


def _ordinal_alpha(judged: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    rows = np.arange(len(judged))
    return krippendorff_alpha(np.concatenate([judged, labels]), np.concatenate([rows, rows]), ordinal=True)


def length_correlation(scores: ArrayLike, tokens: ArrayLike) -> float:
    """Return Spearman's rank correlation of scores and lengths, both (rows,): a judge's bias for long answers.

    It is NaN where either is constant, and for fewer than LEAST_PAIRS rows. Raises ValueError for different lengths.
    """
    liked, long = np.asarray(scores, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    if liked.shape != long.shape or liked.ndim != 1:
        raise ValueError(f"scores of shape {liked.shape} and tokens of shape {long.shape} are not pairs")
    if len(liked) < LEAST_PAIRS or len(np.unique(liked)) < 2 or len(np.unique(long)) < 2:
        return nan
    return float(np.corrcoef(_ranks(liked), _ranks(long))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal values share their mean rank."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return ranks
