"""Ranking of variants from comparisons of two answers at a time: the Bradley-Terry model."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.evaluation.statistics.interval import CONFIDENCE, t_quantile

PSEUDO_WEIGHT: Final = 0.15
"""The weight of the win and of the loss that are added to each two variants that were compared.

With more, strong variants are pulled to the middle and their upper ends cover less.
"""
PSEUDO_ERROR: Final = 0.25
"""The weight of the same two in the covariance: a variant that won every time has about the lower end of Wilson's."""
STEPS: Final = 100
"""The most Newton steps of a fit. Ten are usual."""


class Strength(NamedTuple):
    """One variant of a ranking.

    `strength` is the logarithm of its odds against an average variant, 0 for an average one; `low` and `high` are its
    interval, infinite where no comparison limits it (a variant that is never beaten). `wins` is the probability, a tie
    counting as half, that it is preferred to another variant, averaged over the others; `wins_low` and `wins_high` are
    its interval. `n` counts its comparisons.
    """

    strength: float
    low: float
    high: float
    wins: float
    wins_low: float
    wins_high: float
    n: int


class StrengthDifference(NamedTuple):
    """The difference of two strengths, in logarithms of odds, with its interval and the two-sided p of no difference.

    `wins` is the probability that the first is preferred to the second, a tie counting as half. Where no chain of
    comparisons limits the difference on a side, that end is infinite.
    """

    difference: float
    low: float
    high: float
    p: float
    wins: float
    wins_low: float
    wins_high: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Strengths of variants, (variants,), their covariance, and which variants scored against which.

    `reaches[i, j]` says that a chain of comparisons leads from i to j in which each variant won, or tied with, the
    next: only then is there a lower limit to how much stronger i is than j. `clusters` counts independent groups of
    comparisons.
    """

    strengths: NDArray[np.float64]
    covariance: NDArray[np.float64]
    reaches: NDArray[np.bool_]
    compared: NDArray[np.int64]
    clusters: int

    @property
    def connected(self) -> bool:
        """Tell whether comparisons, perhaps with others between them, set each two variants in order."""
        return bool((self.reaches | self.reaches.T).all())

    @property
    def order(self) -> list[int]:
        """The variants, the strongest first; equal ones by number."""
        return [int(place) for place in np.argsort(-self.strengths, kind="stable")]

    def strength(self, variant: int, *, level: float = CONFIDENCE) -> Strength:
        """Return a variant's strength and win probability against the others, with intervals of `level`."""
        others = np.arange(len(self.strengths)) != variant
        odds = self._contrast(variant)
        half = self._half(odds, level)
        value = float(self.strengths[variant])
        below, above = bool(self.reaches[variant].all()), bool(self.reaches[:, variant].all())

        chances = _logistic(value - self.strengths[others])
        wins = float(chances.mean())
        slopes = np.zeros(len(self.strengths))
        slopes[others] = -chances * (1 - chances) / len(chances)
        slopes[variant] = -slopes.sum()
        # On the scale of log odds the interval of a probability stays within 0 and 1.
        wins_half = self._half(slopes / (wins * (1 - wins)), level)
        return Strength(
            strength=value,
            low=value - half if below else -inf,
            high=value + half if above else inf,
            wins=wins,
            wins_low=_moved(wins, -wins_half) if self.reaches[variant][others].any() else 0.0,
            wins_high=_moved(wins, wins_half) if self.reaches[:, variant][others].any() else 1.0,
            n=int(self.compared[variant].sum()),
        )

    def difference(self, first: int, second: int, *, level: float = CONFIDENCE) -> StrengthDifference:
        """Return the strength of the first variant above the second, with an interval of `level`."""
        from scipy.special import stdtr

        contrast = np.zeros(len(self.strengths))
        contrast[first], contrast[second] = 1.0, -1.0
        value = float(contrast @ self.strengths)
        error, half = self._error(contrast), self._half(contrast, level)
        below, above = bool(self.reaches[first, second]), bool(self.reaches[second, first])
        low, high = value - half if below else -inf, value + half if above else inf
        tested = self.clusters > 1 and (below or above)
        return StrengthDifference(
            difference=value,
            low=low,
            high=high,
            p=2 * float(stdtr(self.clusters - 1, -abs(value) / error)) if tested else 1.0,
            wins=_odds_share(value),
            wins_low=_odds_share(low),
            wins_high=_odds_share(high),
        )

    def _contrast(self, variant: int) -> NDArray[np.float64]:
        contrast = np.full(len(self.strengths), -1 / len(self.strengths))
        contrast[variant] += 1
        return contrast

    def _error(self, contrast: NDArray[np.float64]) -> float:
        return sqrt(max(0.0, float(contrast @ self.covariance @ contrast)))

    def _half(self, contrast: NDArray[np.float64], level: float) -> float:
        return t_quantile(level, self.clusters - 1) * self._error(contrast)


def bradley_terry(
    first: ArrayLike, second: ArrayLike, score: ArrayLike, clusters: ArrayLike, *, variants: int
) -> Ranking:
    """Rank variants by comparisons of two of them (Bradley & Terry 1952, Biometrika 39:324).

    All are (comparisons,): the numbers of the two variants, from 0 to `variants` - 1; the score of the first in [0, 1]
    (1 where it is preferred, 0 where the second is, 0.5 for a tie); and the code of the independent unit, such as a
    row with its repeats. Odds of i against j are exp(strength of i - strength of j). Ties count as half a win for
    both, so that the model describes expected scores, and the covariance is the sandwich over clusters (Liang & Zeger
    1986, Biometrika 73:13), which holds whatever share ties have and however comparisons of a row depend on each other.

    A win and a loss of small weight are added to each two variants that were compared, also in the covariance. So
    strengths stay finite for a variant that always wins, and the width does not vanish. `Ranking.strength` and
    `Ranking.difference` have an infinite end where the comparisons alone set no limit. Raises ValueError for no
    comparisons, fewer than two variants, numbers beyond them, a variant against itself, scores beyond [0, 1] or NaN,
    and different lengths.
    """
    one, two, scores, units = _checked(first, second, score, clusters, variants)
    compared = np.zeros((variants, variants), dtype=np.int64)
    points = np.zeros((variants, variants))
    for i, j, gained in ((one, two, scores), (two, one, 1 - scores)):
        np.add.at(compared, (i, j), 1)
        np.add.at(points, (i, j), gained)
    pairs = compared > 0
    strengths, chances, inverse = _fitted(points + PSEUDO_WEIGHT * pairs, compared + 2 * PSEUDO_WEIGHT * pairs)
    apart = scores - chances[one, two]
    groups = int(units.max()) + 1
    influences = np.zeros((groups, variants))
    np.add.at(influences, (units, one), apart)
    np.add.at(influences, (units, two), -apart)
    spread = influences.T @ influences * (groups / max(1, groups - 1))
    spread += _laplacian(pairs * PSEUDO_ERROR**2 * (chances**2 + (1 - chances) ** 2))
    return Ranking(
        strengths=strengths,
        covariance=inverse @ spread @ inverse,
        reaches=_reachable(points > 0),
        compared=compared,
        clusters=groups,
    )


def _checked(
    first: ArrayLike, second: ArrayLike, score: ArrayLike, clusters: ArrayLike, variants: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the arguments as arrays, in an order that does not depend on theirs, and clusters as numbers from 0."""
    one, two, units = (np.asarray(codes) for codes in (first, second, clusters))
    scores = np.asarray(score, dtype=np.float64)
    if not one.shape == two.shape == scores.shape == units.shape or one.ndim != 1 or not len(one):
        shapes = ", ".join(str(array.shape) for array in (one, two, scores, units))
        raise ValueError(f"arrays of shapes {shapes} are not comparisons")
    if variants < 2 or min(one.min(), two.min()) < 0 or max(one.max(), two.max()) >= variants:
        raise ValueError(f"a comparison is of two variants from 0 to {variants - 1}")
    if (one == two).any():
        raise ValueError("a variant is not compared with itself")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("a score of a comparison is from 0 to 1")
    order = np.lexsort((scores, two, one))
    return one[order], two[order], scores[order], np.unique(units[order], return_inverse=True)[1]


def _fitted(
    points: NDArray[np.float64], compared: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the strengths that solve the likelihood equations, all win probabilities, and the inverse information.

    Strengths have a mean of 0 in each group of variants that comparisons link.
    """
    strengths = np.zeros(len(points))
    for _ in range(STEPS):
        chances = _logistic(strengths[:, None] - strengths[None, :])
        information = _laplacian(compared * chances * (1 - chances))
        inverse = np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64)
        step = inverse @ (points - compared * chances).sum(axis=1)
        largest = float(np.abs(step).max())
        # A longer step can overshoot where a variant always wins.
        strengths = strengths + step * min(1.0, 2 / largest if largest else 1.0)
        if largest < 1e-10:
            break
    return strengths, chances, inverse


def _laplacian(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quadratic form of the differences between variants, weighted by pair."""
    return np.diag(weights.sum(axis=1)) - weights


def _reachable(direct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the variants that a chain of direct links leads to from each, itself included."""
    reached = direct | np.eye(len(direct), dtype=np.bool_)
    for _ in range(len(direct).bit_length()):
        reached = (reached.astype(np.int64) @ reached.astype(np.int64)) > 0
    return reached


def _logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(log_odds), dtype=np.float64)


def _odds_share(log_odds: float) -> float:
    """Return the probability of odds, 0 and 1 for infinite ones."""
    return 1 / (1 + exp(-log_odds)) if log_odds > -700 else 0.0


def _moved(share: float, by: float) -> float:
    """Return a probability whose log odds are moved."""
    return _odds_share(log(share / (1 - share)) + by)
