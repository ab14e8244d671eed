"""Multinomial logistic regression with an L2 penalty, along a path of penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_ITERATIONS = 200
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Weights:
    """`coefficients` (classes, features) and `intercepts` (classes,)."""

    coefficients: Floats
    intercepts: Floats

    def logits(self, features: Floats) -> Floats:
        """Return the logits of rows, (rows, classes)."""
        return features @ self.coefficients.T + self.intercepts


def fit_path(features: Floats, codes: Codes, classes: int, penalties: Sequence[float]) -> list[Weights]:
    """Return the fit for each penalty, each begun at the one before; large penalties first take the fewest steps.

    `features` is (rows, features). The sum of the rows' log losses plus `penalty / 2` times the squared coefficients is
    minimised by L-BFGS (Liu & Nocedal 1989); intercepts are free. Where there are more features than rows, the fit is
    made in the space that the rows span, in which the minimum lies.
    """
    from scipy.linalg import svd

    rows, width = features.shape
    basis = None
    if width > rows:
        left, sizes, basis = svd(features, full_matrices=False)
        features = left * sizes
    start = np.zeros((classes, features.shape[1] + 1))
    found = []
    for penalty in penalties:
        start = _minimum(features, codes, penalty, start)
        coefficients = start[:, :-1] if basis is None else start[:, :-1] @ basis
        found.append(Weights(coefficients.copy(), start[:, -1].copy()))
    return found


def _minimum(features: Floats, codes: Codes, penalty: float, start: Floats) -> Floats:
    from scipy.optimize import minimize

    rows = np.arange(len(codes))

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(start.shape)
        logits = features @ weights[:, :-1].T + weights[:, -1]
        shares = log_shares(logits)
        slopes = np.exp(shares)
        slopes[rows, codes] -= 1.0
        gradient = np.empty_like(weights)
        gradient[:, :-1] = slopes.T @ features + penalty * weights[:, :-1]
        gradient[:, -1] = slopes.sum(axis=0)
        value = -shares[rows, codes].sum() + penalty / 2 * float((weights[:, :-1] ** 2).sum())
        return value, gradient.ravel()

    options = {"maxiter": MOST_ITERATIONS, "gtol": TOLERANCE}
    return minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)  # type: ignore[no-any-return]


def log_shares(logits: Floats) -> Floats:
    """Return the logarithms of the classes' probabilities, (rows, classes)."""
    top = logits.max(axis=1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


def log_loss(logits: Floats, codes: Codes) -> float:
    """Return the mean log loss of rows."""
    return -float(log_shares(logits)[np.arange(len(codes)), codes].mean())


def fit_temperature(logits: Floats, codes: Codes) -> float:
    """Return the temperature that minimises the log loss of logits divided by it (Guo et al. 2017, ICML)."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda log: log_loss(logits / np.exp(log), codes), bounds=(-3.0, 3.0), method="bounded")
    return float(np.exp(found.x))
