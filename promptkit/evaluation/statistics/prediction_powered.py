"""Means and paired differences of labels, from a judge's scores of all cells and labels of some of them.

Power-tuned prediction-powered inference (PPI++: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453): the mean of the
labels is moved by `weight` times what the judge says the labelled cells are off by. The weight is 0 where the judge
tells nothing about labels, so that the labels alone decide, and 1 where it says what the labels say.

A label was drawn at random or chosen, for example where the judge was unsure. Chosen cells are a stratum whose labels
are known; the labels drawn at random correct the judge in the other cells, of which they are a random sample. That
holds where choices depend on scores and answers only, not on labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.evaluation.statistics.interval import (
    CONFIDENCE,
    Mean,
    Paired,
    bounded_mean,
    cluster_sums,
    effective_clusters,
    normal_quantile,
    one_more_cluster,
    ordered_sum,
    score_interval,
    t_quantile,
)
from promptkit.evaluation.statistics.paired import paired_binary, paired_graded

METHOD: Final = "prediction-powered, t with pseudo-rows"


class JudgedCells(NamedTuple):
    """A judge's scores and a person's labels of the same cells, (cells,) each, in [0, 1].

    `labels` is NaN where there is none. `at_random` tells which labels were drawn at random; by default all were.
    """

    judged: ArrayLike
    labels: ArrayLike
    at_random: ArrayLike | None = None

    @property
    def correctable(self) -> bool:
        """Tell whether the labels can correct the judge: one was drawn at random, or every cell has one."""
        known = ~np.isnan(np.asarray(self.labels, dtype=np.float64))
        return bool(known.all() or (known if self.at_random is None else known & np.asarray(self.at_random)).any())


def corrected_mean(cells: JudgedCells, clusters: ArrayLike, *, binary: bool = False, level: float = CONFIDENCE) -> Mean:
    """Return the mean that labels of all cells would give, with an interval.

    `clusters` are the codes of independent units, as for `bounded_mean`, and `binary` says that every label is 0 or 1.
    The interval is of Wilson's form with the effective number of rows that has the variance of the mean, and not
    smaller than that of the labels alone: where the judge is worth nothing, or all cells have a label, it is
    `bounded_mean` of the labels. Two pseudo-rows in which judge and label disagree as they would by chance enter weight
    and variance, so that a judge that is right on few labels does not pass for always right. With chosen labels the
    intervals of both strata are combined by their shares (MOVER: Zou & Donner 2008, Statistics in Medicine 27:1693).
    Raises ValueError for cells that are not `correctable`, numbers beyond [0, 1], NaN scores, and different lengths.
    """
    found = _checked(cells, clusters)
    # Sums are the same to the digit in any order of the cells.
    found = found.part(np.lexsort((found.clusters, found.chosen, found.labels, found.judged)))
    rest = found.part(~found.chosen)
    of_rest = _mean_of_rest(rest, binary=binary, level=level)
    if not found.chosen.any():
        return of_rest
    chosen = found.part(found.chosen)
    return _combined(found, bounded_mean(chosen.labels, chosen.clusters, binary=binary, level=level), of_rest, level)


def corrected_difference(
    a: JudgedCells, b: JudgedCells, clusters: ArrayLike, *, binary: bool = False, level: float = CONFIDENCE
) -> Paired:
    """Return the mean that labels of all cells would give for `a` minus that for `b`, on the same cells.

    Each is corrected by its own labels, so a cell may have a label of one of them only; the variance is that of the
    paired differences of their influences. The interval is t with a pseudo-row of each, which differs as labels do.
    Where no label was chosen and the cells with both labels alone give a narrower interval (`paired_binary` of
    independent `binary` labels, else `paired_graded`), that one is returned. `n`, `better` and `worse` count clusters,
    by label where both have one; `spread` is the standard deviation that single labelled clusters would have. Raises
    ValueError as `corrected_mean` does.
    """
    from scipy.special import stdtr

    first, second = (_checked(cells, clusters) for cells in (a, b))
    order = np.lexsort((first.clusters, *(values for side in (first, second) for values in (side.labels, side.judged))))
    first, second = first.part(order), second.part(order)
    codes = first.clusters
    groups = len(np.unique(codes))
    (mean_a, of_a), (mean_b, of_b) = (side.influences(side.weight()) for side in (first, second))
    variance = ordered_sum(cluster_sums(of_a - of_b, codes)[1] ** 2) + _pseudo_variance(first, second)
    estimate, error = mean_a - mean_b, sqrt(variance)
    degrees = min(side.labelled_clusters for side in (first, second)) + 1
    half = t_quantile(level, degrees) * error
    signs = cluster_sums(_shown(first, second), codes)[1]
    found = Paired(
        difference=min(1.0, max(-1.0, estimate)),
        low=max(-1.0, min(1.0, estimate) - half),
        high=min(1.0, max(-1.0, estimate) + half),
        p=2 * float(stdtr(degrees, -abs(estimate) / error)),
        n=groups,
        better=int(np.sum(signs > 0)),
        worse=int(np.sum(signs < 0)),
        spread=error * sqrt(groups),
        method=METHOD,
    )
    alone = _labels_alone(first, second, binary=binary, level=level)
    return found if alone is None or found.high - found.low < alone.high - alone.low else alone


@dataclass(frozen=True, slots=True)
class _Cells:
    """Checked cells: scores, labels (NaN: none), which labels were chosen, and clusters."""

    judged: NDArray[np.float64]
    labels: NDArray[np.float64]
    chosen: NDArray[np.bool_]
    clusters: NDArray[np.int64]

    @property
    def random(self) -> NDArray[np.bool_]:
        """The cells whose label was drawn at random."""
        return ~np.isnan(self.labels) & ~self.chosen

    @property
    def labelled_clusters(self) -> int:
        """The clusters with a label that was drawn at random."""
        return len(np.unique(self.clusters[self.random]))

    @property
    def least(self) -> float:
        """The number of independent labels drawn at random, if those of a cluster were all equal."""
        return effective_clusters(cluster_sums(self.labels[self.random], self.clusters[self.random])[0])

    def part(self, wanted: NDArray[np.bool_ | np.int64]) -> _Cells:
        """Return the wanted cells, by a mask or in an order."""
        return _Cells(self.judged[wanted], self.labels[wanted], self.chosen[wanted], self.clusters[wanted])

    def disagreement(self) -> float:
        """Return the mean square of what differs between a label and a score of two cells drawn at random."""
        values, counts = np.unique(self.labels[self.random], return_counts=True)
        squares = np.square(values[:, None] - self.judged[self.random][None, :])
        differ = float((counts[:, None] * (squares > 0)).sum())
        return float((counts[:, None] * squares).sum()) / differ if differ else 0.0

    def weight(self) -> float:
        """Return the weight of the judge, from 0 to 1: the slope of labels over scores with two pseudo-rows.

        In these, half a disagreement by chance off both means, label and score are on opposite sides.
        """
        random = self.random
        if (random | self.chosen).all():
            return 0.0
        scores, labels = self.judged[random], self.labels[random]
        # A pseudo-row weighs as much as an independent unit of labelled cells.
        scores, pseudo = scores - scores.mean(), self.disagreement() / 2 * len(labels) / self.least
        spread = float(scores @ scores) + pseudo
        return min(1.0, max(0.0, (float(scores @ labels) - pseudo) / spread)) if spread else 0.0

    def influences(self, weight: float) -> tuple[float, NDArray[np.float64]]:
        """Return the mean of labels with this weight of the judge, and the influence of each cell on it.

        Other cells than the chosen ones have a predicted label each, and those with a label are off from it.
        """
        random, cells = self.random, len(self.labels)
        scores, labels = self.judged[random], self.labels[random]
        predicted = labels.mean() + weight * (self.judged - scores.mean())
        values = np.where(self.chosen, self.labels, predicted)
        off = np.zeros(cells)
        off[random] = (labels - predicted[random]) * (float(np.sum(~self.chosen)) / len(labels))
        mean = float(np.sort(values).mean())
        return mean, (values - mean + off) / cells


def _checked(cells: JudgedCells, clusters: ArrayLike) -> _Cells:
    """Return cells as arrays."""
    judged, labels = (np.asarray(values, dtype=np.float64) for values in (cells.judged, cells.labels))
    codes, known = np.asarray(clusters), ~np.isnan(labels)
    random = known if cells.at_random is None else known & np.asarray(cells.at_random, dtype=np.bool_)
    if not judged.shape == labels.shape == codes.shape == random.shape or judged.ndim != 1 or not len(judged):
        raise ValueError(f"scores {judged.shape}, labels {labels.shape} and clusters {codes.shape} are not of cells")
    if not ((judged >= 0) & (judged <= 1)).all() or not ((labels >= 0) & (labels <= 1) | ~known).all():
        raise ValueError("a score or a label is not from 0 to 1")
    if not random.any() and not known.all():
        raise ValueError("no label was drawn at random: nothing corrects the scores of the cells without one")
    # Where every cell has a label, there are no others that a label would have to stand for.
    chosen = known & ~random & (not known.all())
    return _Cells(judged, labels, chosen, codes)


def _mean_of_rest(rest: _Cells, *, binary: bool, level: float) -> Mean:
    """Return the mean of cells of which no label was chosen."""
    labels, codes = rest.labels[rest.random], rest.clusters[rest.random]
    alone = bounded_mean(labels, codes, binary=binary, level=level)
    weight = rest.weight()
    if not weight:
        return alone._replace(n=len(rest.labels), clusters=len(np.unique(rest.clusters)))
    mean, influences = rest.influences(weight)
    mean = min(1.0, max(0.0, mean))
    independent = binary and alone.clusters == alone.n
    largest, least, effective = mean * (1 - mean), rest.least, alone.effective
    squares = ordered_sum(cluster_sums(influences, rest.clusters)[1] ** 2)
    # The pseudo-rows add what they would be off, more than with labels alone, by the share of cells without a label.
    squares += rest.disagreement() * ((1 + weight) ** 2 - 1) / 2 / least**2 * (1 - len(labels) / len(rest.labels))
    if not independent:
        squares += largest * one_more_cluster(alone.clusters, least)
    if largest and squares:
        effective = min(max(effective, largest / squares), float(len(rest.labels)) if binary else inf)
    quantile = normal_quantile(level) if independent else t_quantile(level, least - 1)
    interval = score_interval(mean, effective, quantile)
    return Mean(mean, *interval, len(rest.labels), len(np.unique(rest.clusters)), effective)


def _combined(cells: _Cells, chosen: Mean, rest: Mean, level: float) -> Mean:
    """Return the mean of both strata. Their parts of the interval add up by how they are correlated over clusters."""
    share = float(cells.chosen.mean())
    mean = share * chosen.mean + (1 - share) * rest.mean
    between = (cells.chosen - share) * (chosen.mean - rest.mean)
    within = np.where(cells.chosen, np.nan_to_num(cells.labels) - chosen.mean, 0.0)
    remaining = cells.part(~cells.chosen)
    others = np.zeros(len(cells.labels))
    others[~cells.chosen] = remaining.influences(remaining.weight())[1]
    parts = np.stack(
        [cluster_sums(np.asarray(part, dtype=np.float64), cells.clusters)[1] for part in (within, others, between)]
    )
    scale = np.sqrt(np.square(parts).sum(axis=1))
    correlation = np.clip(parts @ parts.T / np.where(scale[:, None] * scale > 0, scale[:, None] * scale, inf), 0, 1)
    np.fill_diagonal(correlation, 1)
    half_between = normal_quantile(level) * float(scale[2]) / len(cells.labels)

    def half(of_chosen: float, of_rest: float) -> float:
        lengths = np.array([share * of_chosen, (1 - share) * of_rest, half_between])
        return sqrt(float(lengths @ correlation @ lengths))

    low = max(0.0, mean - half(chosen.mean - chosen.low, rest.mean - rest.low))
    high = min(1.0, mean + half(chosen.high - chosen.mean, rest.high - rest.mean))
    error = (high - low) / (2 * normal_quantile(level))
    effective = mean * (1 - mean) / error**2 if error and 0 < mean < 1 else chosen.effective + rest.effective
    return Mean(mean, low, high, len(cells.labels), len(np.unique(cells.clusters)), effective)


def _labels_alone(first: _Cells, second: _Cells, *, binary: bool, level: float) -> Paired | None:
    """Return the difference of the cells with both labels; None where there are none or some label was chosen."""
    both = first.random & second.random
    if not both.any() or first.chosen.any() or second.chosen.any():
        return None
    labels, codes = (first.labels[both], second.labels[both]), first.clusters[both]
    if binary and len(np.unique(codes)) == len(codes):
        found = paired_binary(*labels, level=level)
        return found._replace(spread=sqrt(found.spread))
    return paired_graded(*labels, codes, level=level)


def _pseudo_variance(first: _Cells, second: _Cells) -> float:
    """Return the variance that a pseudo-row of each side adds, which differs as the labels do (by 1 if none does)."""
    apart = first.labels - second.labels
    differ = apart[~np.isnan(apart) & (apart != 0)]
    square = float(np.mean(np.sort(differ**2))) if len(differ) else 1.0
    weights = [float(np.mean(~side.chosen)) ** 2 / side.least**2 for side in (first, second)]
    return square * sum(weights)


def _shown(first: _Cells, second: _Cells) -> NDArray[np.float64]:
    """Return the difference of each cell, by label where both sides have one, else by score."""
    apart = first.labels - second.labels
    return np.where(np.isnan(apart), first.judged - second.judged, apart)
