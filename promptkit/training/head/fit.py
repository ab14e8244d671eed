"""The fit of a head: vector and penalty by cross-validation, temperature, threshold, and its measured accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptkit.answers.head import ABOVE_ALL, Cascade, MeasuredShare
from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.runtimes.base import HiddenState
from promptkit.training.head.features import Features, TextFeatures, VectorFeatures
from promptkit.training.head.logistic import Codes, Floats, Weights, fit_path, fit_temperature, log_loss, log_shares
from promptkit.training.head.risk import risk_threshold

PENALTIES = (30.0, 3.0, 0.3, 0.03, 0.003)
OUTER_FOLDS, INNER_FOLDS = 5, 4

OnProgress = Callable[[int, int], None]
"""Called with the fits that are done and all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHead:
    """A fitted head. `weights` are for the vectors of `state`; the accuracies are those of nested cross-validation."""

    state: HiddenState
    penalty: float
    weights: Weights
    temperature: float
    threshold: float
    accuracy: MeasuredShare
    tfidf: MeasuredShare
    majority: MeasuredShare
    cascade: Cascade


@dataclass(frozen=True, slots=True)
class _Choice:
    """The features and the penalty with the smallest cross-validated log loss, and the logits of that, (rows, k)."""

    name: HiddenState | None
    penalty: float
    logits: Floats


def fit_head(
    vectors: Mapping[HiddenState, Floats],
    texts: Sequence[str],
    codes: Codes,
    clusters: NDArray[np.int64],
    *,
    classes: int,
    risk: float,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> FittedHead:
    """Fit a head to the labels of rows.

    `vectors` are (rows, numbers) for each candidate; `texts`, the label `codes` and the `clusters` of near-duplicates
    are by row. The candidate and the penalty are chosen by cross-validation inside the rows. The accuracy is that of
    the whole procedure, choice included, on the rows of OUTER_FOLDS folds, so that the choice does not flatter it.
    """
    candidates: dict[HiddenState | None, Features] = {state: VectorFeatures(found) for state, found in vectors.items()}
    baseline: dict[HiddenState | None, Features] = {None: TextFeatures(texts)}
    everything = np.arange(len(codes))
    outer = stratified_folds(codes, clusters, OUTER_FOLDS, seed)
    shares, words = np.zeros((len(codes), classes)), np.zeros((len(codes), classes))
    majority = np.zeros(len(codes), dtype=np.int64)
    for fold in range(OUTER_FOLDS):
        on_progress(fold, OUTER_FOLDS + 1)
        training, test = everything[outer != fold], everything[outer == fold]
        majority[test] = np.bincount(codes[training], minlength=classes).argmax()
        for found, features in ((shares, candidates), (words, baseline)):
            choice = _choose(features, codes, clusters, training, classes, seed)
            known, new = features[choice.name].split(training, test)
            weights = _fit(known, codes[training], classes, choice.penalty)
            temperature = fit_temperature(choice.logits, codes[training])
            found[test] = np.exp(log_shares(weights.logits(new) / temperature))
    on_progress(OUTER_FOLDS, OUTER_FOLDS + 1)
    choice = _choose(candidates, codes, clusters, everything, classes, seed)
    assert choice.name is not None, "only the baseline has no name"
    chosen = VectorFeatures(vectors[choice.name])
    known, _ = chosen.split(everything, everything[:0])
    predicted, confidences = shares.argmax(axis=1), shares.max(axis=1)
    threshold = risk_threshold(confidences, predicted != codes, clusters, risk)
    on_progress(OUTER_FOLDS + 1, OUTER_FOLDS + 1)
    return FittedHead(
        state=choice.name,
        penalty=choice.penalty,
        weights=chosen.on_vectors(_fit(known, codes, classes, choice.penalty)),
        temperature=fit_temperature(choice.logits, codes),
        threshold=min(threshold, ABOVE_ALL),
        accuracy=_accuracy(predicted == codes, clusters),
        tfidf=_accuracy(words.argmax(axis=1) == codes, clusters),
        majority=_accuracy(majority == codes, clusters),
        cascade=_cascade(predicted == codes, confidences >= threshold),
    )


def _fit(features: Floats, codes: Codes, classes: int, penalty: float) -> Weights:
    """Return the fit at a penalty, reached along the path as in the cross-validation."""
    return fit_path(features, codes, classes, [larger for larger in PENALTIES if larger >= penalty])[-1]


def _choose(
    candidates: Mapping[HiddenState | None, Features],
    codes: Codes,
    clusters: NDArray[np.int64],
    rows: Codes,
    classes: int,
    seed: int,
) -> _Choice:
    """Return the candidate and penalty with the smallest log loss in cross-validation inside `rows`."""
    folds = stratified_folds(codes[rows], clusters[rows], INNER_FOLDS, seed + 1)
    best: tuple[float, _Choice] | None = None
    for name, features in candidates.items():
        logits = np.zeros((len(PENALTIES), len(rows), classes))
        for fold in range(INNER_FOLDS):
            held = folds == fold
            known, new = features.split(rows[~held], rows[held])
            for at, weights in enumerate(fit_path(known, codes[rows[~held]], classes, PENALTIES)):
                logits[at, held] = weights.logits(new)
        for penalty, found in zip(PENALTIES, logits, strict=True):
            loss = log_loss(found, codes[rows])
            if best is None or loss < best[0]:
                best = loss, _Choice(name, penalty, found)
    assert best is not None, "there is a candidate"
    return best[1]


def stratified_folds(codes: Codes, clusters: NDArray[np.int64], folds: int, seed: int) -> Codes:
    """Return the fold of each row. Clusters stay whole, and each label is spread over the folds evenly."""
    generator = np.random.default_rng(seed)
    names, place, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    label = np.zeros(len(names), dtype=np.int64)
    label[place] = codes
    counts = np.zeros((int(codes.max()) + 1, folds))
    fold = np.zeros(len(names), dtype=np.int64)
    for cluster in sorted(generator.permutation(len(names)).tolist(), key=lambda at: -sizes[at]):
        of_label = counts[label[cluster]]
        fewest = min(range(folds), key=lambda at: (of_label[at], counts[:, at].sum()))
        fold[cluster] = fewest
        of_label[fewest] += sizes[cluster]
    return fold[place]


def _accuracy(is_right: NDArray[np.bool_], clusters: NDArray[np.int64]) -> MeasuredShare:
    found = bounded_mean(is_right.astype(float), clusters, binary=True)
    return MeasuredShare(mean=found.mean, low=max(0.0, found.low), high=min(1.0, found.high))


def _cascade(is_right: NDArray[np.bool_], answers: NDArray[np.bool_]) -> Cascade:
    among = float(is_right[answers].mean()) if answers.any() else None
    return Cascade(answers=float(answers.mean()), wrongly=float((answers & ~is_right).mean()), among_answered=among)
