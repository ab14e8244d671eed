"""Failing rows with similar texts, each group named by the words that tell it from all other rows."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from promptkit.evaluation.error_groups import Failure
    from promptkit.evaluation.view import CellView

MOST_TEXTS = 300
"""Failing rows that are compared: all of fewer, evenly chosen of more."""
FEWEST_TEXTS = 6
FEWEST_ALIKE = 3
MOST_GROUPS = 8
MOST_WORDS = 3
LONGEST = 1_000
OFTEN = 0.5
"""The share of a group that holds a telling word."""
TELLING = 0.3
"""By how much that is more than the share of all rows that do."""

T = TypeVar("T")
_WORD = re.compile(r"[^\W\d_]{2,}")


class Word(NamedTuple):
    """A word with how many rows hold it, and how many of these fail."""

    word: str
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarErrors:
    """Failing rows whose texts are alike. `share` is of those compared; `rows` are those nearest the centre."""

    count: int
    share: float
    words: tuple[Word, ...]
    rows: tuple[Failure, ...]


def row_text(cell: CellView, fields: Sequence[str]) -> str:
    """Return the texts of a row in one, cut where they are long; with the answer where that is a text too."""
    parts = [cell.fields[name] for name in fields if name in cell.fields]
    if isinstance(cell.output, str) and len(cell.output.split()) > 5:
        parts.append(cell.output)
    texts = (part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts)
    return " ".join(text[:LONGEST] for text in texts)


def typical(cells: Sequence[CellView], fields: Sequence[str], most: int) -> list[int]:
    """Return the positions of at most `most` cells that are typical by their texts, each of another row.

    They are the shortest of the half that is nearest the centre of all: a person reads them, and a rule may quote them.
    """
    from promptkit.prompts import word_vectors
    from promptkit.techniques import clusters

    rows: dict[int, int] = {}
    for at, cell in enumerate(cells):
        rows.setdefault(cell.row, at)
    chosen = _evenly(list(rows.values()))
    if len(chosen) <= most:
        return chosen[:most]
    texts = [row_text(cells[at], fields) for at in chosen]
    near = clusters(word_vectors(texts), 1)[0][: max(most, len(chosen) // 2)]
    return [chosen[at] for at in sorted(near, key=lambda at: len(texts[at]))[:most]]


def similar(
    failures: Sequence[Failure], passed: Sequence[CellView], fields: Sequence[str], *, most: int
) -> tuple[SimilarErrors, ...]:
    """Return the groups of failing rows that words tell from the others, the largest first.

    The texts are compared by TF-IDF and parted by k-means. A part without a telling word is no group: k-means parts
    what has no parts as well.
    """
    from promptkit.prompts import word_vectors
    from promptkit.techniques import clusters

    by_row = {failure.cell.row: failure for failure in reversed(failures)}
    rows = [by_row[row] for row in sorted(by_row)]
    compared = _evenly(rows)
    if len(compared) < FEWEST_TEXTS:
        return ()
    texts = [row_text(each.cell, fields) for each in compared]
    failing = Counter(word for each in rows for word in _words(row_text(each.cell, fields)))
    others = {cell.row: cell for cell in passed if cell.row not in by_row}
    holding = failing + Counter(word for cell in others.values() for word in _words(row_text(cell, fields)))
    count = min(MOST_GROUPS, max(2, isqrt(len(compared) // 2)))
    vectors, words_of = word_vectors(texts), [_words(text) for text in texts]

    def telling(members: Sequence[int]) -> list[str]:
        return _telling([words_of[at] for at in members], holding, failing, (len(rows), len(rows) + len(others)))

    # Parts that one word tells from all others are one: k-means makes as many parts as it is asked for.
    by_word: defaultdict[str, list[int]] = defaultdict(list)
    for members in clusters(vectors, count):
        if words := telling(members):
            by_word[words[0]] += members
    found = []
    for merged in by_word.values():
        words = telling(merged)
        alike = [at for at in merged if not words_of[at].isdisjoint(words)]
        members = [alike[at] for part in clusters([vectors[at] for at in alike], 1) for at in part]
        if len(members) >= FEWEST_ALIKE and words:
            found.append(
                SimilarErrors(
                    count=len(members),
                    share=len(members) / len(compared),
                    words=tuple(Word(word, holding[word], failing[word]) for word in words),
                    rows=tuple(compared[at] for at in members[:most]),
                )
            )
    return tuple(sorted(found, key=lambda each: -each.count))


def _telling(
    members: Sequence[frozenset[str]], holding: Counter[str], failing: Counter[str], failed_of: tuple[int, int]
) -> list[str]:
    """Return the words that most rows of a group have and few of all, the most telling first.

    Of the rows with such a word clearly more fail than of all (Wilson's lower end): what is merely frequent says
    nothing of failures.
    """
    from promptkit.evaluation.statistics import wilson

    failed, rows = failed_of
    inside = Counter(word for words in members for word in words)
    telling: dict[str, float] = {}
    for word, count in inside.items():
        share = count / len(members)
        more = share - holding[word] / rows
        if share >= OFTEN and more >= TELLING and wilson(failing[word], holding[word]).low > failed / rows:
            telling[word] = more
    return sorted(telling, key=lambda word: (-round(telling[word], 2), -len(word), word))[:MOST_WORDS]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _evenly(items: list[T]) -> list[T]:
    step = len(items) / MOST_TEXTS
    return items if step <= 1 else [items[int(at * step)] for at in range(MOST_TEXTS)]
