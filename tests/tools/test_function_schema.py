"""The JSON Schema of a function's parameters, read from its annotations without importing it."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from promptkit.project_code.source import functions_of
from promptkit.tools.function_schema import parameters_schema, takes_of

HEAD = """
import enum
import typing as t
from typing import Literal, Optional, TypedDict, NotRequired

Unit = Literal["cm", "inch"]
Number = int | float
LIMIT = 5

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Place(TypedDict):
    city: str
    zip: NotRequired[int]

class Other:
    x: int
"""


def schema(signature: str, head: str = HEAD) -> dict[str, Any]:
    tree = ast.parse(f"{head}\ndef f({signature}): pass\n")
    return parameters_schema(functions_of(tree)["f"], tree)


TEXT, NULL = {"type": "string"}, {"type": "null"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("str", TEXT),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("list", {"type": "array"}),
        ("list[str]", {"type": "array", "items": TEXT}),
        ("t.Sequence[list[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("tuple[int, str]", {"type": "array"}),
        ("dict", {"type": "object"}),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("Literal['a', 2]", {"enum": ["a", 2]}),
        ("t.Literal['a']", {"enum": ["a"]}),
        ("Optional[str]", {"anyOf": [TEXT, NULL]}),
        ("str | None", {"anyOf": [TEXT, NULL]}),
        ("t.Union[str, int, None]", {"anyOf": [TEXT, {"type": "integer"}, NULL]}),
        ("str | str", TEXT),
        ("'list[str] | None'", {"anyOf": [{"type": "array", "items": TEXT}, NULL]}),
        ("Unit", {"enum": ["cm", "inch"]}),
        ("Number | None", {"anyOf": [{"type": "integer"}, {"type": "number"}, NULL]}),
        ("Colour", {"enum": ["red", "blue"]}),
        ("Place", {"type": "object", "properties": {"city": TEXT, "zip": {"type": "integer"}}, "required": ["city"]}),
        ("t.Annotated[str, 'the word']", {"type": "string", "description": "the word"}),
        ("Other", {}),
        ("datetime", {}),
        ("str | datetime", {}),
        ("t.Any", {}),
        ("'1 +'", {}),
        ("list[" * 40 + "int" + "]" * 40, None),
    ],
)
def test_an_annotation_is_a_schema(annotation: str, expected: dict[str, Any] | None) -> None:
    found = schema(f"a: {annotation}")["properties"]["a"]
    assert found["type"] == "array" if expected is None else found == expected


def test_an_alias_of_itself_takes_any_value() -> None:
    assert schema("a: A", "A = A\nB = list[B]\n")["properties"] == {"a": {}}


def test_parameters_without_a_default_are_required_and_plain_defaults_are_shown() -> None:
    found = schema("a, b: int = LIMIT, *rest, c: str = 'x', d=[], e, g=None")
    assert found["required"] == ["a", "e"]
    assert found["properties"] == {
        "a": {},
        "b": {"type": "integer", "default": 5},
        "c": {"type": "string", "default": "x"},
        "d": {},
        "e": {},
        "g": {"default": None},
    }
    assert found["additionalProperties"] is False
    assert takes_of(found) == {"a": True, "b": False, "c": False, "d": False, "e": True, "g": False}


def test_a_function_with_any_further_arguments_is_open() -> None:
    assert takes_of(schema("a, **more")) is None


def test_descriptions_come_from_the_docstring() -> None:
    tree = ast.parse('def f(a: int, b):\n    """Add.\n\n    Args:\n        a: One number.\n    """\n')
    found = parameters_schema(functions_of(tree)["f"], tree)
    assert found["properties"] == {"a": {"type": "integer", "description": "One number."}, "b": {}}
