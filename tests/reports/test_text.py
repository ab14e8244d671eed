"""Text from models and data cannot steer a terminal, and programs get it exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.reports.text import display_text, json_text, one_line, outline, row_text, visible

HOSTILE = {
    "colour": ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    "clipboard": ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
    "eight-bit escape": ("\x9b2J", "\\x9b2J"),
    "overwriting": ("safe\revil", "safe\\x0devil"),
    "erasing": ("a\x08\x7f", "a\\x08\\x7f"),
    "reordering": ("\u202egnp.exe", "\\u202egnp.exe"),
    "isolates": ("\u2066a\u2069", "\\u2066a\\u2069"),
    "marks": ("\u200ea\u200f\u061c", "\\u200ea\\u200f\\u061c"),
    "hidden letters": ("\U000e0041", "\\U000e0041"),
    "half a character": ("\ud800", "\\ud800"),
    "null": ("\0", "\\x00"),
    "line separator": ("a\u2028b", "a\\u2028b"),
}


@pytest.mark.attack("terminal")
@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_would_steer_a_terminal_is_shown_as_an_escape(text: str, expected: str) -> None:
    assert expected == visible(text)
    assert expected == display_text(text)


@pytest.mark.parametrize("text", ["plain", "zwei\n\tZeilen", "日本語", "👩‍👩‍👧", "שלום", "naïve ß"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert text == visible(text)


def test_line_ends_of_windows_are_line_ends() -> None:
    assert visible("a\r\nb") == "a\nb"


@given(st.text(st.characters()))
def test_any_text_can_be_printed_and_holds_no_control_character(text: str) -> None:
    result = visible(text)
    result.encode("utf-8")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in result)


@given(st.recursive(st.text(st.characters()) | st.integers() | st.none(), st.lists))
def test_json_is_exact_and_plain_ascii(value: object) -> None:
    text = json_text(value)
    assert text.isascii()
    assert value == json.loads(text)


def test_a_line_is_cut_where_it_is_too_long() -> None:
    assert one_line("one\n  two") == "one two"
    assert one_line("one two three", 6) == "one t…"


def test_a_row_is_one_line_and_nothing_of_it_is_cut() -> None:
    assert row_text("positive") == "positive"
    assert row_text("a\nb") == '"a\\nb"'
    assert row_text({"a": [1, True]}) == '{"a": [1, true]}'


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("one\ntwo", ["one", "two"]),
        (3, ["3"]),
        ({}, ["{}"]),
        ({"topic": "delivery", "reply": "Dear A,\nsorry."}, ["topic: delivery", "reply:", "  Dear A,", "  sorry."]),
        ({"a": {"b": [1, {"c": None}]}}, ["a:", "  b:", "    - 1", "    -", "      c: null"]),
        (["\x1b[2J"], ["- \\x1b[2J"]),
    ],
)
def test_an_outline_shows_texts_with_their_own_line_breaks(value: object, lines: list[str]) -> None:
    assert outline(value).split("\n") == lines
