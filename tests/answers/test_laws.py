"""The laws of all answer types, by Hypothesis."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.build import build_answer_type
from tests.answers.constraints.gbnf import Gbnf
from tests.answers.kinds import IDS, KINDS

FEWER = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TYPES = [build_answer_type(spec) for spec, _ in KINDS]
VALUES = [strategy for _, strategy in KINDS]
PIECES = (
    *("```", "```json\n", "\n", "{", "}", "[", "]", '"', ",", ";", ": ", "\\", "\\ud800", "none", "Answer:", "\nQ:"),
    *("A", "B)", "-", "12", "1e999", "-0", "NaN", "1,234", "$", "٣", "𝟙", "true", "no", "price", ".", " ", "fever"),
    *("\ud800", "\x00", "\x1b[31m", '<span class="drug">', "</span>", "&lt;"),
)
SNIPPETS = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize(("answer", "values"), list(zip(TYPES, VALUES, strict=True)), ids=IDS)
def test_what_is_written_is_read_back_and_within_the_grammar(
    answer: AnswerType, values: st.SearchStrategy[Any]
) -> None:
    grammar = answer.grammar(" ")
    admits = Gbnf.read(grammar).admits if grammar else lambda text: True
    written = 0

    @FEWER
    @given(values)
    def law(value: Any) -> None:
        nonlocal written
        try:
            text = answer.write(value)
        except ValueError:
            return
        written += 1
        assert answer.parse(text) == value
        assert answer.parse(f" {text}") == value
        assert admits(f" {text}")
        assert hash(answer.vote_key(answer.parse(text))) == hash(answer.vote_key(value))

    law()
    assert written


@pytest.mark.parametrize("answer", TYPES, ids=IDS)
def test_what_the_grammar_admits_is_read(answer: AnswerType) -> None:
    text = answer.grammar(" ")
    if text is None:
        assert answer.name == "text"
        return
    grammar = Gbnf.read(text)
    source = random.Random(7)
    for _ in range(75):
        drawn = grammar.draw(source)
        assert grammar.admits(drawn)
        value = answer.parse(drawn)
        assert answer.parse(answer.write(value)) == value


@pytest.mark.parametrize("answer", TYPES, ids=IDS)
def test_any_reply_gives_a_value_or_is_unparsed(answer: AnswerType) -> None:
    grammar = answer.grammar()
    admits = Gbnf.read(grammar).admits if grammar else lambda text: True

    @FEWER
    @given(SNIPPETS | st.text())
    def law(reply: str) -> None:
        for read in (
            answer.parse,
            lambda text: answer.find(text).value,
            lambda text: answer.find(text, "Answer:").value,
        ):
            try:
                value = read(reply)
            except Unparsed as unparsed:
                assert str(unparsed)
                continue
            hash(answer.vote_key(value))
            try:
                assert admits(answer.write(value))
            except ValueError:
                assert answer.name in ("text", "list", "code")

    law()


@pytest.mark.parametrize("answer", TYPES, ids=IDS)
def test_a_long_reply_of_one_sign_over_and_over_is_done_with_at_once(answer: AnswerType) -> None:
    # Whatever takes time by the square of a reply's length would not end here.
    for piece in ("[", '{"', "[1,", "1", "-", "a ", "A ", " ", "\n", "\n\n", "```\n", "<span class=", "&", "price, "):
        reply = piece * (10_000 // len(piece))
        for read in (answer.parse, answer.find, lambda text: answer.find(text, "Answer:")):
            with contextlib.suppress(Unparsed):
                read(reply)


def test_a_reply_beyond_all_bounds_is_unparsed() -> None:
    for answer in TYPES:
        with pytest.raises(Unparsed, match="longer than"):
            answer.parse("1" * 1_000_001)
        with pytest.raises(Unparsed, match="longer than"):
            answer.find("1" * 1_000_001)
