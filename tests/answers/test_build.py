"""What a file may say under `answer:`."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.answers.build import build_answer_type, check_answer_type
from promptkit.errors import InputError

WRONG: list[tuple[Any, str]] = [
    ("lable", "did you mean `label`"),
    (["text"], "a name"),
    ({"label": ["a"], "text": None}, "a name"),
    ({"label": []}, "at least one"),
    ({"label": "a"}, "list of texts"),
    ("label", "list of texts"),
    ({"label": ["a", "a", "", " b", "c\nd", None]}, "twice"),
    ({"label": ["a", "\ud800"]}, "Unicode"),
    ({"choice": []}, "list of options"),
    ({"choice": list(range(27))}, "at most 26"),
    ({"choice": ["a", " "]}, "not blank"),
    ({"number": {"minimum": 1}}, "did you mean `min`"),
    ({"number": {"min": "1"}}, "`min` must be a number"),
    ({"number": {"min": float("nan")}}, "`min` must be a number"),
    ({"number": {"decimals": 1.5}}, "`decimals` must be a whole number"),
    ({"number": {"min": 2, "max": 1}}, "nothing lies between"),
    ({"number": {"min": 0.1, "max": 0.9, "decimals": 0}}, "nothing lies between"),
    ({"number": [1, 5]}, "decimals, max, min"),
    ({"text": 3}, "no options"),
    ({"boolean": {"yes": "no"}}, "no options"),
    ({"list": {"seperator": ";"}}, "did you mean `separator`"),
    ({"list": {"separator": "and"}}, "one sign"),
    ({"list": {"separator": ";", "lines": True}}, "not both"),
    ({"list": {"lines": "yes"}}, "true or false"),
    ({"list": {"unique": 1}}, "true or false"),
    ({"list": {"of": "spans"}}, "cannot be `spans`"),
    ({"list": {"of": {"label": ["a;b"]}, "separator": ";"}}, "part of the label"),
    ({"list": {"of": "number", "separator": "-"}}, "part of numbers"),
    ({"list": {"of": "json", "separator": ";"}}, "JSON array"),
    ({"json": []}, "JSON Schema"),
    ({"json": {"type": "objekt"}}, "did you mean `object`"),
    ({"json": {"propertys": {}}}, "did you mean `properties`"),
    ({"json": {"properties": {"a": {"patternProperties": {}}}}}, "json.a: the keyword `patternProperties`"),
    ({"json": {"properties": {"name": {}}, "required": ["nam"]}}, "did you mean `name`"),
    ({"json": {"$ref": "#/$defs/nod", "$defs": {"node": {}}}}, "nothing at `#/$defs/nod`"),
    ({"json": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}}, "refers to itself"),
    ({"json": {"enum": []}}, "not empty"),
    ({"json": {"type": "array", "minItems": -1}}, "whole number"),
    ({"json": {"type": "number", "minimum": "1"}}, "must be a number"),
    ({"json": {"anyOf": [{}], "type": "string"}}, "stands alone"),
    ({"code": ["python"]}, "name a language"),
    ({"code": "py thon"}, "name a language"),
    ({"spans": {"classes": ['a"b'], "text": "x"}}, "cannot be a class"),
    ({"spans": {"classes": ["a"]}}, "`text`"),
]


@pytest.mark.parametrize(("spec", "fault"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_spec_is_refused_with_the_nearest_spelling(spec: Any, fault: str) -> None:
    with pytest.raises(InputError) as raised:
        build_answer_type(spec)
    assert fault in str(raised.value)
    assert any(fault in message for message in check_answer_type(spec))


def test_all_that_is_wrong_with_labels_is_said_at_once() -> None:
    (message,) = check_answer_type({"label": ["a", "a", "", " b"]})
    assert message.count("\n") == 2


@pytest.mark.parametrize(
    "spec",
    [
        {"label": "{{ classes }}"},
        {"choice": "{{ options }}"},
        {"number": {"max": "{{ limit }}"}},
        {"list": {"of": {"label": "{{ classes }}"}}},
        {"spans": {"classes": ["a"], "text": "{{ note }}"}},
    ],
)
def test_a_spec_with_expressions_is_checked_as_far_as_it_goes(spec: Any) -> None:
    assert check_answer_type(spec) == []


def test_a_misspelt_key_beside_an_expression_is_found() -> None:
    (message,) = check_answer_type({"number": {"maxx": "{{ limit }}"}})
    assert "did you mean `max`" in message
