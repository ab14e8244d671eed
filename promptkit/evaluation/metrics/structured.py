"""Metrics of structured answers: JSON objects, JSON Schemas, lists and sets, and values from a table."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.answers.json_value import Json
from promptkit.answers.labels import Labels
from promptkit.answers.lists import ListOf
from promptkit.answers.spans import Spans
from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import NOTHING_SCORED, Graded, Proportion, mean_estimate, metric_difference
from promptkit.evaluation.metrics.matches import as_fraction, within_tolerance
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    TOO_DEEP,
    expected_of,
    frozen,
    is_number,
    reading_fault,
    scalar_text,
    shown_value,
)
from promptkit.evaluation.statistics.interval import CONFIDENCE, bounded_mean
from promptkit.evaluation.statistics.ratio import f1, f1_difference
from promptkit.storage.files import resolved
from promptkit.storage.yaml import load_file

MOST_FIELDS = 50
"""The most fields of a row that are counted one by one: a float holds that many bits and a few more."""
_ANY_JSON = Json()


class JsonParameters(ClosedModel):
    """`fields` are the fields that count, `a.b.0` for a nested one; by default all that are expected or given.

    `tolerance` is the accepted distance of a number.
    """

    fields: list[str] | None = Field(default=None, min_length=1)
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class JsonFields(Graded):
    """The share of right fields: of all that are expected or given in addition, or of `fields`.

    A missing field is null. The whole content of a field must be equal, with lists in order.
    """

    kind = "json"
    about = "the share of an object's fields that are right, in all and for each field"
    Parameters = JsonParameters
    short = "fields"
    columns = ("score", "fields", "right", "extra")
    parameters: JsonParameters

    def __init__(self, name: str, parameters: JsonParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._known: dict[tuple[str, ...], int] = {}

    def measure(self, given: MetricInput) -> Score:
        expected = expected_object(given.expected)
        names = self.parameters.fields or list(expected)
        if not isinstance(given.got, Mapping):
            return _fields_score(
                dict.fromkeys(names, False), [], {"problem": f"{shown_value(given.got)} is not an object"}
            )
        try:
            fields = {
                name: same_json(value_at(given.got, name), value_at(expected, name), self.parameters.tolerance)
                for name in names
            }
        except RecursionError:
            raise ValueError(TOO_DEEP) from None
        extra = [] if self.parameters.fields else _extra_fields(given.got, expected)
        return _fields_score(fields, extra)

    def unanswered(self, given: MetricInput) -> Score:
        names = self.parameters.fields or list(expected_object(given.expected))
        return _fields_score(dict.fromkeys(names, False), [], {"flag": given.cell.flag})

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_object(expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        fields = dict(list(score.detail["fields"].items())[:MOST_FIELDS])
        number = self._known.setdefault(tuple(fields), len(self._known))
        right = sum(1 << place for place, is_right in enumerate(fields.values()) if is_right)
        return (score.value, number, right, len(score.detail.get("extra", ())))

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        found = super().estimate(sample)
        extra = int((sample.values[:, 3] > 0).sum())
        return replace(found, parts={"fields": self._by_field(sample), "with_extra_fields": extra})

    def _by_field(self, sample: Sample) -> dict[str, dict[str, float | int]]:
        """Return for each field the share of cells in which it is right, with its interval."""

        known = list(self._known)
        numbers, masks = (sample.values[:, column].astype(np.int64) for column in (1, 2))
        right: dict[str, list[Any]] = {}
        cells: dict[str, list[Any]] = {}
        for number in np.unique(numbers):
            those = np.flatnonzero(numbers == number)
            for place, name in enumerate(known[number]):
                right.setdefault(name, []).append(masks[those] >> place & 1)
                cells.setdefault(name, []).append(sample.clusters[those])
        parts = {}
        for name in sorted(right, key=self._order):
            scores, clusters = np.concatenate(right[name]), np.concatenate(cells[name])
            mean = bounded_mean(scores, clusters, binary=True)
            parts[name] = {"right": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}
        return parts

    def _order(self, name: str) -> tuple[int, str]:
        fields = self.parameters.fields or []
        return (fields.index(name) if name in fields else 0, name)


def same_json(got: Any, expected: Any, tolerance: float) -> bool:
    """Tell whether two JSON values are equal, numbers within a tolerance; a field that is left out is null."""
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        return all(same_json(got.get(name), expected.get(name), tolerance) for name in {*got, *expected})
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(
            same_json(*pair, tolerance) for pair in zip(got, expected, strict=True)
        )
    if is_number(got) and is_number(expected):
        return got == expected or within_tolerance(as_fraction(got), as_fraction(expected), tolerance)
    return bool(frozen(got) == frozen(expected))


class SchemaParameters(ClosedModel):
    """A JSON Schema: written in the suite under `schema`, or in a file, relative to the suite."""

    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    file: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> SchemaParameters:
        if (self.schema_ is None) == (self.file is None):
            raise ValueError("give either `schema` with a JSON Schema, or `file` with its path")
        return self


class FitsSchema(Proportion):
    """The answer fits a JSON Schema with the keywords that the answer type `json` knows. A text is read as JSON."""

    kind = "schema"
    about = "the answer fits a JSON Schema"
    Parameters = SchemaParameters
    short = "file"
    needs_expected = False
    parameters: SchemaParameters

    def __init__(self, name: str, parameters: SchemaParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._given = _read_schema(parameters.file, context) if parameters.file else parameters.schema_
        if not isinstance(self._given, Mapping):
            raise InputError(f"a JSON Schema is a mapping, not {shown_value(self._given)}")
        self._schema = JsonSchema(self._given)

    @property
    def key(self) -> str:
        text = json.dumps(self._given, sort_keys=True, default=str)
        return f"{self.kind}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def measure(self, given: MetricInput) -> Score:
        problem = self._problem(given.got)
        if problem and isinstance(given.got, str):
            try:
                problem = self._problem(_ANY_JSON.parse(given.got))
            except Unparsed as unparsed:
                problem = str(unparsed)
        return Score(0.0, {"problem": problem}) if problem else Score(1.0)

    def _problem(self, value: Any) -> str | None:
        try:
            return self._schema.fault(value)
        except RecursionError:
            return "the JSON is nested too deep"


def expected_object(expected: Any) -> Mapping[str, Any]:
    """Return an expected object; a text, as in CSV, is read as JSON. Raises ValueError for what is not an object."""
    found = expected
    if isinstance(expected, str):
        try:
            found = json.loads(expected)
        except (ValueError, RecursionError):
            raise ValueError(f"{shown_value(expected)} is not JSON") from None
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{shown_value(expected)} is not an object with fields; `exact` and `set_f1` compare other values"
        )
    return found


def value_at(value: Any, name: str) -> Any:
    """Return the field of that name, else the value at its path (`a.b.0`), null where there is none."""
    if isinstance(value, Mapping) and name in value:
        return value[name]
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _extra_fields(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the fields that were given but not expected, without those that are null."""
    return [str(name) for name, value in got.items() if name not in expected and value is not None]


def _fields_score(fields: Mapping[str, bool], extra: list[str], detail: Mapping[str, Any] | None = None) -> Score:
    of, right = len(fields) + len(extra), sum(fields.values())
    failed = detail is not None
    parts = {"fields": dict(fields)} | ({"extra": extra} if extra else {}) | dict(detail or {})
    return Score(right / of if of else float(not failed), parts)


def _read_schema(name: str, context: MetricContext) -> Any:
    path = resolved(context.folder / name)
    if not context.project.inside(path):
        raise InputError(f"`file`: the path `{name}` leaves the project")
    return load_file(path).value


class SetF1Parameters(ClosedModel):
    """`by: row` is the mean of the rows' F1, `by: micro` one F1 over all items of all rows.

    With `duplicates` an item counts as often as the list has it.
    """

    by: Literal["row", "micro"] = "row"
    duplicates: bool = False


class SetF1(Graded):
    """F1 of the items of a list. Case and spacing of texts, and the order of items, do not count.

    Where nothing is expected and nothing found, a row's F1 is 1. An answer that is unparsed or not a list has found
    nothing and counts as one extra item.
    """

    kind = "set_f1"
    about = "F1 over the items of a list or set"
    Parameters = SetF1Parameters
    short = "by"
    columns = ("score", "right", "extra", "missing")
    parameters: SetF1Parameters

    def __init__(self, name: str, parameters: SetF1Parameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.is_mean = parameters.by == "row"

    def measure(self, given: MetricInput) -> Score:
        answer = given.answer
        expected = self._counted(expected_list(answer, given.expected), answer)
        if not isinstance(given.got, list | tuple):
            return _set_score(0, 1, expected.total(), {"problem": f"{shown_value(given.got)} is not a list"})
        got = self._counted(given.got, answer)
        right = (got & expected).total()
        return _set_score(right, got.total() - right, expected.total() - right)

    def unanswered(self, given: MetricInput) -> Score:
        answer = given.answer
        expected = self._counted(expected_list(answer, given.expected), answer)
        return _set_score(0, 1, expected.total(), {"flag": given.cell.flag})

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

    def _counted(self, items: Sequence[Any], answer: AnswerType | None) -> Counter[Hashable]:
        counts = Counter(_item_key(item, answer) for item in items)
        return counts if self.parameters.duplicates else Counter(dict.fromkeys(counts, 1))


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


SAME_NUMBER = 1e-6
"""Numbers nearer than this are equal."""
LONGEST_VALUE = 1_000
"""A longer text is not a value of a table: it is compared unchanged."""
_SIGNS = ((re.compile("[‘’´`]"), "'"), (re.compile("[“”]"), '"'), (re.compile("[‐‑‒–—−]"), "-"))
_FOOTNOTES = re.compile(r"(?:(?<!^)\[[^\]\[]*\]|\[\d+\]|[•♦†‡*#+])$")
_BRACKETS = re.compile(r"(?<!^) \([^()]*\)$")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_DATE = re.compile(r"(xx|xxxx|[0-9]{1,4})-(xx|[0-9]{1,2})-(xx|[0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class TableValue:
    """A value of a table: its normalized text, and its number or its date (year, month, day; None: unknown)."""

    text: str
    number: float | None = None
    date: tuple[int | None, int | None, int | None] | None = None

    def matches(self, other: TableValue) -> bool:
        if self.text == other.text:
            return True
        if self.number is not None and other.number is not None:
            return abs(self.number - other.number) < SAME_NUMBER
        return self.date is not None and self.date == other.date

    @property
    def key(self) -> Any:
        """The key under which equal values of a set are counted."""
        return self.date or (self.text if self.number is None else round(self.number, 6))


class Table(Proportion):
    """The answer has the expected values: as many different ones, each equal to an expected one, in any order.

    Numbers may have commas between thousands. Dates are `2004-07-15`, with `xx` for an unknown part. The rules are
    those of WikiTableQuestions' official evaluation (Pasupat & Liang 2015, ACL): a value is a number, a date or a text,
    and texts are compared without accents, typographic signs, footnote marks, a final part in brackets, quotes around
    the whole, a final full stop, extra blanks and case.
    """

    kind = "table"
    about = "the values that a table answers with are the expected ones, in any order"

    def measure(self, given: MetricInput) -> Score:
        expected = expected_values(given.answer, given.expected)
        try:
            got = table_values(given.got)
        except ValueError as error:
            return Score(0.0, {"problem": str(error)})
        right = len(got) == len(expected) and all(any(one.matches(other) for other in got) for one in expected)
        return Score(float(right))

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_values(self.context.answer, expected))


def expected_values(answer: AnswerType | None, expected: Any) -> list[TableValue]:
    """Return the different expected values; a text is read as a list where the answer's type is a list.

    Raises ValueError for what is not a value.
    """
    known = answer if isinstance(answer, Labels | ListOf) and isinstance(expected, str) else None
    return table_values(expected_of(known, expected))


def table_values(value: Any) -> list[TableValue]:
    """Return the different values of an answer: a single value, or those of a list or of a list of rows.

    Raises ValueError for other values.
    """
    found: dict[Any, TableValue] = {}
    for item in _flattened(value):
        text = scalar_text(item)
        if text is None:
            raise ValueError(f"{shown_value(item)} is not a value of a table")
        cell = read_value(text)
        found.setdefault(cell.key, cell)
    return list(found.values())


def read_value(text: str) -> TableValue:
    """Return a text as a value."""
    normal, bare = normalized_text(text), text.strip()
    number = bare.replace(",", "") if _THOUSANDS.fullmatch(bare) else bare
    if len(number) <= LONGEST_VALUE and _NUMBER.fullmatch(number) and isfinite(amount := float(number)):
        whole = round(amount)
        return TableValue(normal, number=float(whole) if abs(amount - whole) < SAME_NUMBER else amount)
    found = _DATE.fullmatch(bare.lower())
    if found is None:
        return TableValue(normal)
    year, month, day = (None if part.startswith("x") else int(part) for part in found.groups())
    if year is not None and month is None and day is None:
        return TableValue(normal, number=float(year))
    known = (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    return (
        TableValue(normal, date=(year, month, day))
        if known and (year, month, day) != (None,) * 3
        else TableValue(normal)
    )


def normalized_text(text: str) -> str:
    """Return a text as WikiTableQuestions' official evaluation compares it."""
    if len(text) > LONGEST_VALUE:
        return text
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if unicodedata.category(sign) != "Mn")
    for signs, plain in _SIGNS:
        text = signs.sub(plain, text)
    before = None
    while text != before:
        before = text
        text = _FOOTNOTES.sub("", text.strip())
        text = _BRACKETS.sub("", text.strip())
        if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
            text = text[1:-1]
        text = text.strip()
    return " ".join(text.removesuffix(".").split()).lower()


def _flattened(value: Any) -> list[Any]:
    """Return the items of a list, or of the rows of a list of lists."""
    if not isinstance(value, list | tuple):
        return [value]
    return [inner for item in value for inner in (item if isinstance(item, list | tuple) else [item])]
