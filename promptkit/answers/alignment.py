"""Two sequences of words side by side: which word of one is which of the other."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

MOST_PAIRS: Final = 90_000
"""Up to how many pairs of words difflib compares them; what it costs grows with the cube of their count."""


def aligned(left: Sequence[str], right: Sequence[str]) -> dict[int, int]:
    """Return for places in `left` the places in `right` with the same word, both in order.

    Longer sequences are cut at the words that stand once in each (patience diff). A long part between two such words
    that has none of its own is left unaligned but for where it begins and ends alike.
    """
    found: dict[int, int] = {}
    begin = (0, 0)
    for end in (*_anchors(left, right), (len(left), len(right))):
        found.update(_between(left, right, begin, end))
        begin = end
    return found


def _anchors(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of words that stand once in each sequence: the longest run of them that is in order."""
    if len(left) * len(right) <= MOST_PAIRS:
        return []
    once = [{word for word, count in Counter(words).items() if count == 1} for words in (left, right)]
    shared = once[0] & once[1]
    place = {word: at for at, word in enumerate(right) if word in shared}
    ends: list[int] = []
    last: list[tuple[int, int]] = []
    before: dict[tuple[int, int], tuple[int, int] | None] = {}
    for at, word in enumerate(left):
        if word in place:
            pair = (at, place[word])
            length = bisect_left(ends, pair[1])
            before[pair] = last[length - 1] if length else None
            ends[length : length + 1], last[length : length + 1] = [pair[1]], [pair]
    run: list[tuple[int, int]] = []
    step = last[-1] if last else None
    while step is not None:
        run.append(step)
        step = before[step]
    return run[::-1]


def _between(
    left: Sequence[str], right: Sequence[str], begin: tuple[int, int], end: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield the places of the same words in a part of each sequence."""
    (first, other_first), (last, other_last) = begin, end
    while first < last and other_first < other_last and left[first] == right[other_first]:
        yield first, other_first
        first, other_first = first + 1, other_first + 1
    while first < last and other_first < other_last and left[last - 1] == right[other_last - 1]:
        last, other_last = last - 1, other_last - 1
        yield last, other_last
    if (last - first) * (other_last - other_first) <= MOST_PAIRS:
        matcher = SequenceMatcher(None, left[first:last], right[other_first:other_last])
        for block in matcher.get_matching_blocks():
            for step in range(block.size):
                yield first + block.a + step, other_first + block.b + step
