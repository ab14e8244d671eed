"""The spread of rows, and the distance between generated and real ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.metrics.values import text_of
from promptkit.evaluation.suite.near_duplicates import words_of
from promptkit.synthetic_data.task import GenerationTask, LabelledInputs

MOST_COMPARED: Final = 1_000
"""The most rows of either side whose similarities are computed; more are sampled."""
LEAST_COMPARED: Final = 5


def spread_record(rows: Sequence[LabelledInputs]) -> dict[str, Any]:
    """Return the spread of rows: words a row, the shares of labels, distinct n-grams and the nearest neighbours.

    `distinct_1` and `distinct_2` are the shares of different words and pairs of words (Li et al. 2016, NAACL); they
    fall with the number of words, so compare equally many rows. `nearest` is the mean TF-IDF cosine of a row with the
    row nearest to it: 0 if no two share a word, 1 if each has a copy.
    """
    texts = [words_of(row.inputs) for row in rows]
    lengths = [len(text) for text in texts]
    pairs = [pair for text in texts for pair in pairwise(text)]
    words = [word for text in texts for word in text]
    labels = Counter(row.label for row in rows if row.label is not None)
    return {
        "rows": len(rows),
        "words": {"mean": round(float(np.mean(lengths)), 1), "median": float(np.median(lengths))} if lengths else None,
        "labels": {label: round(count / len(rows), 3) for label, count in sorted(labels.items())},
        "distinct_1": round(len(set(words)) / max(1, len(words)), 3),
        "distinct_2": round(len(set(pairs)) / max(1, len(pairs)), 3),
        "nearest": _mean_nearest(_sampled(texts, MOST_COMPARED)),
    }


def comparison_record(generated: Sequence[LabelledInputs], real: Sequence[LabelledInputs]) -> dict[str, Any]:
    """Return generated rows beside real ones: the spread of equally many of each, and how far they can be told apart.

    `vocabulary` is the share of the generated rows' words that the real ones have too. `told_apart` is the accuracy of
    the classifier two-sample test with one nearest neighbour, leaving each row out (Lopez-Paz & Oquab 2017, ICLR;
    Schilling 1986): 0.5 if nothing tells them apart, 1 if every row's nearest neighbour is of its own kind.
    """
    size = min(len(generated), len(real), MOST_COMPARED)
    ours, theirs = _sampled(generated, size), _sampled(real, size)
    words = Counter(word for row in ours for word in words_of(row.inputs))
    known = {word for row in real for word in words_of(row.inputs)}
    shared = sum(count for word, count in words.items() if word in known)
    return {
        "generated": spread_record(ours),
        "real": spread_record(theirs),
        "vocabulary": round(shared / max(1, words.total()), 3),
        "told_apart": _told_apart([words_of(row.inputs) for row in ours], [words_of(row.inputs) for row in theirs]),
    }


def _sampled(rows: Sequence[Any], size: int) -> list[Any]:
    return list(rows) if len(rows) <= size else random.Random(0).sample(list(rows), size)


def _similarities(texts: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return the TF-IDF cosine of each pair of texts, (texts, texts), with -1 for a text and itself."""
    from scipy.sparse import csr_array

    numbers: dict[str, int] = {}
    counts = [Counter(numbers.setdefault(word, len(numbers)) for word in text) for text in texts]
    places = [(row, word, count) for row, found in enumerate(counts) for word, count in found.items()]
    shape = (len(texts), max(1, len(numbers)))
    rows, words, values = np.array(places, dtype=float).reshape(-1, 3).T
    weights = csr_array((1 + np.log(values), (rows.astype(int), words.astype(int))), shape=shape).toarray()
    weights *= np.log1p(len(texts) / np.maximum(1, (weights > 0).sum(axis=0)))
    weights /= np.maximum(1e-12, np.linalg.norm(weights, axis=1, keepdims=True))
    found: NDArray[np.float64] = weights @ weights.T
    np.fill_diagonal(found, -1.0)
    return found


def _mean_nearest(texts: Sequence[Sequence[str]]) -> float | None:
    return round(float(_similarities(texts).max(axis=1).mean()), 3) if len(texts) >= 2 else None


def _told_apart(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> float | None:
    if min(len(ours), len(theirs)) < LEAST_COMPARED:
        return None
    kinds = np.arange(len(ours) + len(theirs)) < len(ours)
    nearest = _similarities([*ours, *theirs]).argmax(axis=1)
    return round(float((kinds[nearest] == kinds).mean()), 3)


def labelled_rows(rows: Sequence[Mapping[str, Any]], task: GenerationTask) -> list[LabelledInputs]:
    """Return rows of a file as inputs of a task, with their labels where the answers are a closed set."""
    return [
        LabelledInputs(
            inputs={name: row[field] for name, field in task.fields.items() if field in row},
            label=text_of(row[task.expect]) if task.labels and row.get(task.expect) is not None else None,
        )
        for row in rows
    ]
