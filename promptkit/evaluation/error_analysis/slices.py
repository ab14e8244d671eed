"""Slices and clusters of errors, by the values of a field and by similar texts. Exploratory, never a verdict."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isqrt, lgamma
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from promptkit.evaluation.metrics.values import scalar_text
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.multiple_comparisons import benjamini_hochberg

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import Cell
    from promptkit.evaluation.error_analysis.groups import ErrorCase

MOST_TEXTS = 300
"""Failing rows that are compared: all of fewer, evenly chosen of more."""
FEWEST_TEXTS = 6
FEWEST_IN_CLUSTER = 3
MOST_CLUSTERS = 8
MOST_WORDS = 3
LONGEST_TEXT = 1_000
KEYWORD_SHARE = 0.5
"""The share of a group that holds a telling word."""
KEYWORD_LIFT = 0.3
"""By how much that is more than the share of all rows that do."""

T = TypeVar("T")
_WORD = re.compile(r"[^\W\d_]{2,}")


class Keyword(NamedTuple):
    """A word with how many rows hold it, and how many of these fail."""

    word: str
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCluster:
    """Failing rows whose texts are alike. `share` is of those compared; `rows` are those nearest the centre."""

    count: int
    share: float
    words: tuple[Keyword, ...]
    rows: tuple[ErrorCase, ...]


def row_text(cell: Cell, fields: Sequence[str]) -> str:
    """Return the texts of a row in one, cut where they are long; with the answer where that is a text too."""
    parts = [cell.fields[name] for name in fields if name in cell.fields]
    if isinstance(cell.output, str) and len(cell.output.split()) > 5:
        parts.append(cell.output)
    texts = (part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts)
    return " ".join(text[:LONGEST_TEXT] for text in texts)


def typical_cells(cells: Sequence[Cell], fields: Sequence[str], most: int) -> list[int]:
    """Return the positions of at most `most` cells that are typical by their texts, each of another row.

    They are the shortest of the half that is nearest the centre of all: a person reads them, and a rule may quote them.
    """
    from promptkit.prompts.tfidf import word_vectors
    from promptkit.techniques.methods.pool import clusters

    rows: dict[int, int] = {}
    for at, cell in enumerate(cells):
        rows.setdefault(cell.row, at)
    chosen = _evenly_chosen(list(rows.values()))
    if len(chosen) <= most:
        return chosen[:most]
    texts = [row_text(cells[at], fields) for at in chosen]
    near = clusters(word_vectors(texts), 1)[0][: max(most, len(chosen) // 2)]
    return [chosen[at] for at in sorted(near, key=lambda at: len(texts[at]))[:most]]


def find_clusters(
    failures: Sequence[ErrorCase], passed: Sequence[Cell], fields: Sequence[str], *, most: int
) -> tuple[ErrorCluster, ...]:
    """Return the groups of failing rows that words tell from the others, the largest first.

    The texts are compared by TF-IDF and parted by k-means. A part without a telling word is no group: k-means parts
    what has no parts as well.
    """
    from promptkit.prompts.tfidf import word_vectors
    from promptkit.techniques.methods.pool import clusters

    by_row = {failure.cell.row: failure for failure in reversed(failures)}
    rows = [by_row[row] for row in sorted(by_row)]
    compared = _evenly_chosen(rows)
    if len(compared) < FEWEST_TEXTS:
        return ()
    texts = [row_text(each.cell, fields) for each in compared]
    failing = Counter(word for each in rows for word in _words(row_text(each.cell, fields)))
    others = {cell.row: cell for cell in passed if cell.row not in by_row}
    holding = failing + Counter(word for cell in others.values() for word in _words(row_text(cell, fields)))
    count = min(MOST_CLUSTERS, max(2, isqrt(len(compared) // 2)))
    vectors, words_of = word_vectors(texts), [_words(text) for text in texts]

    def telling(members: Sequence[int]) -> list[str]:
        return _keywords([words_of[at] for at in members], holding, failing, (len(rows), len(rows) + len(others)))

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
        if len(members) >= FEWEST_IN_CLUSTER and words:
            found.append(
                ErrorCluster(
                    count=len(members),
                    share=len(members) / len(compared),
                    words=tuple(Keyword(word, holding[word], failing[word]) for word in words),
                    rows=tuple(compared[at] for at in members[:most]),
                )
            )
    return tuple(sorted(found, key=lambda each: -each.count))


def _keywords(
    members: Sequence[frozenset[str]], holding: Counter[str], failing: Counter[str], failed_of: tuple[int, int]
) -> list[str]:
    """Return the words that most rows of a group have and few of all, the most telling first.

    Of the rows with such a word clearly more fail than of all (Wilson's lower end): what is merely frequent says
    nothing of failures.
    """
    failed, rows = failed_of
    inside = Counter(word for words in members for word in words)
    telling: dict[str, float] = {}
    for word, count in inside.items():
        share = count / len(members)
        more = share - holding[word] / rows
        if share >= KEYWORD_SHARE and more >= KEYWORD_LIFT and wilson(failing[word], holding[word]).low > failed / rows:
            telling[word] = more
    return sorted(telling, key=lambda word: (-round(telling[word], 2), -len(word), word))[:MOST_WORDS]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _evenly_chosen(items: list[T]) -> list[T]:
    step = len(items) / MOST_TEXTS
    return items if step <= 1 else [items[int(at * step)] for at in range(MOST_TEXTS)]


MOST_VALUES = 20
"""How many values a field may have to be looked at by value."""
FEWEST_ROWS = 5
"""How many rows a value must have, and all others together."""
MOST_SLICES = 5
SIGNIFICANT = 0.05
NO_VALUE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSlice:
    """The rows with one value of a field. `rate` is the share of them that fails, with Wilson's 95 % interval.

    `elsewhere` is the share of all other rows, `p` the chance of as many failures here if the value decided nothing
    (Fisher, one-sided), and `q` what it is among all slices tried (Benjamini and Hochberg); None without other rows.
    """

    field: str
    value: str
    rows: int
    failed: int
    rate: float
    low: float
    high: float
    elsewhere: float | None
    p: float | None
    q: float | None
    typical: tuple[ErrorCase, ...] = ()

    def numbers(self) -> dict[str, Any]:
        """Return the slice as JSON without its rows."""
        names = ("field", "value", "failed", "rate", "low", "high", "elsewhere", "p", "q")
        return {"n": self.rows, **{name: getattr(self, name) for name in names}}


def text_fields(cells: Sequence[Cell], few: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that hold a row's texts: what is expected left out, and what has `few` values."""
    expected = _expected_fields(cells)
    first = {name: value for cell in cells for name, value in cell.fields.items()} if cells else {}
    texts = [name for name, value in first.items() if isinstance(value, str | dict | list) and name not in expected]
    return tuple([name for name in texts if name not in few] or texts)


def categorical_fields(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the fields whose values can be told apart by rows enough: few of them, and not what is expected."""
    rows = {cell.row: cell.fields for cell in cells}
    values: defaultdict[str, set[str]] = defaultdict(set)
    gone = set(_expected_fields(cells))
    for fields in rows.values():
        for name, value in fields.items():
            if name in gone:
                continue
            text = value_text(value)
            if text is None:
                gone.add(name)
                continue
            values[name].add(text)
            if len(values[name]) > MOST_VALUES:
                gone.add(name)
    return tuple(
        name for name, found in values.items() if name not in gone and 1 < len(found) <= len(rows) / FEWEST_ROWS
    )


def value_text(value: Any) -> str | None:
    """Return a field's value as people name it, None for what is no single value."""
    return NO_VALUE if value is None else scalar_text(value)


def _expected_fields(cells: Sequence[Cell]) -> frozenset[str]:
    """Return the fields that hold what is expected in every row."""
    told = [cell for cell in cells if cell.expect is not None]
    if not told:
        return frozenset()
    names = set(told[0].fields)
    for cell in told:
        names -= {name for name in names if name not in cell.fields or cell.fields[name] != cell.expect}
    return frozenset(names)


def find_slices(
    answered: Sequence[Cell],
    failures: Sequence[ErrorCase],
    fields: Iterable[str],
    texts: Sequence[str],
    *,
    most: int,
) -> tuple[tuple[ErrorSlice, ...], int]:
    """Return the slices of some fields in which clearly more rows fail than elsewhere, and how many were tried.

    `texts` are the fields that hold a row's texts. Rows are counted, as a row's repeats depend on each other: one fails
    if half of its answers do. Clearly more is where Wilson's lower end lies above the rate elsewhere, and p is at most
    0.05.
    """
    failing = _rows_with_errors(answered, failures)
    tried = [
        each
        for name in fields
        for each in _slices_by_value(name, answered, failing)
        if each.rows >= FEWEST_ROWS and len(failing) - each.rows >= FEWEST_ROWS
    ]
    ps = [1.0 if each.p is None else each.p for each in tried]
    found = [
        _with_examples(each, failures, texts, q=q, most=most)
        for each, q in zip(tried, benjamini_hochberg(ps), strict=True)
        if each.elsewhere is not None and each.low > each.elsewhere and each.p is not None and each.p <= SIGNIFICANT
    ]
    found.sort(key=lambda each: (each.p or 0.0, -each.rate, each.field, each.value))
    return tuple(found[:MOST_SLICES]), len(tried)


def field_slices(
    name: str, answered: Sequence[Cell], failures: Sequence[ErrorCase], texts: Sequence[str], *, most: int
) -> tuple[tuple[ErrorSlice, ...], int]:
    """Return the slices of one field, those with most failing rows first, at most MOST_VALUES, and how many it has."""
    found = list(_slices_by_value(name, answered, _rows_with_errors(answered, failures)))
    qs = benjamini_hochberg([1.0 if each.p is None else each.p for each in found])
    told = [_with_examples(each, failures, texts, q=q, most=most) for each, q in zip(found, qs, strict=True)]
    told.sort(key=lambda each: (-each.failed, -each.rate, each.value))
    return tuple(told[:MOST_VALUES]), len(found)


def _rows_with_errors(
    answered: Sequence[Cell], failures: Sequence[ErrorCase]
) -> dict[int, tuple[Mapping[str, Any], bool]]:
    """Return each row that was answered with its fields, and whether it fails."""
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    fields = {}
    for cell in answered:
        counts[cell.row][0] += 1
        fields[cell.row] = cell.fields
    for failure in failures:
        counts[failure.cell.row][1] += 1
    return {row: (fields[row], 2 * failed >= cells) for row, (cells, failed) in counts.items()}


def _slices_by_value(
    name: str, answered: Sequence[Cell], failing: Mapping[int, tuple[Mapping[str, Any], bool]]
) -> Iterable[ErrorSlice]:

    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for fields, fails in failing.values():
        value = value_text(fields[name]) if name in fields else None
        if value is not None:
            counts[value][0] += 1
            counts[value][1] += fails
    total, failed = len(failing), sum(fails for _, fails in failing.values())
    for value, (rows, wrong) in counts.items():
        others = total - rows
        yield ErrorSlice(
            field=name,
            value=value,
            rows=rows,
            failed=wrong,
            rate=wrong / rows,
            **wilson(wrong, rows)._asdict(),
            elsewhere=(failed - wrong) / others if others else None,
            p=fisher(wrong, rows, failed, total) if others else None,
            q=None,
        )


def _with_examples(
    each: ErrorSlice, failures: Sequence[ErrorCase], texts: Sequence[str], *, q: float, most: int
) -> ErrorSlice:
    """Return a slice with its q, and those of its failures that are typical by their `texts`."""
    name = each.field
    members = [
        failure
        for failure in failures
        if name in failure.cell.fields and value_text(failure.cell.fields[name]) == each.value
    ]
    near = typical_cells([failure.cell for failure in members], texts, most)
    return replace(each, q=None if each.p is None else q, typical=tuple(members[at] for at in near))


def fisher(failed_here: int, here: int, failed: int, total: int) -> float:
    """Return how likely at least `failed_here` of `here` rows fail, where `failed` of `total` do and nothing else
    decides (Fisher 1935, The Design of Experiments; the hypergeometric tail)."""
    most = min(here, failed)
    whole = _log_choose(total, here)
    tail = sum(
        exp(_log_choose(failed, each) + _log_choose(total - failed, here - each) - whole)
        for each in range(failed_here, most + 1)
        if 0 <= here - each <= total - failed
    )
    return min(1.0, tail)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
