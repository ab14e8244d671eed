"""Objects by field, and by schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pytest import approx

from promptkit.errors import InputError
from promptkit.evaluation.statistics import wilson
from tests.evaluation.metrics.given import given, metric, told


@pytest.mark.parametrize(
    ("got", "expected", "share"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 1.0),
        ({"a": 1.0, "b": 3}, {"a": 1, "b": 2}, 0.5),
        ({"a": 1}, {"a": 1, "b": None}, 1.0),
        ({"a": 1, "c": 5}, {"a": 1}, 0.5),
        ({"a": 1, "c": None}, {"a": 1}, 1.0),
        ({"a": {"x": [1, 2]}}, {"a": {"x": [2, 1]}}, 0.0),
        ({"a": True}, {"a": 1}, 0.0),
        ({"a": 1}, '{"a": 1}', 1.0),
        ({}, {}, 1.0),
        ([1], {}, 0.0),
        ("text", {"a": 1}, 0.0),
        (None, {"a": None}, 0.0),
        ({"a": float("nan")}, {"a": 1}, 0.0),
    ],
)
def test_the_share_of_fields_that_are_right(got: Any, expected: Any, share: float) -> None:
    assert metric("json").measure(given(got, expected)).value == share


def test_only_the_named_fields_count_wherever_they_are() -> None:
    of = metric("json", {"fields": ["total", "lines.0.name", "lines.5.name"], "tolerance": 0.01})
    got = {"total": 9.99, "lines": [{"name": "tea"}], "note": "extra"}
    score = of.measure(given(got, {"total": 10, "lines": [{"name": "coffee"}]}))
    assert score.detail == {"fields": {"total": True, "lines.0.name": False, "lines.5.name": True}}


def test_each_field_has_its_share_with_an_interval() -> None:
    cells = [
        given({"name": "a", "age": 3}, {"name": "a", "age": 3}),
        given({"name": "b", "age": 4, "odd": 1}, {"name": "b", "age": 3}),
        given({"name": "c"}, {"name": "c"}),
        given(None, {"name": "d", "age": 5}, flag="unparsed"),
    ]
    found = told(metric("json"), cells)
    assert found.mean == approx((1 + 1 / 3 + 1 + 0) / 4)
    assert found.parts["with_extra_fields"] == 1
    name, age = found.parts["fields"]["name"], found.parts["fields"]["age"]
    assert (name["right"], name["n"], age["right"], age["n"]) == (0.75, 4, approx(1 / 3), 3)
    assert (age["low"], age["high"]) == approx(wilson(1, 3))


def test_fields_beyond_the_fiftieth_count_but_are_not_told_apart() -> None:
    many = {f"f{number}": number for number in range(60)}
    found = told(metric("json"), [given({**many, "f59": -1}, many)])
    assert found.mean == approx(59 / 60) and len(found.parts["fields"]) == 50


@pytest.mark.parametrize("expected", [None, 3, [1], "[1]", "{", ""])
def test_what_is_expected_must_be_an_object(expected: Any) -> None:
    of = metric("json")
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given({}, expected))


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_an_answer_fits_a_schema_or_says_why_not() -> None:
    of = metric("schema", {"schema": PERSON})
    assert not of.needs_expected
    assert of.measure(given({"name": "Ada"})).value == 1
    assert of.measure(given('```json\n{"name": "Ada"}\n```')).value == 1
    wrong = of.measure(given({"name": 3}))
    assert wrong.value == 0 and "must be of the type string" in wrong.detail["problem"]
    assert "no JSON" in of.measure(given("Ada")).detail["problem"]
    assert of.measure(given(None)).value == 0


def test_a_schema_may_be_in_a_file_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "person.json").write_text(json.dumps(PERSON), encoding="utf-8")
    of = metric("schema", {"file": "person.json"}, folder=tmp_path)
    assert of.measure(given({"name": "Ada"})).value == 1
    before = of.key
    (tmp_path / "person.json").write_text(json.dumps({"type": "object"}), encoding="utf-8")
    assert metric("schema", {"file": "person.json"}, folder=tmp_path).key != before


@pytest.mark.parametrize(
    ("parameters", "told_of"),
    [
        ({"file": "missing.json"}, "no such file"),
        ({"file": "../outside.json"}, "leaves the project"),
        ({"file": "list.json"}, "is a mapping"),
        ({"schema": {"type": "strnig"}}, "did you mean `string`"),
        ({"schema": {"oneOf": []}}, "`oneOf` is not supported"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(tmp_path: Path, parameters: Any, told_of: str) -> None:
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=told_of):
        metric("schema", parameters, folder=tmp_path)


@pytest.mark.parametrize("parameters", [{}, {"file": "a", "schema": {}}])
def test_a_schema_is_given_once(parameters: Any) -> None:
    with pytest.raises(ValidationError):
        metric("schema", parameters)
