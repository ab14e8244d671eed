"""Arguments of tools: read by the schema, and checked against it."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.tools.arguments import argument_fault, typed_arguments

SCHEMA = {
    "type": "object",
    "properties": {
        "word": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
        "unit": {"enum": ["cm", "inch"]},
        "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "any": {},
    },
    "required": ["word"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"word": "a", "limit": 2, "tags": ["x"], "unit": "cm", "size": None, "any": {"a": 1}}, None),
        ({}, "`word` is missing"),
        ({"wrd": "a"}, "there is no parameter `wrd` (did you mean `word`?)"),
        ({"word": 1}, "`word` must be of the type string"),
        ({"word": "a", "limit": True}, "`limit` must be of the type integer"),
        ({"word": "a", "limit": 0}, "`limit`"),
        ({"word": "a", "tags": [1]}, "`tags`"),
        ({"word": "a", "unit": "m"}, "`unit` is"),
        ({"word": "a", "size": "x"}, "`size` fits none"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], words: str | None) -> None:
    fault = argument_fault(SCHEMA, arguments)
    assert fault is None if words is None else words in (fault or "")


def test_of_a_schema_with_unknown_keywords_the_names_are_checked() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "contentEncoding": "base64"}}, "required": ["a"]}
    assert argument_fault(schema, {"a": 1}) is None
    assert argument_fault(schema, {}) == "`a` is missing"
    assert argument_fault(schema, {"a": "x", "b": 1}) == "there is no parameter `b` (known: a)"


def test_an_open_schema_takes_any_name() -> None:
    assert argument_fault({"type": "object", "properties": {}, "additionalProperties": True}, {"x": 1}) is None


def test_texts_are_read_where_the_parameter_takes_no_text() -> None:
    given = {"word": 5, "limit": "2", "tags": '["x"]', "size": "1.5", "unit": "cm", "any": "7", "other": "8"}
    assert typed_arguments(SCHEMA, given) == {
        "word": "5",
        "limit": 2,
        "tags": ["x"],
        "size": 1.5,
        "unit": "cm",
        "any": "7",
        "other": "8",
    }
    assert typed_arguments(SCHEMA, {"limit": "two"}) == {"limit": "two"}
