"""The fit of a head: the layer that tells labels apart, an accuracy that the choice does not flatter, the folds."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.answers.head import ABOVE_ALL, Head, decide_by_head
from promptkit.runtimes.base import HiddenState
from promptkit.training.head.fit import stratified_folds
from promptkit.training.head.worker import FitInput, fit_as_json
from promptkit.workers.process import run_in_worker_blocking
from tests.engine.heads import written_head

GOOD, NOISE = HiddenState(2, "mean"), HiddenState(4, "last")
WIDTH = 12


def draw(rows: int, gap: float, seed: int = 0) -> tuple[dict[HiddenState, np.ndarray], np.ndarray]:
    """Return vectors, of which one kind tells two labels apart by `gap`, and the labels."""
    generator = np.random.default_rng(seed)
    codes = generator.permutation(np.arange(rows) % 2)
    centre = np.zeros(WIDTH)
    centre[0] = gap
    return {
        NOISE: generator.normal(size=(rows, WIDTH)),
        GOOD: np.where(codes[:, None] == 1, centre, -centre) + generator.normal(size=(rows, WIDTH)),
    }, codes


def fit(vectors: dict[HiddenState, np.ndarray], codes: np.ndarray, risk: float = 0.1) -> Head:
    """Return the head of a fit, made in a worker process as by `promptkit train`."""
    given = FitInput(
        vectors={(state.layer, state.pooling): found for state, found in vectors.items()},
        texts=[f"row {number}" for number in range(len(codes))],
        codes=codes.tolist(),
        clusters=list(range(len(codes))),
        classes=2,
        risk=risk,
        seed=0,
    )
    return written_head(risk=risk, **run_in_worker_blocking(fit_as_json, given, seconds=60.0))


def test_the_layer_that_tells_the_labels_apart_is_chosen_and_its_weights_classify_vectors() -> None:
    vectors, codes = draw(60, 1.5)
    fitted = fit(vectors, codes)
    assert fitted.state == GOOD
    assert fitted.accuracy.mean > 0.9
    assert fitted.accuracy.low < fitted.accuracy.mean <= fitted.accuracy.high
    decisions = [decide_by_head(fitted, vector).logprobs for vector in vectors[GOOD].tolist()]
    assert np.mean([(found["good"] > found["bad"]) == code for found, code in zip(decisions, codes, strict=True)]) > 0.9
    assert fitted.tfidf.mean < 0.75
    assert fitted.majority.mean <= 0.5
    assert fitted.threshold < ABOVE_ALL
    assert fit(vectors, codes) == fitted


def test_vectors_that_tell_nothing_are_measured_as_such_and_hardly_answer() -> None:
    vectors, codes = draw(60, 0.0)
    fitted = fit(vectors, codes)
    assert 0.3 < fitted.accuracy.mean < 0.7
    assert fitted.cascade.wrongly <= 0.1
    assert fitted.cascade.answers < 0.4


def test_a_smaller_risk_answers_less() -> None:
    vectors, codes = draw(40, 0.8)
    careful, bold = (fit({GOOD: vectors[GOOD]}, codes, risk).cascade for risk in (0.03, 0.2))
    assert careful.answers < bold.answers
    assert careful.wrongly <= 0.03
    assert bold.wrongly <= 0.2


@pytest.mark.parametrize("seed", range(3))
def test_folds_keep_clusters_whole_and_spread_each_label(seed: int) -> None:
    codes = np.array([0] * 12 + [1] * 8)
    clusters = np.array([*range(10), 9, 9, *range(20, 28)])
    folds = stratified_folds(codes, clusters, 4, seed)
    assert len(set(folds[9:12])) == 1
    for label, least, most in ((0, 2, 4), (1, 2, 2)):
        counts = np.bincount(folds[codes == label], minlength=4)
        assert least <= counts.min() <= counts.max() <= most
