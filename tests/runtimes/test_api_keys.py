"""Keys and tokens are taken out of a server's texts, however they are spelled, and what is quoted is one short line."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from promptkit.runtimes.api_keys import QUOTE_LIMIT, QUOTE_WINDOW, Redactor

KEY = 'sk-CANARY/KEY+123"x'
OTHER = "other-Secret-9999"

SPELLED = {
    "as it is": KEY,
    "in a header": f"Authorization: Bearer {KEY}",
    "as JSON": json.dumps({"key": KEY}),
    "as JSON with escaped slashes": json.dumps(KEY).replace("/", "\\/"),
    "in numbers of JSON": "".join(f"\\u{ord(sign):04X}" for sign in KEY),
    "in a mixture": f"\\u0073{KEY[1:5]}%41{KEY[6:]}",
    "in an address": f"https://a/?key={quote(KEY, safe='')}&b=1",
    "in HTML": KEY.replace('"', "&#34;").replace("/", "&#x2F;"),
    "many times": KEY * 300,
    "at the end of the window": "x" * (QUOTE_WINDOW - 10) + KEY,
    "after many of it": f"{KEY} " * 204 + KEY[:12] + KEY,
    "beyond the cut": "a" * (QUOTE_LIMIT - 5) + KEY,
}
TOKENS = {
    "bearer": "you sent Bearer abc123DEF456",
    "an OpenAI key": "Incorrect API key provided: sk-abc1*****************xyz9.",
    "a project's key": "sk-proj-AbCdEf1234567890",
    "a JWT": "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123 expired",
    "a hub's token": "hf_abcdefghijklmnop",
}


@pytest.mark.attack("key")
@pytest.mark.parametrize("text", SPELLED.values(), ids=SPELLED.keys())
@pytest.mark.parametrize("key", [KEY, OTHER])
def test_a_quoted_text_holds_no_part_of_the_key(text: str, key: str) -> None:
    shown = Redactor(key).quote(text.replace(KEY, key))
    assert key not in shown and key[4:12] not in shown
    assert len(shown) <= QUOTE_LIMIT
    assert key not in Redactor(key).quote(text.replace(KEY, key).encode())


@pytest.mark.attack("key")
@pytest.mark.parametrize("text", TOKENS.values(), ids=TOKENS.keys())
def test_a_quoted_text_holds_no_token_of_anybodys(text: str) -> None:
    shown = Redactor().quote(text)
    assert "…" in shown
    assert not any(secret in shown for secret in ("abc1", "AbCd", "eyJ", "hf_a", "xyz9xyz"))


@pytest.mark.parametrize(
    "text", ["model 'tiny' not found, try a task-specific one", "the basic understanding of risk-free"]
)
def test_plain_words_are_quoted_as_they_are(text: str) -> None:
    assert Redactor(KEY).quote(text) == text


@pytest.mark.attack("terminal")
def test_a_quoted_text_is_one_line_that_steers_nothing() -> None:
    shown = Redactor().quote("a\nb\tc\x1b[31m\u202e\ud83d\u2028d")
    assert shown == "a b c\\x1b[31m\\u202e\\ud83d d"


@pytest.mark.attack("key")
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("text", [f"a{KEY}b", KEY, KEY * 3, f"sk-CAN{KEY}", KEY[:-1], "s" * 50, f"{KEY[:9]}{KEY}sk"])
def test_a_text_in_pieces_is_the_whole_text_without_the_key(text: str, size: int) -> None:
    redactor = Redactor(KEY)
    stream = redactor.stream()
    shown = [stream.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join([*shown, stream.end()]) == redactor.clean(text) == text.replace(KEY, "…")
    assert not any(KEY in "".join(shown[:end]) for end in range(len(shown) + 1))


@pytest.mark.attack("key")
def test_only_what_may_begin_the_key_is_held_back() -> None:
    stream = Redactor(KEY).stream()
    assert [stream.feed(piece) for piece in ("s", "ure, sk", "-C", "old")] == ["", "sure, ", "", "sk-Cold"]


@pytest.mark.parametrize("key", ["EMPTY", "none", "ollama", "anything", "a"])
def test_a_word_that_stands_for_a_key_may_be_part_of_a_reply(key: str) -> None:
    assert Redactor(key).clean(f"say {key}") == f"say {key}"
    assert Redactor(key).stream().feed(key) == key


@pytest.mark.parametrize(("key", "shown"), [("x", "next"), ("ext", "next"), ("next", "…")])
def test_a_few_letters_that_stand_for_a_key_are_left_in_messages(key: str, shown: str) -> None:
    assert Redactor(key).quote("next") == shown


@pytest.mark.attack("key")
def test_no_dump_shows_the_key() -> None:
    redactor = Redactor(KEY)
    stream = redactor.stream()
    stream.feed(KEY[:5])
    assert KEY not in f"{vars(redactor)} {redactor!r} {vars(stream)} {stream!r}"


@pytest.mark.attack("key")
@pytest.mark.parametrize(
    ("key", "is_secret"), [("a1b2c3d", False), ("a1b2c3d4", True), ("a" * 15, False), ("a" * 16, True)]
)
def test_a_key_is_removed_from_replies_unless_it_is_short_or_one_word(key: str, is_secret: bool) -> None:
    redactor = Redactor(key)
    assert redactor.has_secret is redactor.finds(key) is is_secret
    assert redactor.clean(f"x {key} y") == ("x … y" if is_secret else f"x {key} y")


def test_a_quote_has_at_most_four_hundred_characters() -> None:
    assert Redactor().quote("b" * 400) == "b" * 400
    assert Redactor().quote("b" * 401) == "b" * 399 + "…"


def test_a_quote_begins_at_the_first_letter_within_the_window() -> None:
    assert Redactor().quote(" " * 4095 + "x") == "x"
    assert Redactor().quote(" " * 4096 + "x") == ""
