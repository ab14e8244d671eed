"""Results of tools: JSON of a bounded size and depth, without what is not seen."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import ToolFailed
from promptkit.tools.results import LONGEST_RESULT, bounded_result, clean_text


@pytest.mark.parametrize(
    "sign",
    [
        "\x00",
        "\x1b",
        "\r",
        "\x85",
        "\u200b",
        "\u200f",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\ud800",
        "\U000e0041",
        "\U000e0100",
    ],
)
def test_a_sign_that_is_not_seen_is_left_out(sign: str) -> None:
    assert clean_text(f"a{sign}b") == "ab"


def test_letters_of_all_scripts_and_their_joiners_stay() -> None:
    text = "ä\tß\n日本 می\u200cخواهم 👩\u200d🔧"
    assert clean_text(text) == text


@given(st.text())
def test_no_text_keeps_a_control_character_and_none_gets_a_letter(text: str) -> None:
    cleaned = clean_text(text)
    assert not {sign for sign in cleaned if unicodedata.category(sign) in ("Cc", "Cs")} - {"\t", "\n"}
    assert clean_text(cleaned) == cleaned and len(cleaned) <= len(text)


def test_the_longest_result_is_kept_and_one_character_more_is_cut() -> None:
    assert bounded_result("x" * LONGEST_RESULT, "act") == "x" * LONGEST_RESULT
    cut = bounded_result("x" * (LONGEST_RESULT + 1), "act")
    assert cut.startswith("x" * LONGEST_RESULT) and "20,001" in cut


def test_names_and_texts_lose_their_control_characters() -> None:
    assert bounded_result({"a\x1b": ["b\x00", "c\n"]}, "act") == {"a": ["b", "c\n"]}


@pytest.mark.parametrize("levels", [600, 5_000])
def test_data_that_is_nested_too_deep_is_a_failure_of_the_tool(levels: int) -> None:
    result: list[Any] = []
    for _ in range(levels):
        result = [result]
    with pytest.raises(ToolFailed, match="`act` returned"):
        bounded_result(result, "act")
