"""The words of a text, and n-grams of words.

Some modules split words differently on purpose: passages and checks of instructions count each sign of a script without
blanks as a word, and the words that characterize failing rows consist of letters only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded: runs of letters, digits and underscores."""
    return _WORD.findall(text.casefold())


def ngrams(text_words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """Return the distinct runs of `size` words; none of a shorter text."""
    return {tuple(text_words[at : at + size]) for at in range(len(text_words) - size + 1)}
