"""Failures by the fields of the data: where clearly more fails than elsewhere. For looking, never for a verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, lgamma
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.error_groups_similar import typical
from promptkit.evaluation.metrics.values import scalar_text

if TYPE_CHECKING:
    from promptkit.evaluation.error_groups import Failure
    from promptkit.evaluation.view import CellView

MOST_VALUES = 20
"""How many values a field may have to be looked at by value."""
FEWEST_ROWS = 5
"""How many rows a value must have, and all others together."""
MOST_SLICES = 5
CLEARLY = 0.05
NONE = "(none)"


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
    typical: tuple[Failure, ...] = ()

    def numbers(self) -> dict[str, Any]:
        """Return the slice as JSON without its rows."""
        names = ("field", "value", "failed", "rate", "low", "high", "elsewhere", "p", "q")
        return {"n": self.rows, **{name: getattr(self, name) for name in names}}


def text_fields(cells: Sequence[CellView], few: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that hold a row's texts: what is expected left out, and what has `few` values."""
    expected = _expected_fields(cells)
    first = {name: value for cell in cells for name, value in cell.fields.items()} if cells else {}
    texts = [name for name, value in first.items() if isinstance(value, str | dict | list) and name not in expected]
    return tuple([name for name in texts if name not in few] or texts)


def few_valued(cells: Sequence[CellView]) -> tuple[str, ...]:
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
    return NONE if value is None else scalar_text(value)


def _expected_fields(cells: Sequence[CellView]) -> frozenset[str]:
    """Return the fields that hold what is expected in every row."""
    told = [cell for cell in cells if cell.expect is not None]
    if not told:
        return frozenset()
    names = set(told[0].fields)
    for cell in told:
        names -= {name for name in names if name not in cell.fields or cell.fields[name] != cell.expect}
    return frozenset(names)


def slices(
    answered: Sequence[CellView],
    failures: Sequence[Failure],
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
    from promptkit.evaluation.statistics import benjamini_hochberg

    failing = _failing(answered, failures)
    tried = [
        each
        for name in fields
        for each in _slices(name, answered, failing)
        if each.rows >= FEWEST_ROWS and len(failing) - each.rows >= FEWEST_ROWS
    ]
    ps = [1.0 if each.p is None else each.p for each in tried]
    found = [
        _with(each, failures, texts, q=q, most=most)
        for each, q in zip(tried, benjamini_hochberg(ps), strict=True)
        if each.elsewhere is not None and each.low > each.elsewhere and each.p is not None and each.p <= CLEARLY
    ]
    found.sort(key=lambda each: (each.p or 0.0, -each.rate, each.field, each.value))
    return tuple(found[:MOST_SLICES]), len(tried)


def slices_of(
    name: str, answered: Sequence[CellView], failures: Sequence[Failure], texts: Sequence[str], *, most: int
) -> tuple[tuple[ErrorSlice, ...], int]:
    """Return the slices of one field, those with most failing rows first, at most MOST_VALUES, and how many it has."""
    from promptkit.evaluation.statistics import benjamini_hochberg

    found = list(_slices(name, answered, _failing(answered, failures)))
    qs = benjamini_hochberg([1.0 if each.p is None else each.p for each in found])
    told = [_with(each, failures, texts, q=q, most=most) for each, q in zip(found, qs, strict=True)]
    told.sort(key=lambda each: (-each.failed, -each.rate, each.value))
    return tuple(told[:MOST_VALUES]), len(found)


def _failing(answered: Sequence[CellView], failures: Sequence[Failure]) -> dict[int, tuple[Mapping[str, Any], bool]]:
    """Return each row that was answered with its fields, and whether it fails."""
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    fields = {}
    for cell in answered:
        counts[cell.row][0] += 1
        fields[cell.row] = cell.fields
    for failure in failures:
        counts[failure.cell.row][1] += 1
    return {row: (fields[row], 2 * failed >= cells) for row, (cells, failed) in counts.items()}


def _slices(
    name: str, answered: Sequence[CellView], failing: Mapping[int, tuple[Mapping[str, Any], bool]]
) -> Iterable[ErrorSlice]:
    from promptkit.evaluation.statistics import wilson

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


def _with(each: ErrorSlice, failures: Sequence[Failure], texts: Sequence[str], *, q: float, most: int) -> ErrorSlice:
    """Return a slice with its q, and those of its failures that are typical by their `texts`."""
    name = each.field
    members = [
        failure
        for failure in failures
        if name in failure.cell.fields and value_text(failure.cell.fields[name]) == each.value
    ]
    near = typical([failure.cell for failure in members], texts, most)
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
