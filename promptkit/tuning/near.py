"""Rows that say nearly the same: one of them as a demonstration would tell the other's answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

GRAM: Final = 13
MOST_SHARED: Final = 0.8
_WORD: Final = re.compile(r"\w+")


def words_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of all texts in inputs, in order and in lower case."""
    return tuple(word for text in _texts(inputs) for word in _WORD.findall(text.casefold()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif value is not None:
        yield str(value)


class Nearness:
    """Rows by what they say: the same words, or more than 0.8 of the 13-grams of the other."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._same: set[tuple[str, ...]] = set()
        self._holders: dict[tuple[str, ...], set[int]] = {}
        for number, inputs in enumerate(rows):
            words = words_of(inputs)
            self._same.add(words)
            for gram in _grams(words):
                self._holders.setdefault(gram, set()).add(number)

    def holds(self, inputs: Mapping[str, Any]) -> bool:
        """Tell whether one of the rows says nearly what these inputs say."""
        words = words_of(inputs)
        if words in self._same:
            return True
        grams = _grams(words)
        shared = Counter(row for gram in grams for row in self._holders.get(gram, ()))
        return bool(shared) and max(shared.values()) > MOST_SHARED * len(grams)


def _grams(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {words[at : at + GRAM] for at in range(len(words) - GRAM + 1)}
