"""Near-duplicate rows: a demonstration that nearly repeats a scored row would give away its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from promptkit.prompts.words import GRAM, MOST_SHARED, ngrams, words


def words_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lower-case words of all texts in inputs, in order."""
    return tuple(word for text in _texts(inputs) for word in words(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)


def near_duplicates(rows: Iterable[Mapping[str, Any]], few: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the places of the `few` rows that nearly repeat one of `rows`.

    That is: the same words, or more than 0.8 of the 13-grams of the row in `few`. Only the n-grams of the few are kept
    in memory, as there may be many rows.
    """
    words_of_few = [words_of(inputs) for inputs in few]
    grams = [ngrams(row_words, GRAM) for row_words in words_of_few]
    holders: dict[tuple[str, ...], list[int]] = {}
    for place, row_grams in enumerate(grams):
        for gram in row_grams:
            holders.setdefault(gram, []).append(place)
    places: set[int] = set()
    for inputs in rows:
        row_words = words_of(inputs)
        places |= {place for place, few_words in enumerate(words_of_few) if few_words == row_words}
        shared = Counter(place for gram in ngrams(row_words, GRAM) for place in holders.get(gram, ()))
        places |= {place for place, count in shared.items() if count > MOST_SHARED * len(grams[place])}
    return places


def mutual_near_duplicates(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the places of the rows that nearly repeat another one of them, or are nearly repeated by one."""
    words_of_rows = [words_of(inputs) for inputs in rows]
    times = Counter(words_of_rows)
    places = {place for place, row_words in enumerate(words_of_rows) if times[row_words] > 1}
    grams = [ngrams(row_words, GRAM) for row_words in words_of_rows]
    holders: dict[tuple[str, ...], list[int]] = {}
    for place, row_grams in enumerate(grams):
        for gram in row_grams:
            holders.setdefault(gram, []).append(place)
    for place, row_grams in enumerate(grams):
        shared = Counter(other for gram in row_grams for other in holders[gram] if other != place)
        for other, count in shared.items():
            if count > MOST_SHARED * min(len(row_grams), len(grams[other])):
                places |= {place, other}
    return places
