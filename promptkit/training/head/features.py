"""The features of rows for a classifier: vectors of a model, or the words and characters of texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from promptkit.prompts.words import words
from promptkit.training.head.logistic import Codes, Floats, Weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHARACTERS = (3, 4, 5)
"""The lengths of character n-grams, taken inside words with the blanks around them."""
_LONGEST_TEXT = 20_000


class Features(Protocol):
    """The features of rows. What is learnt of them (means, document frequencies) comes from the training rows alone."""

    def split(self, training: Codes, others: Codes) -> tuple[Floats, Floats]:
        """Return the features of training rows and of others, each (rows, features)."""
        ...


class VectorFeatures:
    """Standardised vectors, divided by the root of their length, so that a penalty means the same for every length.

    `vectors` is (rows, numbers).
    """

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors

    def split(self, training: Codes, others: Codes) -> tuple[Floats, Floats]:
        mean, scale = self._moments(training)
        return (self._vectors[training] - mean) / scale, (self._vectors[others] - mean) / scale

    def on_vectors(self, weights: Weights) -> Weights:
        """Return weights fitted on all rows' features as weights of the vectors themselves."""
        mean, scale = self._moments(np.arange(len(self._vectors)))
        coefficients = weights.coefficients / scale
        return Weights(coefficients, weights.intercepts - coefficients @ mean)

    def _moments(self, rows: Codes) -> tuple[Floats, Floats]:
        chosen = self._vectors[rows]
        scale = chosen.std(axis=0)
        width = math.sqrt(self._vectors.shape[1])
        return chosen.mean(axis=0), np.where(scale > 1e-9, scale, 1.0) * width


class TextFeatures:
    """TF-IDF of words, pairs of words and character n-grams, in the space that the training rows span.

    A count weighs 1 + its logarithm, times the inverse document frequency; each row has length 1.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from scipy.sparse import csr_array

        numbers: dict[str, int] = {}
        data: list[float] = []
        indices: list[int] = []
        ends = [0]
        for text in texts:
            counts = Counter(numbers.setdefault(term, len(numbers)) for term in _terms(text[:_LONGEST_TEXT]))
            indices += counts
            data += (1.0 + math.log(count) for count in counts.values())
            ends.append(len(indices))
        self._counts: csr_array = csr_array((data, indices, ends), shape=(len(texts), max(1, len(numbers))))

    def split(self, training: Codes, others: Codes) -> tuple[Floats, Floats]:
        chosen = self._counts[training]
        held = np.bincount(chosen.indices, minlength=self._counts.shape[1])
        rarity = np.where(held > 0, np.log((1 + len(training)) / (1 + held)) + 1, 0.0)
        known, new = _weighted(chosen, rarity), _weighted(self._counts[others], rarity)
        products = (known @ known.T).toarray()
        sizes, directions = np.linalg.eigh(products)
        kept = sizes > 1e-9 * max(1.0, float(sizes.max()))
        directions = directions[:, kept]
        roots = np.sqrt(sizes[kept])
        return directions * roots, (new @ known.T).toarray() @ directions / roots


def _weighted(counts: csr_array, rarity: Floats) -> csr_array:
    from scipy.sparse import diags_array

    weighted = counts @ diags_array(rarity)
    lengths = np.sqrt(weighted.multiply(weighted).sum(axis=1))
    return (diags_array(1.0 / np.where(lengths > 0, lengths, 1.0)) @ weighted).tocsr()


def _terms(text: str) -> Iterator[str]:
    """Yield a text's words, pairs of words and character n-grams; the latter begin with a sign that no word has."""
    found = list(words(text))
    yield from found
    yield from (f"{first} {second}" for first, second in pairwise(found))
    for word in found:
        padded = f" {word} "
        for size in CHARACTERS:
            yield from (f"#{padded[at : at + size]}" for at in range(max(1, len(padded) - size + 1)))
