"""Metrics of objects: their fields, and JSON Schemas that they fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from promptkit.answers.base import Unparsed
from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.answers.json_value import Json
from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import NOTHING_SCORED, Graded, Proportion
from promptkit.evaluation.metrics.matches import as_fraction, within_tolerance
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    TOO_DEEP,
    frozen,
    is_number,
    reading_fault,
    shown_value,
)
from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.storage.files import resolved
from promptkit.storage.yaml import load_file

MOST_FIELDS = 50
"""The most fields of a row that are counted one by one: a float holds that many bits and a few more."""
_ANY_JSON = Json()


class JsonParameters(ClosedModel):
    """`fields` are the fields that count, `a.b.0` for a nested one; by default all that are expected or given.

    `tolerance` is the accepted distance of a number. With `unordered`, lists are equal in any order of their items.
    """

    fields: list[str] | None = Field(default=None, min_length=1)
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    unordered: bool = False


class JsonFields(Graded):
    """The share of right fields: of all that are expected or given in addition, or of `fields`.

    A missing field is null. The whole content of a field must be equal, with lists in order. An answer that its step's
    type does not take, such as one with a key that the type's schema lacks, is unparsed: all its fields are wrong.
    """

    kind = "json"
    about = "the share of an object's fields that are right, in all and for each field"
    Parameters = JsonParameters
    short = "fields"
    added = frozenset(["unordered"])
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
                name: same_json(
                    value_at(given.got, name),
                    value_at(expected, name),
                    self.parameters.tolerance,
                    unordered=self.parameters.unordered,
                )
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


def same_json(got: Any, expected: Any, tolerance: float, *, unordered: bool = False) -> bool:
    """Tell whether two JSON values are equal, numbers within a tolerance; a field that is left out is null.

    With `unordered`, lists are equal in any order of their items.
    """
    same = partial(same_json, tolerance=tolerance, unordered=unordered)
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        return all(same(got.get(name), expected.get(name)) for name in {*got, *expected})
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        if len(got) != len(expected):
            return False
        return _same_items(got, expected, same) if unordered else all(map(same, got, expected))
    if is_number(got) and is_number(expected):
        return got == expected or within_tolerance(as_fraction(got), as_fraction(expected), tolerance)
    return bool(frozen(got) == frozen(expected))


def _same_items(got: Sequence[Any], expected: Sequence[Any], same: Callable[[Any, Any], bool]) -> bool:
    """Tell whether two lists of one length have the same items in some order."""
    left = list(got)
    for item in expected:
        place = next((place for place, other in enumerate(left) if same(other, item)), None)
        if place is None:
            return False
        del left[place]
    return True


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
