"""The metric `set_f1`: F1 of the items of a list, or of the fields of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from promptkit.answers.base import AnswerType
from promptkit.answers.labels import Labels
from promptkit.answers.lists import ListOf
from promptkit.answers.spans import Spans
from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.base import Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import NOTHING_SCORED, Graded, mean_estimate, metric_difference
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    expected_of,
    frozen,
    reading_fault,
    shown_value,
)
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.evaluation.statistics.ratio import f1, f1_difference


class SetF1Parameters(ClosedModel):
    """`by: row` is the mean of the rows' F1, `by: micro` one F1 over all items of all rows.

    With `duplicates` an item counts as often as the list has it. `count: fields` is for lists of records: each field of
    a record counts, and records are paired so that most fields agree.
    """

    by: Literal["row", "micro"] = "row"
    duplicates: bool = False
    count: Literal["items", "fields"] = "items"


class SetF1(Graded):
    """F1 of the items of a list. Case and spacing of texts, and the order of items, do not count.

    Where nothing is expected and nothing found, a row's F1 is 1. An answer that is unparsed or not a list has found
    nothing and counts as one extra item.
    """

    kind = "set_f1"
    about = "F1 over the items of a list or set"
    Parameters = SetF1Parameters
    short = "by"
    added = frozenset(["count"])
    columns = ("score", "right", "extra", "missing")
    parameters: SetF1Parameters

    def __init__(self, name: str, parameters: SetF1Parameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.is_mean = parameters.by == "row"

    def measure(self, given: MetricInput) -> Score:
        answer = given.answer
        expected = expected_list(answer, given.expected)
        if not isinstance(given.got, list | tuple):
            problem = f"{shown_value(given.got)} is not a list"
            return _set_score(0, 1, self._size(expected, answer), {"problem": problem})
        if self.parameters.count == "fields":
            right = _shared_fields([_fields(item) for item in given.got], [_fields(item) for item in expected])
        else:
            right = (self._counted(given.got, answer) & self._counted(expected, answer)).total()
        return _set_score(right, self._size(given.got, answer) - right, self._size(expected, answer) - right)

    def unanswered(self, given: MetricInput) -> Score:
        expected = expected_list(given.answer, given.expected)
        return _set_score(0, 1, self._size(expected, given.answer), {"flag": given.cell.flag})

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_list(self.context.answer, expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, *(score.detail[part] for part in self.columns[1:]))

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        right, extra, missing = (int(count) for count in sample.values[:, 1:].sum(axis=0))
        parts = {
            "precision": right / (right + extra) if right + extra else None,
            "recall": right / (right + missing) if right + missing else None,
        }
        if self.parameters.by == "row":
            return replace(super().estimate(sample), parts=parts)
        micro = f1(sample.values[:, 1], sample.values[:, 2], sample.values[:, 3], sample.clusters)
        notes = () if micro else ("no row expects anything, and nothing was found: F1 is undefined",)
        return mean_estimate(micro, parts=parts, notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if self.parameters.by == "row":
            return super().difference(a, b, level=level)
        if not len(a):
            return None
        found = f1_difference(a.values[:, 1:], b.values[:, 1:], a.clusters, level=level, seed=0)
        return metric_difference(found, self.higher_is_better) if found else None

    def _size(self, items: Sequence[Any], answer: AnswerType | None) -> int:
        """Return the number of items, or of all their fields."""
        if self.parameters.count == "fields":
            return sum(len(_fields(item)) for item in items)
        return self._counted(items, answer).total()

    def _counted(self, items: Sequence[Any], answer: AnswerType | None) -> Counter[Hashable]:
        counts = Counter(_item_key(item, answer) for item in items)
        return counts if self.parameters.duplicates else Counter(dict.fromkeys(counts, 1))


def _fields(item: Any) -> dict[str, Hashable]:
    """Return the comparable fields of a record without those that are null; another item is one field."""
    fields = item if isinstance(item, Mapping) else {"": item}
    return {str(name): _item_key(value, None) for name, value in fields.items() if value is not None}


def _shared_fields(got: Sequence[Mapping[str, Hashable]], expected: Sequence[Mapping[str, Hashable]]) -> int:
    """Return the number of fields that agree where records are paired so that most do (Kuhn 1955, the assignment
    problem).
    """
    if not got or not expected:
        return 0
    from scipy.optimize import linear_sum_assignment

    shared = np.array([[len(one.items() & other.items()) for other in expected] for one in got])
    return int(shared[linear_sum_assignment(shared, maximize=True)].sum())


def expected_list(answer: AnswerType | None, expected: Any) -> list[Any]:
    """Return an expected list, read as the answer's type reads lists. Raises ValueError for what is not a list."""
    known = answer if isinstance(answer, Labels | ListOf | Spans) else None
    found = expected_of(known, expected)
    if not isinstance(found, list | tuple):
        raise ValueError(f"{shown_value(expected)} is not a list")
    return list(found)


def _item_key(item: Any, answer: AnswerType | None) -> Hashable:
    """Return the key under which equal items are counted."""
    if isinstance(item, str):
        return " ".join(item.casefold().split())
    if isinstance(answer, ListOf):
        with suppress(TypeError, ValueError, KeyError):
            key = answer.of.vote_key(item)
            hash(key)  # for a value of another type the key may be the value itself
            return key
    return frozen(item)  # type: ignore[no-any-return]


def _set_score(right: int, extra: int, missing: int, detail: Mapping[str, Any] | None = None) -> Score:
    of = 2 * right + extra + missing
    counts = {"right": right, "extra": extra, "missing": missing}
    return Score(2 * right / of if of else 1.0, {**counts, **(detail or {})})
