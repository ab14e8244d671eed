"""Clusters of a suite's rows: those that the suite declares, or rows that nearly repeat each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.suite.data import BoundRow, cluster_value
from promptkit.evaluation.suite.near_duplicates import words_of
from promptkit.evaluation.suite.suite import Suite

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAST_SIMILARITY: Final = 0.5
"""On 1,862 real rows (reviews, word problems, questions on tables) no two are as similar; of rows with a word in ten
replaced 97 % are."""
GRAM: Final = 4
"""Characters of an n-gram: words that are inflected or misspelt share most of theirs."""
MOST_WORDS: Final = 200
"""The mean number of distinct words of a row that are compared; of longer rows a sample is."""
BLOCK: Final = 512
PAIRS_AT_ONCE: Final = 20_000
ROUNDING: Final = 1e-3
"""The slack of bounds that are made of long sums; similarities are compared to 9 digits."""
DIGITS: Final = 9

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def declared_clusters(suite: Suite, rows: Sequence[BoundRow]) -> list[str] | None:
    """Return the key of each row's cluster as the suite declares it, None for a suite without clusters."""
    name = suite.data.spec.cluster
    if name is None:
        return None
    values = [cluster_value(row.row.fields, name) for row in rows]
    # A blank row is its own cluster, by its content, so that it stays in its part where rows are added.
    keys = (f"row {row.key.hex()}" if value is None else value for row, value in zip(rows, values, strict=True))
    # Different from any content of a row, which is a mapping.
    return [json.dumps([key], ensure_ascii=False) for key in keys]


def repeated_rows(rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[int]:
    """Return for each row the place of the earlier row that it nearly repeats, or its own.

    `rows` are inputs by name, `answers` the expected answers as text. A row nearly repeats the most similar earlier row
    of the same answer whose inputs are each similar to its own, and which itself repeats none. Similarity is the
    weighted Jaccard index of the character 4-grams of words; a 4-gram weighs the logarithm of how rare it is in the
    rows, so that the common words of a template say little. All similar pairs are found: only pairs that share one of
    their rarest 4-grams can be (prefix filtering: Bayardo, Ma & Srikant 2007, WWW).
    """
    names = sorted({name for inputs in rows for name in inputs})
    fields = [_Field([inputs.get(name) for inputs in rows]) for name in names]
    fields = [field for field in fields if field.grams.nnz]
    repeated = list(range(len(rows)))
    if not fields:
        return repeated
    codes = np.unique(np.array(answers), return_inverse=True)[1]
    prefixes = _Prefixes(fields)
    originals: list[int] = []
    for start in range(0, len(rows), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(rows)))
        others = np.concatenate([np.array(originals, dtype=np.int64), block])
        similar: dict[int, list[tuple[float, int]]] = {}
        for row, other, similarity in _similar_pairs(fields, prefixes, codes, block, others):
            similar.setdefault(row, []).append((round(-similarity, DIGITS), other))
        for row in block.tolist():
            nearest = next((other for _, other in sorted(similar.get(row, ())) if repeated[other] == other), row)
            repeated[row] = nearest
            originals += [row] if nearest == row else []
    return repeated


class _Field:
    """The values of one input: `grams` is (rows, grams) of 0 and 1, `weights` (grams,), `totals` (rows,)."""

    def __init__(self, values: Sequence[Any]) -> None:
        from scipy.sparse import csr_array

        texts = [tuple(dict.fromkeys(words_of({"": value}))) for value in values]
        stride = max(1, round(sum(map(len, texts)) / len(texts) / MOST_WORDS))
        numbers: dict[str, int] = {}
        of_word: dict[str, list[int]] = {}
        indices: list[int] = []
        ends = [0]
        for text in texts:
            found: set[int] = set()
            for word in text:
                if stride > 1 and crc32(word.encode()) % stride:
                    continue
                if word not in of_word:
                    of_word[word] = [numbers.setdefault(gram, len(numbers)) for gram in _grams(word)]
                found.update(of_word[word])
            indices += sorted(found)
            ends.append(len(indices))
        ones = np.ones(len(indices))
        self.grams: csr_array = csr_array((ones, indices, ends), shape=(len(texts), len(numbers)))
        self.weights: Floats = np.log1p(len(texts) / np.maximum(1, np.bincount(indices, minlength=len(numbers))))
        self.totals: Floats = self.grams @ self.weights

    def similarity(self, rows: Places, others: Places) -> Floats:
        """Return the similarity of pairs of rows, (pairs,); 1 where neither has words."""
        shared = self.grams[rows].multiply(self.grams[others]) @ self.weights
        united = self.totals[rows] + self.totals[others] - shared
        return np.where(united > 0, shared / np.where(united > 0, united, 1.0), 1.0)


def _grams(word: str) -> Iterator[str]:
    padded = f" {word} "
    if any(map(str.isdigit, word)):
        yield padded  # Numbers that share digits are not alike.
        return
    yield from (padded[at : at + GRAM] for at in range(max(1, len(padded) - GRAM + 1)))


class _Prefixes:
    """The rarest grams of each row, in one order for all rows, so that every two similar rows share some.

    Two similar rows share at least half of the weight of each: the grams before their first common one weigh at most
    the other half. `grams` is (rows, grams of all fields), with weights; `totals` are the rows' weights, `rests` those
    without the rarest grams.
    """

    def __init__(self, fields: Sequence[_Field]) -> None:
        from scipy.sparse import csr_array, hstack

        grams = csr_array(hstack([field.grams for field in fields], format="csr"))
        weights = np.concatenate([field.weights for field in fields])[grams.indices]
        sizes = np.diff(grams.indptr)
        of_row = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((grams.indices, -weights, of_row))
        self.totals: Floats = np.sum([field.totals for field in fields], axis=0)
        starts = np.concatenate([[0.0], np.cumsum(self.totals)[:-1]])
        before = np.cumsum(weights[order]) - weights[order] - np.repeat(starts, sizes)
        is_kept = before <= (1 - LEAST_SIMILARITY) * self.totals[of_row] + ROUNDING
        kept = order[is_kept]
        self.grams: csr_array = csr_array((weights[kept], (of_row[is_kept], grams.indices[kept])), shape=grams.shape)
        self.rests: Floats = self.totals - self.grams.sum(axis=1)

    def likely_pairs(self, rows: Places, others: Places) -> tuple[Places, Places]:
        """Return all pairs of one of `rows` and one of `others` before it that may be similar, as two arrays."""
        binary = self.grams[others]
        binary.data[:] = 1.0
        found = (self.grams[rows] @ binary.T).tocoo()
        first, second = rows[found.row], others[found.col]
        # What they share beyond that is in the rest of the row whose rarest grams end first.
        most_shared = found.data + np.maximum(self.rests[first], self.rests[second])
        least = LEAST_SIMILARITY / (1 + LEAST_SIMILARITY) * (self.totals[first] + self.totals[second])
        is_likely = (second < first) & (most_shared >= least - ROUNDING)
        return first[is_likely], second[is_likely]


def _similar_pairs(
    fields: Sequence[_Field], prefixes: _Prefixes, codes: Places, block: Places, others: Places
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of a row of the block and an earlier one of `others` that are similar, with their similarity."""
    rows, earlier = prefixes.likely_pairs(block, others)
    is_pair = codes[rows] == codes[earlier]
    rows, earlier = rows[is_pair], earlier[is_pair]
    for start, stop in pairwise([*range(0, len(rows), PAIRS_AT_ONCE), len(rows)]):
        some, before = rows[start:stop], earlier[start:stop]
        similarity = np.min([field.similarity(some, before) for field in fields], axis=0)
        is_similar = np.round(similarity, DIGITS) >= LEAST_SIMILARITY
        yield from zip(
            some[is_similar].tolist(), before[is_similar].tolist(), similarity[is_similar].tolist(), strict=True
        )
