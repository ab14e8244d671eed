"""The answers of a run that a person can label: equal answers to equal inputs are one item."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import log
from typing import Any

from promptkit.errors import InputError
from promptkit.evaluation.answer_labels import answer_key
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.judge_prompt import question_of
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.binding import Binder, evaluate_of
from promptkit.evaluation.suite.conversation import PLAYED
from promptkit.evaluation.suite.data import BoundRow, DataRow
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes, plain

ORDER_SALT = b"labels"
"""The seed of the random order."""


@dataclass(slots=True, kw_only=True)
class LabelItem:
    """An answer to be labelled. `shown` are the texts and values of what was asked; `row` is its first row.

    `variants` gave it, each with its number of cells. `score` and `level` are a judge's (None: none), `score` from 0 to
    1; `unsure` (0 to 1) says how little the judge decides, `differ` how far the scores of the row's answers lie apart.
    An answer with a `flag` is unparsed or cut off. `cluster` is the row's, where the suite has clusters.
    """

    key: str
    inputs: Mapping[str, Any]
    shown: Mapping[str, Any]
    answer: Any
    expected: Any
    row: int
    flag: str = ""
    cluster: Any = None
    variants: dict[str, int] = field(default_factory=dict)
    rows: set[int] = field(default_factory=set)
    score: float | None = None
    level: str | None = None
    unsure: float = 0.0
    differ: float = 0.0

    @property
    def content(self) -> dict[str, Any]:
        """The fields of a label that say which answer it is of, as a file in UTF-8 can hold them."""
        return {
            "key": self.key,
            "answer": self.answer,
            "inputs": writable(plain(self.inputs)),
            "cluster": self.cluster,
        }

    @property
    def order(self) -> tuple[bytes, bytes]:
        """The item's place in the random order: by its inputs, so that all answers to them are asked together.

        It depends on no run and no score, so the items before any place are a simple random sample of the inputs.
        """
        inputs = json_bytes(self.inputs, sort_keys=True, allow_nan=True, default=str)
        return content_key(inputs, 8, salt=ORDER_SALT), content_key(self.key, 8, salt=ORDER_SALT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelItems:
    """The items of a run in random order; `unreadable` counts the rows that the suite, as it is now, cannot take."""

    items: Sequence[LabelItem]
    variants: Sequence[str]
    unreadable: int = 0

    @property
    def by_key(self) -> dict[str, LabelItem]:
        return {item.key: item for item in self.items}


def find_items(
    view: StoredRun, suite: Suite, measure: Measure, levels: LabelLevels, *, only: Collection[str] = ()
) -> LabelItems:
    """Return the answers of a run that have a metric's value; `only` names the variants (empty: all).

    The run's rows are bound by the suite as it is now. Raises InputError for a variant that run or suite do not have.
    """
    places = {variant.name: place for place, variant in enumerate(suite.variants)}
    variants = [name for name in view.variants if name in places and (not only or name in only)]
    for name in only:
        if name not in variants:
            have = "the suite does not have" if name in view.variants else f"run {view.number} does not have"
            raise InputError(f"{have} the variant `{name}`", hint=f"it has: {', '.join(view.variants)}")
    if not variants:
        hint = f"promptkit eval {suite.file.stem}"
        raise InputError(f"run {view.number} has none of the suite's variants: they have other names now", hint=hint)
    reader = _ItemReader(suite, measure, levels, {name: places[name] for name in variants})
    items: dict[str, LabelItem] = {}
    for number, cells in groupby(view.cells(), key=lambda cell: cell.row):
        reader.add(number, [cell for cell in cells if cell.variant in variants], items)
    ordered = sorted(items.values(), key=lambda item: item.order)
    return LabelItems(items=ordered, variants=variants, unreadable=reader.unreadable)


class _ItemReader:
    """Makes items of the cells of a row."""

    def __init__(self, suite: Suite, measure: Measure, levels: LabelLevels, places: Mapping[str, int]) -> None:
        self.unreadable = 0
        self._suite = suite
        self._measure = measure
        self._levels = levels
        self._places = places
        self._at = suite.measures.index(measure)
        self._cluster = suite.data.spec.cluster
        self._binder = Binder(suite)

    def add(self, number: int, cells: Sequence[Cell], items: dict[str, LabelItem]) -> None:
        """Add the answers of a row's cells; missing ones have none, nor have rows that the metric is not for."""
        answered = [cell for cell in cells if cell.flag != "error"]
        if not answered:
            return
        row = DataRow(number=number, fields=answered[0].fields, place=self._suite.data.where)
        bound = self._binder.bind(row, number)
        if bound.problems:
            self.unreadable += 1
            return
        if self._at in bound.exempt:
            return
        of_row: dict[str, LabelItem] = {}
        for cell in answered:
            item = self._item(cell, bound, items)
            item.rows.add(number)
            item.variants[cell.variant] = item.variants.get(cell.variant, 0) + 1
            of_row[item.key] = item
        _set_difference(list(of_row.values()))

    def _item(self, cell: Cell, bound: BoundRow, items: dict[str, LabelItem]) -> LabelItem:
        inputs = bound.inputs[self._places[cell.variant]]
        answer, flag = self._value(cell)
        key = answer_key(inputs, answer)
        if key not in items:
            given = MetricInput(answer, bound.expected[self._at], cell, inputs=inputs)
            items[key] = LabelItem(
                key=key,
                inputs=inputs,
                shown=self._shown(given, inputs),
                answer=writable(plain(answer)),
                expected=given.expected,
                row=cell.row,
                flag=flag,
                cluster=cell.fields.get(self._cluster) if self._cluster else None,
            )
        item = items[key]
        if item.score is None and not flag:
            self._take_score(item, cell)
        return item

    def _value(self, cell: Cell) -> tuple[Any, str]:
        """Return the value of a cell that the metric reads, with its flag; one that is not there is unparsed."""
        of = self._measure.of
        if cell.flag or of is None:
            return cell.output, cell.flag
        try:
            return evaluate_of(of, cell), ""
        except InputError:
            return None, "unparsed"

    def _shown(self, given: MetricInput, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        metric = self._measure.metric
        question = metric.parameters.question if isinstance(metric, Judge) else None
        if (conversation := self._suite.conversation) is not None:
            # The answer has all turns; of the inputs only what came before the first one is shown.
            unplayed = {PLAYED: inputs.get(PLAYED), **conversation.placeholders}
            inputs = {name: value for name, value in inputs.items() if name not in unplayed or value != unplayed[name]}
        if question is None:
            return inputs
        try:
            return question_of(given, question, frozenset())
        except (InputError, ValueError):
            return inputs

    def _take_score(self, item: LabelItem, cell: Cell) -> None:
        score = cell.scores.get(self._measure.name)
        bounds = self._measure.metric.bounds
        if score is None or score.value is None or bounds is None:
            return
        low, high = bounds
        item.score = (score.value - low) / (high - low)
        if not isinstance(self._measure.metric, Judge):
            return
        level = score.detail.get("level")
        item.level = level if level in self._levels.names else self._levels.nearest(item.score)
        item.unsure = _unsure(score.detail.get("probabilities"), item.score, len(self._levels.names))


def writable(value: Any) -> Any:
    """Return JSON data with a question mark for each half character, which no file in UTF-8 can hold."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _unsure(probabilities: Any, score: float, levels: int) -> float:
    """Return the uncertainty of a judge, from 0 to 1: the entropy of its levels, over the largest one.

    Without probabilities, the distance of the score from the nearest level: several verdicts that differ.
    """
    if isinstance(probabilities, Mapping) and probabilities:
        shares = [share for share in probabilities.values() if isinstance(share, int | float) and share > 0]
        return min(1.0, -sum(share * log(share) for share in shares) / log(levels))
    place = score * (levels - 1)
    return 2 * abs(place - round(place))


def _set_difference(items: Sequence[LabelItem]) -> None:
    """Set how far the scores of the answers to a row lie apart; where they have none, whether there are several."""
    scores = [item.score for item in items if item.score is not None]
    apart = max(scores) - min(scores) if scores else float(len(items) > 1)
    for item in items:
        item.differ = max(item.differ, apart)
