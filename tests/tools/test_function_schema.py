"""The JSON Schema of a function's parameters, read from its annotations without importing it."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("Literal[b'a']", {}),
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


def test_a_type_within_itself_takes_any_value() -> None:
    head = "class Node(TypedDict):\n    left: 'Node | None'\n    right: list[Node]\nA = A\nB = dict[str, B]\n"
    found = schema("a: A, b: B, node: Node, other: Node", head)["properties"]
    assert found["a"] == {} and found["b"] == {"type": "object"}
    assert found["node"]["properties"] == {"left": {}, "right": {"type": "array"}}
    assert found["node"] == found["other"]


ANNOTATIONS = st.recursive(
    st.sampled_from(["str", "int", "None", "Unit", "Place", "Colour", "Other", "unknown", "'list[str]'", "...", "3"]),
    lambda inner: st.one_of(
        st.builds(
            "{}[{}, {}]".format, st.sampled_from(["dict", "Union", "tuple", "Literal", "t.Annotated"]), inner, inner
        ),
        st.builds("{}[{}]".format, st.sampled_from(["list", "Optional", "x.set", "NotRequired", "Literal"]), inner),
        st.builds("{} | {}".format, inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=50)
@given(ANNOTATIONS)
def test_any_annotation_gives_a_schema_of_json(annotation: str) -> None:
    found = schema(f"a: {annotation}")["properties"]["a"]
    assert isinstance(found, dict) and json.loads(json.dumps(found)) == found


def test_parameters_without_a_default_are_required_and_plain_defaults_are_shown() -> None:
    found = schema("a, b: int = LIMIT, *rest, c: str = 'x', d=[], e, g=None, h=1e999")
    assert found["required"] == ["a", "e"]
    assert found["properties"] == {
        "a": {},
        "b": {"type": "integer", "default": 5},
        "c": {"type": "string", "default": "x"},
        "d": {},
        "e": {},
        "g": {"default": None},
        "h": {},
    }
    assert found["additionalProperties"] is False
    assert takes_of(found) == {"a": True, "b": False, "c": False, "d": False, "e": True, "g": False, "h": False}


def test_a_function_with_any_further_arguments_is_open() -> None:
    assert takes_of(schema("a, **more")) is None


def test_descriptions_come_from_the_docstring() -> None:
    tree = ast.parse('def f(a: int, b):\n    """Add.\n\n    Args:\n        a: One number.\n    """\n')
    found = parameters_schema(functions_of(tree)["f"], tree)
    assert found["properties"] == {"a": {"type": "integer", "description": "One number."}, "b": {}}
