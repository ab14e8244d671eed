"""The words of a text, and n-grams of words.

Some modules split words differently on purpose: passages and checks of instructions count each sign of a script without
blanks as a word, and the words that characterize failing rows consist of letters only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"\w+")
GRAM: Final = 13
"""Words of an n-gram by which near-duplicates are found: as long as decontamination usually takes them."""
MOST_SHARED: Final = 0.8
"""The share of its n-grams that a text may have in common with another one that it does not nearly repeat."""


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded: runs of letters, digits and underscores."""
    return _WORD.findall(text.casefold())


def ngrams(text_words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """Return the distinct runs of `size` words; none of a shorter text."""
    return {tuple(text_words[at : at + size]) for at in range(len(text_words) - size + 1)}


def nearly_repeats(text_words: Sequence[str], other_words: Sequence[str]) -> bool:
    """Tell whether a text nearly repeats another: the same words, or more than 0.8 of its 13-grams."""
    if not text_words:
        return False
    if list(text_words) == list(other_words):
        return True
    grams = ngrams(text_words, GRAM)
    return bool(grams) and len(grams & ngrams(other_words, GRAM)) > MOST_SHARED * len(grams)
