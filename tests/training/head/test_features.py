"""The features of rows for a classifier: standardised vectors, and TF-IDF, learnt from the training rows alone."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.training.head.features import TextFeatures, VectorFeatures
from promptkit.training.head.logistic import Weights, fit_path

ROWS = np.arange(6)
TEXTS = ["a fine film", "a fine fine play", "a dull film", "a dull play", "zig quux", ""]


def test_vectors_are_standardised_by_the_training_rows() -> None:
    vectors = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 4))
    known, new = VectorFeatures(vectors).split(ROWS[:4], ROWS[4:])
    assert known.mean(axis=0) == pytest.approx(np.zeros(4))
    assert known.std(axis=0) == pytest.approx(np.full(4, 1 / 2))  # divided by the root of 4
    assert new == pytest.approx((vectors[4:] - vectors[:4].mean(axis=0)) / vectors[:4].std(axis=0) / 2)


def test_a_number_that_never_changes_is_left_at_zero() -> None:
    known, new = VectorFeatures(np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])).split(ROWS[:2], ROWS[2:3])
    assert not known[:, 1].any()
    assert not new[:, 1].any()


def test_weights_of_features_become_weights_of_vectors() -> None:
    vectors = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 4))
    features = VectorFeatures(vectors)
    known, _ = features.split(ROWS, ROWS[:0])
    weights = Weights(np.random.default_rng(1).normal(size=(2, 4)), np.array([0.5, -0.5]))
    assert features.on_vectors(weights).logits(vectors) == pytest.approx(weights.logits(known))


def test_products_of_text_features_are_those_of_tfidf_vectors() -> None:
    known, new = TextFeatures(TEXTS).split(ROWS[:4], ROWS[4:])
    cosines = known @ known.T
    assert np.diag(cosines) == pytest.approx(np.ones(4))
    assert cosines[0, 1] > cosines[0, 3]  # two rare words against a common one
    assert cosines[0, 2] > cosines[0, 3]
    assert np.abs(new @ known.T).max() < cosines.min()  # no word of the training rows


def test_text_features_tell_labels_apart() -> None:
    texts = [f"{word} number {number}" for number in range(10) for word in ("fine", "dull")]
    codes = np.array([0, 1] * 10)
    known, new = TextFeatures(texts).split(np.arange(10), np.arange(10, 20))
    (weights,) = fit_path(known, codes[:10], 2, (0.03,))
    assert weights.logits(new).argmax(axis=1).tolist() == codes[10:].tolist()
