"""JSON in a reply: a form that a person reads without a doubt is read, any other is refused and says why."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.reader.json_reader import MAX_STARTS, json_readings, read_json

LITERAL_TEXT = st.text("{}[](),:'\"\\.-+0123456789eEjbruftNan \n`#/*“”", max_size=40)
"""Texts that are nearly literals."""
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
LINE = st.from_regex(r"[A-Za-z][A-Za-z ,]{0,20}[a-z]", fullmatch=True)


@given(st.text() | LITERAL_TEXT)
def test_a_reply_is_a_value_or_unparsed(text: str) -> None:
    try:
        found = read_json(text)
    except Unparsed:
        return
    assert isinstance(found, dict | list | str | int | float | None)


@given(DATA)
def test_json_and_python_are_read_alike(value: Any) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_json(repr(value)) == value


@given(st.lists(st.integers(), min_size=1), LINE)
def test_json_is_found_in_a_fence_and_in_the_text_around_it(value: list[int], words: str) -> None:
    written = json.dumps(value)

    assert read_json(f"{words}:\n```json\n{written}\n```\n{words}.") == value
    assert read_json(f"{words}: {written}. {words}.") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TRUE", True),
        ("None", None),
        (" null\n", None),
        ('"Oslo"', "Oslo"),
        ("[]", []),
        (" {'a': True} ", {"a": True}),
        ("first [not json] then [1, 2] and [3]", [1, 2]),
        ("```\nno value\n```\n[1]", [1]),
        ('{"dish": "soup\nwith bread"}', {"dish": "soup\nwith bread"}),
        (r'{"sum": "\frac{1}{2} \times \theta"}', {"sum": r"\frac{1}{2} \times \theta"}),
        (r'{"sum": "\(a \le b\)"}', {"sum": r"\(a \le b\)"}),
        (r'{"sum": "\\frac{1}{2}", "next": "a\nb\tc"}', {"sum": r"\frac{1}{2}", "next": "a\nb\tc"}),
        (r'{"path": "C:\Users\ann"}', {"path": r"C:\Users\ann"}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": "x"\n"b": "y"}', {"a": "x", "b": "y"}),
        ('["a" "b"]', ["a", "b"]),
        ("[1 2]", [1, 2]),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ('{"a": 1, // the first\n "b": 2} # both', {"a": 1, "b": 2}),
        ('{"a": /* one */ 1}', {"a": 1}),
        ("{'a': 'it's late', 'b': None}", {"a": "it's late", "b": None}),
        ("{'a': \"it's\", 'b': 'say \"hi\"'}", {"a": "it's", "b": 'say "hi"'}),
        ('{"a": "she said "no", then left", "b": 1}', {"a": 'she said "no", then left', "b": 1}),
        ("{“a”: “x”, ‘b’: 1}", {"a": "x", "b": 1}),
        ("{a: 1, b_c: true}", {"a": 1, "b_c": True}),
        ("{'a': (1, 2)}", {"a": [1, 2]}),
        ('("x", 1)', ["x", 1]),
        ('{"a": +1, "b": .5, "c": 5., "d": 1_000}', {"a": 1, "b": 0.5, "c": 5.0, "d": 1000}),
        ('{{"a": 1}}', {"a": 1}),
        ('{"a": 1}}', {"a": 1}),
        ('{"a": "# no comment", "b": "http://x//y"}', {"a": "# no comment", "b": "http://x//y"}),
        ('<tool_call>{"a": True}</tool_call>', {"a": True}),
        ('```python\nx = {"a": 0}\n```\nSo:\n```json\n{"a": 1}\n```', {"a": 1}),
        ('```json\n{"a": 1}\n```again\n{"a": 1}', {"a": 1}),
        ('Sure: {"a": "```python\nprint()\n```"}', {"a": "```python\nprint()\n```"}),
        ('where \\frac{1}{2} holds, {"a": 1}', {"a": 1}),
        ('{"a": "\\u00e9 \\x41 \\ud83d\\ude00"}', {"a": "é A 😀"}),
        ('[1, ...] is how it begins, {"a": 1} how it ends', {"a": 1}),
    ],
)
def test_what_is_read(text: str, value: Any) -> None:
    assert read_json(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON"),
        ("...", "no JSON"),
        ("yes", "no JSON"),
        ("b'bytes'", "no JSON"),
        ("I cannot do that.", "no JSON"),
        ("{{1}}", "no JSON"),
        ('{"a": 1, "b": [1, 2', "cut off"),
        ('{"a": {"b": 1}', "cut off"),
        ('[{"a": 1}, {"b"', "cut off"),
        ('{"a": "x', "cut off"),
        ('Here it is:\n```json\n{"a": [1, {"b": 2}', "cut off"),
        ("[1, ...]", r"cannot be read at '\.\.\.]"),
        ("{[1,]: 2}", "cannot be read"),
        ('{"a": yes, "b": {"c": 1}}', "cannot be read at 'yes"),
        ('{"a": 1,000}', "cannot be read at '000"),
        ('{"a": 1/2}', "cannot be read"),
        ('{"a": 5 km}', "cannot be read at 'km"),
        ('{"a": }', "cannot be read"),
        ("[" * 2000, "deeper"),
        ('[{"a": 1e999}]', "too large"),
        ('["\\ud800"]', "surrogate"),
    ],
)
def test_what_is_refused_says_why(text: str, problem: str) -> None:
    with pytest.raises(Unparsed, match=problem):
        read_json(text)


def test_values_are_found_in_order_and_none_inside_another() -> None:
    assert [reading.value for reading in json_readings('{"a": {"b": 1}} and [2] and {"c": [3]}')] == [
        {"a": {"b": 1}},
        [2],
        {"c": [3]},
    ]


def test_a_value_that_fits_the_schema_is_the_answer() -> None:
    kind = build_answer_type({"json": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}})
    assert kind.parse('As in [1], {"b": 2} is wrong; {"a": 3} is right.') == {"a": 3}


@pytest.mark.parametrize("text", ["\x0crac", "\x08eta", "a\tau", "\rho", "\x0c", "\neq \\frac"])
def test_control_characters_that_look_like_latex_are_read_back(text: str) -> None:
    kind = build_answer_type("json")
    assert kind.parse(kind.write([text])) == [text]


def test_brackets_that_are_prose_are_tried_so_many_times() -> None:
    assert read_json("[ x " * (MAX_STARTS - 1) + "[1]") == [1]
    with pytest.raises(Unparsed):
        read_json("[ x " * MAX_STARTS + "[1]")


@pytest.mark.attack("number")
@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "{",
        '[{"a": ',
        "[1, ",
        '["',
        "('",
        '{"a": "',
        '"',
        "'",
        '": "',
        "\\",
        "/*",
        "//",
        "{{",
        '{"a" ',
        "[ x ",
        "“",
        "`",
    ],
)
@pytest.mark.parametrize("begin", ["", '{"a": "', "[", '{"a": '])
async def test_a_long_reply_of_one_sign_is_read_in_one_pass(begin: str, unit: str) -> None:
    await asyncio.sleep(0)
    with suppress(Unparsed):
        read_json(begin + unit * (20_000 // len(unit)))
