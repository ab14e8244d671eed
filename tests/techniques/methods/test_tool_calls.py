"""What a model writes for a tool, as the values of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.techniques.methods.tool_calls import ToolSignature

TWO = {"a": True, "b": True}


def signature(takes: Mapping[str, bool] | None, **types: str) -> ToolSignature:
    return ToolSignature("calc", "", takes, types)


@pytest.mark.parametrize(
    ("takes", "written", "expected"),
    [
        ({"a": True}, "x", {"a": "x"}),
        ({"a": True}, "x, y", {"a": "x, y"}),
        ({"a": True}, 'a="x"', {"a": "x"}),
        ({"a": True, "b": False}, "x", {"a": "x"}),
        ({"a": False}, "x", {"a": "x"}),
        (TWO, "x", None),
        (TWO, '{"a": 1}', None),
        (TWO, '{"a": 1, "b": 2}', {"a": 1, "b": 2}),
        (TWO, '{"a": 1, "b": 2, "c": 3}', None),
        (TWO, "2, 3", {"a": 2, "b": 3}),
        (TWO, '"Oslo, Norway", 3', {"a": "Oslo, Norway", "b": 3}),
        (TWO, "Oslo, 'Rome'", {"a": "Oslo", "b": "Rome"}),
        (TWO, "b=2, a=1", {"a": 1, "b": 2}),
        (TWO, "1, b=2", {"a": 1, "b": 2}),
        (TWO, "1, 2, 3", None),
        ({}, "", {}),
        ({}, "x", None),
        (None, '{"a": 1}', {"a": 1}),
        (None, "x", None),
    ],
)
def test_an_argument_fits_the_parameters_of_a_tool_or_is_none(
    takes: Mapping[str, bool] | None, written: str, expected: dict[str, Any] | None
) -> None:
    assert signature(takes).arguments(written) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", 5), ("float | None", 5), ("list[int]", 5), ("str", "5"), ("str | int", "5"), ("Any", "5")],
)
def test_a_text_becomes_a_value_of_the_parameters_type(kind: str, value: Any) -> None:
    assert signature({"a": True}, a=kind).arguments("5") == {"a": value}


def test_a_text_that_is_not_of_the_type_stays() -> None:
    assert signature({"a": True}, a="int").arguments("five") == {"a": "five"}


@given(st.text(max_size=40), st.sampled_from([None, {}, {"a": True}, TWO, {"a": True, "b": False, "c": False}]))
def test_any_text_is_arguments_that_fit_or_none(written: str, takes: Mapping[str, bool] | None) -> None:
    found = signature(takes).arguments(written)

    assert found is None or takes is None or found.keys() <= takes.keys()
