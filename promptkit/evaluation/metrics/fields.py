"""JSON answers: the share of fields that are right, and whether the whole fits a schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from promptkit.answers import Json, Schema, Unparsed
from promptkit.engine import Closed
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Around, Estimate, Given, Sample, Score
from promptkit.evaluation.metrics.families import NOTHING_SCORED, Graded, Proportion
from promptkit.evaluation.metrics.numbers import exact, near
from promptkit.evaluation.metrics.values import TOO_DEEP, fault, frozen, is_number, shown
from promptkit.storage import load_file, resolved

MOST_FIELDS = 50
"""So many of a row's fields are told apart: a float holds so many bits and a few more."""
_ANY_JSON = Json()


class JsonParameters(Closed):
    """`fields`: those that count, `a.b.0` for one inside another; left out, all that are expected or were given.

    `tolerance`: how far off a number may be.
    """

    fields: list[str] | None = Field(default=None, min_length=1)
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class JsonFields(Graded):
    """The share of fields that are right: of those expected and those given besides, or of `fields`.

    A field that is not there is null. What stands within a field must all be equal, lists in order.
    """

    kind = "json"
    about = "the share of an object's fields that are right, and each field's own"
    Parameters = JsonParameters
    short = "fields"
    columns = ("score", "fields", "right", "extra")
    parameters: JsonParameters

    def __init__(self, name: str, parameters: JsonParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self._known: dict[tuple[str, ...], int] = {}

    def measure(self, given: Given) -> Score:
        expected = expected_object(given.expected)
        names = self.parameters.fields or list(expected)
        if not isinstance(given.got, Mapping):
            return _scored(dict.fromkeys(names, False), [], {"problem": f"{shown(given.got)} is no object"})
        try:
            fields = {name: self._same(at(given.got, name), at(expected, name)) for name in names}
        except RecursionError:
            raise ValueError(TOO_DEEP) from None
        extra = [] if self.parameters.fields else _extra(given.got, expected)
        return _scored(fields, extra)

    def unanswered(self, given: Given) -> Score:
        names = self.parameters.fields or list(expected_object(given.expected))
        return _scored(dict.fromkeys(names, False), [], {"flag": given.cell.flag})

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_object(expected))

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
        import numpy as np

        from promptkit.evaluation.statistics import bounded_mean

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
        wanted = self.parameters.fields or []
        return (wanted.index(name) if name in wanted else 0, name)

    def _same(self, got: Any, expected: Any) -> bool:
        """Tell whether two JSON values are equal, numbers within the tolerance."""
        if isinstance(got, Mapping) and isinstance(expected, Mapping):
            return all(self._same(got.get(name), expected.get(name)) for name in {*got, *expected})
        if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
            return len(got) == len(expected) and all(map(self._same, got, expected))
        if is_number(got) and is_number(expected):
            return got == expected or near(exact(got), exact(expected), self.parameters.tolerance)
        return bool(frozen(got) == frozen(expected))


class SchemaParameters(Closed):
    """A JSON Schema: written in the suite under `schema`, or in a file, relative to the suite."""

    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    file: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> SchemaParameters:
        if (self.schema_ is None) == (self.file is None):
            raise ValueError("name one: `schema` with a JSON Schema, or `file` with the path of one")
        return self


class Fits(Proportion):
    """The answer fits a JSON Schema, of the keywords that the answer type `json` knows. A text is read as JSON."""

    kind = "schema"
    about = "the answer fits a JSON Schema"
    Parameters = SchemaParameters
    short = "file"
    needs_expected = False
    parameters: SchemaParameters

    def __init__(self, name: str, parameters: SchemaParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self._given = _read_schema(parameters.file, around) if parameters.file else parameters.schema_
        if not isinstance(self._given, Mapping):
            raise InputError(f"a JSON Schema is a mapping, not {shown(self._given)}")
        self._schema = Schema(self._given)

    @property
    def key(self) -> str:
        text = json.dumps(self._given, sort_keys=True, default=str)
        return f"{self.kind}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def measure(self, given: Given) -> Score:
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
    """Return an expected object; a text (CSV holds no other) is read as JSON. Raises ValueError for what is none."""
    found = expected
    if isinstance(expected, str):
        try:
            found = json.loads(expected)
        except (ValueError, RecursionError):
            raise ValueError(f"{shown(expected)} is no JSON") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{shown(expected)} is no object with fields; `exact` and `set_f1` compare other values")
    return found


def at(value: Any, name: str) -> Any:
    """Return the field of that name, else what its path leads to, null where there is nothing: `a.b.0`."""
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


def _extra(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the fields that were given and not expected; null is as good as not given."""
    return [str(name) for name, value in got.items() if name not in expected and value is not None]


def _scored(fields: Mapping[str, bool], extra: list[str], detail: Mapping[str, Any] | None = None) -> Score:
    of, right = len(fields) + len(extra), sum(fields.values())
    failed = detail is not None
    told = {"fields": dict(fields)} | ({"extra": extra} if extra else {}) | dict(detail or {})
    return Score(right / of if of else float(not failed), told)


def _read_schema(name: str, around: Around) -> Any:
    path = resolved(around.folder / name)
    if not around.project.inside(path):
        raise InputError(f"`file`: the path `{name}` leaves the project")
    return load_file(path).value
