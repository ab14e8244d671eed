"""The contribution of each change of a candidate: the screen's estimate, updated by paired results."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.tuning.search.effects import PRIOR_SD, Effects
from promptkit.tuning.search_space.candidate import Candidate

Floats = NDArray[np.float64]

INTERACTION_SD: Final = 0.03
"""By how much a change in one candidate is likely to differ from its main effect: 3 points up or down."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """The posterior of the contributions of some changes to a mean score in [0, 1]: normal, with this covariance.

    `names` are those of the parameters. The contributions of several changes add up, but for interactions of
    `INTERACTION_SD`.
    """

    names: tuple[str, ...]
    mean: Floats
    covariance: Floats

    def of(self, names: Collection[str]) -> tuple[float, float]:
        """Return the mean and the standard deviation of the sum of some contributions."""
        taken = self._indicator(names)
        return float(taken @ self.mean), sqrt(max(0.0, float(taken @ self.covariance @ taken)))

    def observe(self, names: Collection[str], difference: float, variance: float) -> Contributions:
        """Return the posterior after the candidate was compared with itself, with some changes taken back.

        `difference` is its lead and `variance` that of its error. Linear regression with known variance (Kalman 1960,
        J. Basic Engineering 82:35).
        """
        taken = self._indicator(names)
        noise = variance + INTERACTION_SD**2 * max(0, len(names) - 1)
        shared = self.covariance @ taken
        gain = shared / (taken @ shared + noise)
        mean = self.mean + gain * (difference - taken @ self.mean)
        return Contributions(self.names, mean, self.covariance - np.outer(gain, shared))

    def _indicator(self, names: Collection[str]) -> Floats:
        return np.array([float(name in names) for name in self.names])


def screened_contributions(candidate: Candidate, effects: Effects | None) -> Contributions:
    """Return the contributions of a candidate's changes as screening estimates them, else by the prior alone."""
    names = tuple(candidate.choices)
    effect_of = (
        {name: effects.over_written(name, choice) for name, choice in candidate.choices.items()} if effects else {}
    )
    known = [effect_of.get(name) or (0.0, sqrt(2) * PRIOR_SD) for name in names]
    variances = [error**2 + INTERACTION_SD**2 for _, error in known]
    return Contributions(names, np.array([effect for effect, _ in known]), np.diag(variances))


def paired_lead(scores: ArrayLike, others: ArrayLike, clusters: ArrayLike | None = None) -> tuple[float, float, int]:
    """Return by how much a candidate leads another on rows that both have, the variance of its error, and the rows.

    `scores` and `others` are (rows,), in [0, 1], NaN if missing; `clusters` the codes of what is independent, if rows
    are not. One pseudo-row as far off as those that differ keeps the variance above 0 where all rows agree. Without
    rows the lead is 0, with infinite variance.
    """
    differences = np.asarray(scores, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    there = ~np.isnan(differences)
    differences = differences[there]
    count = len(differences)
    if not count:
        return 0.0, float("inf"), 0
    codes = np.arange(count) if clusters is None else np.unique(np.asarray(clusters)[there], return_inverse=True)[1]
    changed = differences[differences != 0]
    pseudo = float((changed**2).mean()) if len(changed) else 1.0
    lead = float(differences.mean())
    sums = np.bincount(codes, weights=differences - lead)
    units = len(sums)
    squares = float((sums**2).sum()) * (units / count) ** 2
    return lead, (squares + pseudo) / (units + 1) / units, count
