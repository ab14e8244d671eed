"""The end of an answer after thoughts: stop strings and a limit for the answer alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.base import Request

ENDS = [
    ("a stop string", ["one\ntwo"], ("\n",), 9, "one", "stop"),
    ("a stop string over pieces", ["one", "\nSt", "ep 2"], ("\nStep",), 9, "one", "stop"),
    ("the first of several", ["a;b.c"], (".", ";"), 9, "a", "stop"),
    ("the start of one, and no more", ["one", "\nSt"], ("\nStep",), 9, "one\nSt", None),
    ("blanks before the answer", ["\n", "\n one", "\ntwo"], ("\n",), 9, "one", "stop"),
    ("no stop string", ["one", " two"], (), 9, "one two", None),
    ("more pieces than tokens", ["one", "two", "three"], (), 2, "onetwo", "length"),
    ("as many pieces as tokens", ["one", "two"], (), 2, "onetwo", None),
    ("single characters of a proxy", list("1234"), (), 6, "1234", None),
    ("too many single characters", list("1234567"), (), 6, "123456", "length"),
]


@pytest.mark.parametrize(("what", "said", "stop", "most", "text", "finish"), ENDS, ids=[row[0] for row in ENDS])
def test_an_answer_ends(what: str, said: list[str], stop: tuple[str, ...], most: int, text: str, finish: str) -> None:
    end = AnswerEnd(stop, most)
    shown = [end.feed(piece) for piece in said]
    assert ("".join([*shown, end.end()]), end.finish) == (text, finish)


def test_nothing_is_shown_after_the_end() -> None:
    end = AnswerEnd(("!",), 9)
    assert [end.feed(piece) for piece in ("a!", "b", "c")] == ["a", "", ""]


@given(st.text("ab\n ", max_size=20), st.lists(st.integers(0, 20), max_size=6))
def test_it_does_not_matter_how_a_text_arrives(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(places)]
    end = AnswerEnd(("\nb", "aa"), 99)
    shown = "".join([*(end.feed(piece) for piece in pieces), end.end()])
    stripped = text.lstrip()
    found = [stripped.index(stop) for stop in ("\nb", "aa") if stop in stripped]
    assert shown == stripped[: min(found, default=len(stripped))]


def test_only_a_request_with_room_for_thoughts_has_one() -> None:
    assert AnswerEnd.of(Request(stop=("\n",))) is None
    assert AnswerEnd.of(Request(thought_tokens=1)) is not None
