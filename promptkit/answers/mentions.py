"""Texts of a closed set found among other words: one pass over a reply, however many texts there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(r"\w+|\W")
_CACHED: Final = 8
_ROOT: Final = 0


class Mentions:
    """Finds texts as whole words, in any case.

    An Aho-Corasick automaton over the tokens of the texts, each read from its end. It goes through a reply from the
    end too, so that at each token it knows the longest text that begins there.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._words: dict[str, int] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._back: list[int] = []
        self._longest = [0]
        self._build(texts)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of the longest text at each place where one begins, in order; they may overlap."""
        tokens = _TOKEN.findall(text)
        lengths = self._lengths(tokens)
        starts = [0]
        for token in tokens:
            starts.append(starts[-1] + len(token))
        for at, length in enumerate(lengths):
            if length:
                yield starts[at], starts[at + length]

    def _lengths(self, tokens: Sequence[str]) -> list[int]:
        """Return for each token how many tokens the longest text has that begins with it."""
        words, following, back, longest = self._words, self._next, self._back, self._longest
        lengths = [0] * len(tokens)
        state = _ROOT
        for at in range(len(tokens) - 1, -1, -1):
            word = words.get(tokens[at].casefold())
            if word is None:
                state = _ROOT
                continue
            while (found := following.get((state, word))) is None and state:
                state = back[state]
            state = found or _ROOT
            lengths[at] = longest[state]
        return lengths

    def _build(self, texts: Sequence[str]) -> None:
        parents, depths = [_ROOT], [0]
        for text in texts:
            state = _ROOT
            for token in reversed(_TOKEN.findall(text)):
                word = self._words.setdefault(token.casefold(), len(self._words))
                found = self._next.setdefault((state, word), len(parents))
                if found == len(parents):
                    parents.append(state)
                    depths.append(depths[state] + 1)
                    self._longest.append(0)
                state = found
            self._longest[state] = depths[state]
        self._back = [_ROOT] * len(parents)
        # Those that lead from the root stay at the root; the others come after all that are shorter.
        for (parent, word), state in sorted(self._next.items(), key=lambda step: depths[step[1]]):
            if parent:
                shorter = self._back[parent]
                while shorter and (shorter, word) not in self._next:
                    shorter = self._back[shorter]
                self._back[state] = self._next.get((shorter, word), _ROOT)
            self._longest[state] = self._longest[state] or self._longest[self._back[state]]


@lru_cache(maxsize=_CACHED)
def mentions_of(texts: tuple[str, ...]) -> Mentions:
    """Return what finds these texts; made once for a set that is used again."""
    return Mentions(texts)
