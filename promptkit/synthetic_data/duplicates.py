"""Near-duplicates among generated texts, by the measure of Self-Instruct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptkit.evaluation.suite.near_duplicates import words_of

MOST_SIMILAR: Final = 0.7
"""The ROUGE-L F1 from which a text repeats another one (Wang et al. 2023, ACL, section 2.2)."""
LONGEST_COMPARED: Final = 300
"""The words of a text that are compared: the longest common subsequence takes time in the square of them."""


class KnownTexts:
    """The inputs that a new one must differ from."""

    def __init__(self) -> None:
        self._known: list[tuple[tuple[str, ...], Counter[str]]] = []
        self._exact: set[tuple[str, ...]] = set()

    def add(self, inputs: Mapping[str, Any]) -> None:
        """Add the inputs of a row."""
        words = words_of(inputs)[:LONGEST_COMPARED]
        self._exact.add(words)
        self._known.append((words, Counter(words)))

    def repeats(self, inputs: Mapping[str, Any]) -> bool:
        """Return True where the inputs nearly repeat known ones."""
        words = words_of(inputs)[:LONGEST_COMPARED]
        if words in self._exact:
            return True
        counts = Counter(words)
        for other, other_counts in self._known:
            least = MOST_SIMILAR / 2 * (len(words) + len(other))
            # The words in common bound the subsequence in common, and are counted much faster.
            if (counts & other_counts).total() >= least > 0 and _longest_common(words, other) >= least:
                return True
        return False


def _longest_common(words: Sequence[str], others: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(others) + 1)
    for word in words:
        before = 0
        for at, other in enumerate(others, start=1):
            above = row[at]
            row[at] = before + 1 if word == other else max(above, row[at - 1])
            before = above
    return row[-1]
