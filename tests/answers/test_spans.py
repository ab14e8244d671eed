"""Which word of a copy is which word of a text, however long both are."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.answers.base import Refusal, Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.spans import MAX_PAIRS, aligned

LONG = [f"word{at % 90}" if at % 40 else f"chapter{at}" for at in range(2_000)]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12))
def test_aligned_words_are_the_same_and_in_order(left: list[str], right: list[str]) -> None:
    pairs = sorted(aligned(left, right).items())
    assert all(left[at] == right[other] for at, other in pairs)
    assert pairs == sorted(pairs, key=lambda pair: pair[1]) and len({other for _, other in pairs}) == len(pairs)


@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_the_same_words_are_all_aligned(words: list[str]) -> None:
    assert aligned(words, words) == {at: at for at in range(len(words))}


def test_a_long_text_is_aligned_around_what_was_changed_in_it() -> None:
    assert len(LONG) ** 2 > MAX_PAIRS
    changed = [*LONG[:500], "new", "words", *LONG[500:1_000], *LONG[1_005:]]
    expected = {at: at - 2 for at in range(502, 1_002)} | {at: at + 3 for at in range(1_002, len(changed))}
    assert aligned(changed, LONG) == {at: at for at in range(500)} | expected


@pytest.mark.attack("number")
@pytest.mark.parametrize("names", [90, 2_000])
async def test_a_long_copy_with_a_change_in_each_sentence_is_read_at_once(names: int) -> None:
    words = [f"w{at % names}" for at in range(4_000)]
    copied = [copy for at, word in enumerate(words) for copy in ((word,) if at % 2 else (word, f"y{at % names}"))]
    spans = build_answer_type({"spans": {"classes": ["a"], "text": " ".join(words)}})
    reply = " ".join(f'<span class="a">{word}</span>' if at % 8 == 0 else word for at, word in enumerate(copied))
    await asyncio.sleep(0)
    spans.parse(reply)


@pytest.mark.parametrize("reply", ["I cannot do that.", "EXHAUSTED", "x y z", '<span class="a">nothing</span> of it'])
def test_a_reply_that_is_no_copy_of_the_text_is_no_answer(reply: str) -> None:
    spans = build_answer_type({"spans": {"classes": ["a"], "text": "Ada Lovelace was born in London in 1815."}})
    with pytest.raises(Unparsed, match="not a copy"):
        spans.parse(reply)


def test_a_refusal_to_mark_up_is_told_from_garbage() -> None:
    spans = build_answer_type({"spans": {"classes": ["a"], "text": "Ada Lovelace was born in London in 1815."}})
    with pytest.raises(Refusal):
        spans.find("I'm sorry, but I can't help with that.")


def test_half_of_the_words_make_a_copy() -> None:
    spans = build_answer_type({"spans": {"classes": ["a"], "text": "one two three four"}})
    assert spans.parse('<span class="a">one</span> two') == [{"start": 0, "end": 3, "class": "a"}]
    with pytest.raises(Unparsed):
        spans.parse('<span class="a">one</span>')
