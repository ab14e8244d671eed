"""Similarity of texts by the words they share (TF-IDF and cosine)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from heapq import nsmallest

from promptkit.prompts.words import words


class LexicalIndex:
    """An index of texts by their words."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [_word_counts(text) for text in texts]
        self._rarity = _rarities(counts)
        self._size = len(texts)
        self._weights: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, held in enumerate(counts):
            weights = {word: count * self._rarity[word] for word, count in held.items()}
            length = math.sqrt(sum(weight * weight for weight in weights.values()))
            for word, weight in weights.items():
                self._weights[word].append((row, weight / length))

    def nearest(self, text: str, count: int) -> list[int]:
        """Return the positions of the `count` most similar texts, most similar first, ties in order."""
        scores = self.similarities(text)
        return nsmallest(count, range(self._size), key=lambda row: (-scores[row], row))

    def similarities(self, text: str) -> list[float]:
        """Return the similarity of each text to another one: the cosine times a factor that all of them share."""
        scores = [0.0] * self._size
        for word, times in _word_counts(text).items():
            for row, weight in self._weights.get(word, ()):
                scores[row] += times * self._rarity[word] * weight
        return scores


def _rarities(counts: Sequence[Counter[str]]) -> dict[str, float]:
    """Return the inverse document frequency of each word. `counts` holds the word counts of each text."""
    holders: Counter[str] = Counter(word for words in counts for word in words)
    return {word: math.log((1 + len(counts)) / (1 + held)) + 1 for word, held in holders.items()}


def _word_counts(text: str) -> Counter[str]:
    return Counter(words(text))


def word_vectors(texts: Sequence[str]) -> list[list[float]]:
    """Return each text as a unit vector over the words of all texts (TF-IDF); a zero vector for one without words."""
    counts = [_word_counts(text) for text in texts]
    rarity = _rarities(counts)
    places = {word: place for place, word in enumerate(sorted(rarity))}
    vectors = []
    for held in counts:
        vector = [0.0] * len(places)
        for word, count in held.items():
            vector[places[word]] = count * rarity[word]
        length = math.hypot(*vector) or 1.0
        vectors.append([weight / length for weight in vector])
    return vectors
