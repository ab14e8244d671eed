"""The logistic regression: the minimum of its loss, in the space of the rows too, and the temperature."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.training.head.logistic import Floats, Weights, fit_path, fit_temperature, log_loss, log_shares


def draw(rows: int, width: int, classes: int, seed: int = 0) -> tuple[Floats, np.ndarray]:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, classes, rows)
    return generator.normal(size=(classes, width))[codes] * 0.5 + generator.normal(size=(rows, width)), codes


def loss(weights: Weights, features: Floats, codes: np.ndarray, penalty: float) -> float:
    return len(codes) * log_loss(weights.logits(features), codes) + penalty / 2 * float((weights.coefficients**2).sum())


@pytest.mark.parametrize(("rows", "width"), [(60, 4), (12, 40)])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_a_minimum_of_the_penalised_loss(rows: int, width: int, classes: int) -> None:
    features, codes = draw(rows, width, classes)
    generator = np.random.default_rng(1)
    for penalty, weights in zip((3.0, 0.3), fit_path(features, codes, classes, (3.0, 0.3)), strict=True):
        least = loss(weights, features, codes, penalty)
        for _ in range(20):
            moved = Weights(
                weights.coefficients + 0.05 * generator.normal(size=(classes, width)),
                weights.intercepts + 0.05 * generator.normal(size=classes),
            )
            assert loss(moved, features, codes, penalty) > least


def test_a_smaller_penalty_has_larger_coefficients() -> None:
    features, codes = draw(60, 4, 2)
    sizes = [float((weights.coefficients**2).sum()) for weights in fit_path(features, codes, 2, (30.0, 3.0, 0.3))]
    assert sizes == sorted(sizes)


def test_the_shares_of_large_logits_are_finite() -> None:
    shares = log_shares(np.array([[1000.0, 0.0], [0.0, -1000.0]]))
    assert shares.tolist() == [[0.0, -1000.0], [0.0, -1000.0]]


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_a_factor_of_calibrated_logits(factor: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 1)) * np.array([[2.0, 0.0]])
    codes = (generator.random(4000) > np.exp(log_shares(logits))[:, 0]).astype(np.int64)
    assert fit_temperature(logits * factor, codes) == pytest.approx(factor, rel=0.15)
