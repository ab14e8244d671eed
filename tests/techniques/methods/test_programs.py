"""A program's value as the answer of a step, whatever its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.methods.programs import label_of, plain
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
        ("list", "['a', 'b']", ["a", "b"]),
        ("list", "[1, 2.0, True, 'x']", ["1", "2", "true", "x"]),
        ("list", "{'eggs': [1, 2]}", ["1", "2"]),
        ("text", "[1, 2]", "[1, 2]"),
        ("text", "3.0", "3"),
        ("json", "{'a': [1]}", {"a": [1]}),
        ("json", "[{'a': 0.1 + 0.2}]", [{"a": 0.3}]),
        (
            {"json": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}},
            "[{'a': 'x'}]",
            {"a": "x"},
        ),
        ({"json": {"type": "array", "items": {"type": "string"}}}, "[['a'], ['b']]", ["a", "b"]),
        ("list", "[['a'], ['b']]", ["a", "b"]),
        ("list", "[{'name': 'a'}, {'name': 'b'}]", ["a", "b"]),
        ({"list": {"of": "number"}}, "[(1,), (2.0,)]", [1, 2]),
        ("boolean", "1", True),
        ("boolean", "0", False),
        ({"label": ["yes", "no"]}, "6 * 7 > 3", "yes"),
        ({"label": ["0", "1"]}, "1", "1"),
    ],
)
async def test_a_value_is_read_as_the_type_of_the_answer(
    tmp_path: Path, answer_type: Any, value: str, expected: Any
) -> None:
    bench = Bench(tmp_path, [f"def solution():\n    return {value}"], answer_type)

    answer = await perform({"pal": {"attempts": 1}}, bench.step())

    assert (answer.value, answer.flag) == (expected, None if expected is not None else "unparsed")


@pytest.mark.parametrize(
    ("labels", "true", "false"),
    [
        (("yes", "no"), "yes", "no"),
        (("incorrect", "correct"), "correct", "incorrect"),
        (("refuted", "supported"), "supported", "refuted"),
        (("REFUTES", "SUPPORTS", "NOT ENOUGH INFO"), "SUPPORTS", "REFUTES"),
        (("spam", "not spam"), "spam", "not spam"),
        (("non-toxic", "toxic"), "toxic", "non-toxic"),
        (("unsafe", "safe"), "safe", "unsafe"),
        (("entailed", "other"), "entailed", "other"),
        (("ja", "nein"), "ja", "nein"),
        (("ironic", "literal"), None, None),
        (("red", "green", "blue"), None, None),
        (("yes", "true", "no"), None, "no"),
    ],
)
def test_true_and_false_are_the_labels_that_mean_them_in_any_order(
    labels: tuple[str, ...], true: str | None, false: str | None
) -> None:
    assert (label_of(labels, True), label_of(labels, False)) == (true, false)
    assert (label_of(labels[::-1], True), label_of(labels[::-1], False)) == (true, false)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["2024-01-05T00:00:00", "2024-01-05T08:30:00"], ["2024-01-05", "2024-01-05T08:30:00"]),
        ({"sum": 0.1 + 0.2, "rows": [[2.0, None]]}, {"sum": 0.3, "rows": [[2, None]]}),
    ],
)
def test_numbers_lose_their_noise_and_dates_their_midnight(value: Any, expected: Any) -> None:
    assert plain(value) == expected


async def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["def solution():\n    return 10**400"])

    answer = await perform({"pal": {"attempts": 1}}, bench.step())

    assert answer.problem is not None and "10000" in answer.problem
    assert len(answer.problem) < 400
