"""Words that are typical of a label: more frequent under it than a chance assignment of labels would make any word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_ROWS: Final = 3
"""A typical word is in at least this many rows of its label."""
MOST_WORDS: Final = 4
SHORTEST_WORD: Final = 4
"""Shorter words are mostly function words, in any language."""
SHUFFLES: Final = 200
FALSE_SHARE: Final = 0.05
"""The share of data sets whose labels are chance in which any word of any label is found."""

Floats = NDArray[np.float64]


def typical_words(rows: Sequence[tuple[Sequence[str], str]], labels: Sequence[str]) -> dict[str, list[str]]:
    """Return for each label the words that are typical of it, at most 4, the most typical first.

    `rows` are (words, label). A word is typical if more rows of the label have it than chance would give, by more
    standard deviations than any word has under any label in 95 % of 200 random permutations of the labels: one test of
    the maximum over all words (Westfall & Young 1993, Resampling-Based Multiple Testing). A typical word is in at least
    3 rows of the label. Labels without typical words are left out.
    """
    present = [label for label in labels if any(label == row_label for _, row_label in rows)]
    kept = [(set(words), label) for words, label in rows if label in present]
    names = sorted({word for words, _ in kept for word in words if len(word) >= SHORTEST_WORD and not word.isdigit()})
    if len(present) < 2 or not names:
        return {}
    places = {word: place for place, word in enumerate(names)}
    has_word = np.zeros((len(kept), len(names)), dtype=np.float32)
    for row, (words, _) in enumerate(kept):
        has_word[row, [places[word] for word in words if word in places]] = 1
    codes = np.array([present.index(label) for _, label in kept])
    frequent = has_word.sum(axis=0) >= LEAST_ROWS
    has_word, names = has_word[:, frequent], [name for name, is_kept in zip(names, frequent, strict=True) if is_kept]
    scores = _scores(has_word, codes, len(present))[0]
    generator = np.random.default_rng(0)
    shuffled = generator.permuted(np.tile(codes, (SHUFFLES, 1)), axis=1)
    largest = _scores(has_word, shuffled, len(present)).max(axis=(1, 2), initial=-np.inf)
    bar = np.sort(largest)[-int(FALSE_SHARE * (SHUFFLES + 1))]
    typical = {}
    for label, row_scores in zip(present, scores, strict=True):
        above = [place for place in np.argsort(-row_scores, kind="stable") if row_scores[place] > max(bar, 0.0)]
        if above:
            typical[label] = [names[place] for place in above[:MOST_WORDS]]
    return typical


def _scores(has_word: NDArray[np.float32], codes: NDArray[np.int64], labels: int) -> Floats:
    """Return by how many standard deviations the rows of a label with a word exceed what chance would give.

    `has_word` is (rows, words), `codes` (rows,) or (shuffles, rows); the result is (shuffles, labels, words): -inf for
    a word in fewer than 3 rows of the label. Under chance the rows are hypergeometric.
    """
    rows = len(has_word)
    of_label = (np.atleast_2d(codes)[:, None, :] == np.arange(labels)[:, None]).astype(np.float32)
    counts = (of_label.reshape(-1, rows) @ has_word).reshape(len(of_label), labels, -1)
    of_word, sizes = has_word.sum(axis=0), of_label.sum(axis=2)[:, :, None]
    variances = sizes * (rows - sizes) * of_word * (rows - of_word) / (rows**2 * (rows - 1))
    scores = (counts - sizes * of_word / rows) / np.sqrt(np.maximum(variances, np.finfo(np.float32).tiny))
    return np.where((counts >= LEAST_ROWS) & (of_word < rows), scores, -np.inf).astype(np.float64)
