"""F1 over sets and lists: how much of what is expected was found, and how little else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from promptkit.answers import AnswerType, Labels, ListOf, Spans
from promptkit.engine import Closed
from promptkit.evaluation.metrics.base import Around, Difference, Estimate, Given, Sample, Score
from promptkit.evaluation.metrics.families import NOTHING_SCORED, Graded, from_mean, told
from promptkit.evaluation.metrics.values import expected_of, fault, frozen, shown


class SetF1Parameters(Closed):
    """`by: row` is the mean of the rows' F1, `by: micro` one F1 over all items of all rows.

    With `duplicates` an item counts as often as it stands in the list.
    """

    by: Literal["row", "micro"] = "row"
    duplicates: bool = False


class SetF1(Graded):
    """F1 of the items of a list. Texts are the same in any case and spacing; no order counts.

    Where nothing is expected and nothing found, a row's F1 is 1. What is no list, or unparsed, has found nothing, and
    counts as one item too many.
    """

    kind = "set_f1"
    about = "F1 over the items of a list or set"
    Parameters = SetF1Parameters
    short = "by"
    columns = ("score", "right", "extra", "missing")
    parameters: SetF1Parameters

    def __init__(self, name: str, parameters: SetF1Parameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.is_mean = parameters.by == "row"

    def measure(self, given: Given) -> Score:
        answer = given.cell.answer
        expected = self._counted(expected_list(answer, given.expected), answer)
        if not isinstance(given.got, list | tuple):
            return _scored(0, 1, expected.total(), {"problem": f"{shown(given.got)} is no list"})
        got = self._counted(given.got, answer)
        right = (got & expected).total()
        return _scored(right, got.total() - right, expected.total() - right)

    def unanswered(self, given: Given) -> Score:
        answer = given.cell.answer
        expected = self._counted(expected_list(answer, given.expected), answer)
        return _scored(0, 1, expected.total(), {"flag": given.cell.flag})

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_list(self.around.answer, expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, *(score.detail[part] for part in self.columns[1:]))

    def estimate(self, sample: Sample) -> Estimate:
        from promptkit.evaluation.statistics import f1

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
        return from_mean(micro, parts=parts, notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = 0.95) -> Difference | None:
        from promptkit.evaluation.statistics import f1_difference

        if self.parameters.by == "row":
            return super().difference(a, b, level=level)
        if not len(a):
            return None
        found = f1_difference(a.values[:, 1:], b.values[:, 1:], a.clusters, level=level, seed=0)
        return told(found, self.higher_is_better) if found else None

    def _counted(self, items: Sequence[Any], answer: AnswerType | None) -> Counter[Hashable]:
        counts = Counter(_key(item, answer) for item in items)
        return counts if self.parameters.duplicates else Counter(dict.fromkeys(counts, 1))


def expected_list(answer: AnswerType | None, expected: Any) -> list[Any]:
    """Return an expected list, read as the answer's type reads one. Raises ValueError for what is none."""
    known = answer if isinstance(answer, Labels | ListOf | Spans) else None
    found = expected_of(known, expected)
    if not isinstance(found, list | tuple):
        raise ValueError(f"{shown(expected)} is no list")
    return list(found)


def _key(item: Any, answer: AnswerType | None) -> Hashable:
    """Return what two items share that are the same."""
    if isinstance(item, str):
        return " ".join(item.casefold().split())
    if isinstance(answer, ListOf):
        with suppress(TypeError, ValueError, KeyError):
            key = answer.of.vote_key(item)
            hash(key)  # of what is no item of the type it may be the item itself
            return key
    return frozen(item)  # type: ignore[no-any-return]


def _scored(right: int, extra: int, missing: int, detail: Mapping[str, Any] | None = None) -> Score:
    of = 2 * right + extra + missing
    counts = {"right": right, "extra": extra, "missing": missing}
    return Score(2 * right / of if of else 1.0, {**counts, **(detail or {})})
