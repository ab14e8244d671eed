"""How near a text is to the expected one, by the fewest edits that make it the same."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from promptkit.evaluation.metrics.base import Given, Score
from promptkit.evaluation.metrics.families import Graded
from promptkit.evaluation.metrics.values import scalar_text, shown, text_of

LONGEST = 50_000


class Edit(Graded):
    """1 − Levenshtein's distance / length of the longer text: 1 is the same text, 0 shares nothing."""

    kind = "edit"
    about = "similarity by edit distance, letter by letter"

    def measure(self, given: Given) -> Score:
        problem = self.wrong_expected(given.expected)
        if problem:
            raise ValueError(problem)
        got, expected = text_of(given.got), text_of(given.expected)
        longer = max(len(got), len(expected))
        if longer > LONGEST:
            return Score(0.0, {"problem": f"the answer has more than {LONGEST:,} characters"})
        edits = distance(got, expected)
        return Score(1 - edits / longer if longer else 1.0, {"edits": edits})

    def wrong_expected(self, expected: Any) -> str | None:
        text = scalar_text(expected)
        if text is None:
            return f"{shown(expected)} is no text"
        return f"the expected text has more than {LONGEST:,} characters" if len(text) > LONGEST else None


def distance(a: str, b: str) -> int:
    """Return Levenshtein's distance: the fewest inserted, deleted and replaced characters that turn `a` into `b`.

    A column of the table of distances is one number, a bit a row (Myers 1999, Journal of the ACM 46, in the form of
    Hyyrö 2003): with Python's long integers some length(a) · length(b) / 64 steps.
    """
    if len(a) < len(b):
        a, b = b, a
    if not b:
        return len(a)
    places: dict[str, int] = defaultdict(int)
    for row, character in enumerate(b):
        places[character] |= 1 << row
    everywhere, last = (1 << len(b)) - 1, 1 << (len(b) - 1)
    # Rows where the distance rises, or falls, by one from the row above.
    rises, falls, edits = everywhere, 0, len(b)
    for character in a:
        match = places.get(character, 0)
        diagonal = (((match & rises) + rises) ^ rises) | match | falls
        right_rises = falls | (everywhere & ~(diagonal | rises))
        right_falls = rises & diagonal
        edits += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1) | 1
        right_falls <<= 1
        rises = (right_falls | ~(diagonal | right_rises)) & everywhere
        falls = right_rises & diagonal & everywhere
    return edits
