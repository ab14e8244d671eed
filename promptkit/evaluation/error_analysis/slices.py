"""Slices of errors by the values of a field, and clusters of errors with similar texts: exploratory, not verdicts."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isqrt, lgamma
from typing import Any, NamedTuple, TypeVar

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.error_analysis.cases import ErrorCase
from promptkit.evaluation.metrics.values import scalar_text
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.multiple_comparisons import benjamini_hochberg
from promptkit.prompts.tfidf import word_vectors
from promptkit.techniques.methods.pool import clusters

MOST_TEXTS = 300
"""The most failing rows that are compared; of more, this many are chosen evenly."""
FEWEST_TEXTS = 6
FEWEST_IN_CLUSTER = 3
MOST_CLUSTERS = 8
MOST_WORDS = 3
LONGEST_TEXT = 1_000
KEYWORD_SHARE = 0.5
"""The least share of a cluster's rows that hold a keyword."""
KEYWORD_LIFT = 0.3
"""The least excess of that share over the share of all rows."""

T = TypeVar("T")
_WORD = re.compile(r"[^\W\d_]{2,}")


class Keyword(NamedTuple):
    """A word of a cluster, with the number of rows that hold it and of those that fail."""

    word: str
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCluster:
    """Failing rows with similar texts. `share` is of the rows compared; `rows` are those nearest the centre."""

    count: int
    share: float
    words: tuple[Keyword, ...]
    rows: tuple[ErrorCase, ...]


def row_text(cell: Cell, fields: Sequence[str]) -> str:
    """Return the texts of a row joined, cut where they are long, with the answer if it is a text too."""
    parts = [cell.fields[name] for name in fields if name in cell.fields]
    if isinstance(cell.output, str) and len(cell.output.split()) > 5:
        parts.append(cell.output)
    texts = (part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts)
    return " ".join(text[:LONGEST_TEXT] for text in texts)


def typical_cells(cells: Sequence[Cell], fields: Sequence[str], most: int) -> list[int]:
    """Return the positions of at most `most` cells with typical texts, each of another row.

    They are the shortest of the half nearest the centre of all, since people read them and a rule may quote them.
    """
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
    cases: Sequence[ErrorCase], passed: Sequence[Cell], fields: Sequence[str], *, most: int
) -> tuple[ErrorCluster, ...]:
    """Return the clusters of failing rows that keywords distinguish from other rows, the largest first.

    Texts are compared by TF-IDF and clustered by k-means. A cluster without a keyword is dropped, since k-means finds
    clusters even where there are none.
    """
    by_row = {case.cell.row: case for case in reversed(cases)}
    rows = [by_row[row] for row in sorted(by_row)]
    compared = _evenly_chosen(rows)
    if len(compared) < FEWEST_TEXTS:
        return ()
    texts = [row_text(case.cell, fields) for case in compared]
    failing = Counter(word for case in rows for word in _words(row_text(case.cell, fields)))
    others = {cell.row: cell for cell in passed if cell.row not in by_row}
    holding = failing + Counter(word for cell in others.values() for word in _words(row_text(cell, fields)))
    count = min(MOST_CLUSTERS, max(2, isqrt(len(compared) // 2)))
    vectors, words_of = word_vectors(texts), [_words(text) for text in texts]

    def telling(members: Sequence[int]) -> list[str]:
        return _keywords([words_of[at] for at in members], holding, failing, (len(rows), len(rows) + len(others)))

    # Clusters with the same first keyword are one: k-means makes as many clusters as it is asked for.
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
    return tuple(sorted(found, key=lambda cluster: -cluster.count))


def _keywords(
    members: Sequence[frozenset[str]], holding: Counter[str], failing: Counter[str], failed_of: tuple[int, int]
) -> list[str]:
    """Return the words that most rows of a cluster have and few others, the most distinctive first.

    Clearly more of the rows with a keyword fail than of all rows (by Wilson's lower end), since a frequent word alone
    says nothing about errors.
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
"""The most values of a field that is sliced by value."""
FEWEST_ROWS = 5
"""The fewest rows of a slice, and of all other rows together."""
MOST_SLICES = 5
SIGNIFICANT = 0.05
NO_VALUE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSlice:
    """The rows with one value of a field. `rate` is the share of them that fails, with Wilson's interval.

    `elsewhere` is the share of all other rows, `p` the probability of as many failures here if the value had no effect
    (Fisher, one-sided), and `q` is p adjusted for all slices tried (Benjamini and Hochberg). They are None without
    other rows.
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
    """Return the fields that hold a row's texts, without the expected answer and the `few` categorical fields."""
    expected = _expected_fields(cells)
    first = {name: value for cell in cells for name, value in cell.fields.items()} if cells else {}
    texts = [name for name, value in first.items() if isinstance(value, str | dict | list) and name not in expected]
    return tuple([name for name in texts if name not in few] or texts)


def categorical_fields(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the fields with few values and enough rows for every value, without the expected answer."""
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
    """Return a field's value as text, None for a list or mapping."""
    return NO_VALUE if value is None else scalar_text(value)


def _expected_fields(cells: Sequence[Cell]) -> frozenset[str]:
    """Return the fields that hold the expected answer in every row."""
    labelled = [cell for cell in cells if cell.expect is not None]
    if not labelled:
        return frozenset()
    names = set(labelled[0].fields)
    for cell in labelled:
        names -= {name for name in names if name not in cell.fields or cell.fields[name] != cell.expect}
    return frozenset(names)


def find_slices(
    answered: Sequence[Cell],
    cases: Sequence[ErrorCase],
    fields: Iterable[str],
    texts: Sequence[str],
    *,
    most: int,
) -> tuple[tuple[ErrorSlice, ...], int]:
    """Return the slices of some fields in which clearly more rows fail than elsewhere, and the number of slices tried.

    `texts` are the fields that hold a row's texts. Rows are counted, because the repeats of a row depend on each other;
    a row fails if half of its answers do. Clearly more means that Wilson's lower end lies above the rate elsewhere and
    p is at most SIGNIFICANT.
    """
    failing = _rows_with_errors(answered, cases)
    tried = [
        part
        for name in fields
        for part in _slices_by_value(name, answered, failing)
        if part.rows >= FEWEST_ROWS and len(failing) - part.rows >= FEWEST_ROWS
    ]
    ps = [1.0 if part.p is None else part.p for part in tried]
    found = [
        _with_examples(part, cases, texts, q=q, most=most)
        for part, q in zip(tried, benjamini_hochberg(ps), strict=True)
        if part.elsewhere is not None and part.low > part.elsewhere and part.p is not None and part.p <= SIGNIFICANT
    ]
    found.sort(key=lambda part: (part.p or 0.0, -part.rate, part.field, part.value))
    return tuple(found[:MOST_SLICES]), len(tried)


def field_slices(
    name: str, answered: Sequence[Cell], cases: Sequence[ErrorCase], texts: Sequence[str], *, most: int
) -> tuple[tuple[ErrorSlice, ...], int]:
    """Return the slices of one field, those with most failing rows first, at most MOST_VALUES, and their number."""
    found = list(_slices_by_value(name, answered, _rows_with_errors(answered, cases)))
    qs = benjamini_hochberg([1.0 if part.p is None else part.p for part in found])
    slices = [_with_examples(part, cases, texts, q=q, most=most) for part, q in zip(found, qs, strict=True)]
    slices.sort(key=lambda part: (-part.failed, -part.rate, part.value))
    return tuple(slices[:MOST_VALUES]), len(found)


def _rows_with_errors(
    answered: Sequence[Cell], cases: Sequence[ErrorCase]
) -> dict[int, tuple[Mapping[str, Any], bool]]:
    """Return the fields of each answered row, and whether it fails."""
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    fields = {}
    for cell in answered:
        counts[cell.row][0] += 1
        fields[cell.row] = cell.fields
    for case in cases:
        counts[case.cell.row][1] += 1
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
    part: ErrorSlice, cases: Sequence[ErrorCase], texts: Sequence[str], *, q: float, most: int
) -> ErrorSlice:
    """Return a slice with its q, and with its errors whose `texts` are typical."""
    name = part.field
    members = [case for case in cases if name in case.cell.fields and value_text(case.cell.fields[name]) == part.value]
    near = typical_cells([case.cell for case in members], texts, most)
    return replace(part, q=None if part.p is None else q, typical=tuple(members[at] for at in near))


def fisher(failed_here: int, here: int, failed: int, total: int) -> float:
    """Return the probability that at least `failed_here` of `here` rows fail by chance where `failed` of `total` do.

    It is the one-sided exact test (Fisher 1935, The Design of Experiments), the tail of a hypergeometric distribution.
    """
    most = min(here, failed)
    whole = _log_choose(total, here)
    tail = sum(
        exp(_log_choose(failed, count) + _log_choose(total - failed, here - count) - whole)
        for count in range(failed_here, most + 1)
        if 0 <= here - count <= total - failed
    )
    return min(1.0, tail)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
