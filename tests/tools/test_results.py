"""Texts of tools: without what is not seen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tools.results import clean_text


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
