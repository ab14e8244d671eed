"""A program's value as the answer of a step, whatever its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench


@pytest.mark.parametrize(
    ("answer_type", "value", "expected"),
    [
        ("number", "0.1 + 0.2", 0.3),
        ("number", "['7']", 7),
        ("number", "{'eggs': 7}", 7),
        ("number", "'1,234 eggs'", 1234),
        ("number", "[7, 8]", None),
        ("number", "None", None),
        ("boolean", "'yes'", True),
        ({"label": ["good", "bad"]}, "['Good']", "good"),
        ({"choice": ["8 eggs", "9 eggs"]}, "'9 eggs'", "9 eggs"),
        ({"choice": ["8 eggs", "9 eggs"]}, "2", None),
        ("list", "['a', 'b']", ["a", "b"]),
        ("list", "[1, 2.0, True, 'x']", ["1", "2", "true", "x"]),
        ("list", "{'eggs': [1, 2]}", ["1", "2"]),
        ("text", "[1, 2]", "[1, 2]"),
        ("text", "3.0", "3"),
        ("json", "{'a': [1]}", {"a": [1]}),
    ],
)
async def test_a_value_is_read_as_the_type_of_the_answer(
    tmp_path: Path, answer_type: Any, value: str, expected: Any
) -> None:
    bench = Bench(tmp_path, [f"def solution():\n    return {value}"], answer_type)

    answer = await perform("pal", bench.step())

    assert (answer.value, answer.flag) == (expected, None if expected is not None else "unparsed")
