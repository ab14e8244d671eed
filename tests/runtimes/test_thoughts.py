"""A reasoning model's thoughts are split from its answer, however they are marked and however the text arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.runtimes.reply_reader import ReplyReader
from promptkit.runtimes.thoughts import CLOSE_BY_OPEN, MOST_HELD, ThoughtSplitter, without_marks

FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
CASES = [
    ("<think>\nHm.\n</think>\n\nYes.", False, "Hm.", "Yes."),
    ("\n<think></think>Yes.", False, "", "Yes."),
    ("Hm.\n</think>\n\nYes.", True, "Hm.", "Yes."),
    ("<think>\nHm, this is cut", False, "Hm, this is cut", ""),
    ("<think>done</think>\n", False, "done", ""),
    ("  Yes <think>no</think>.", False, "", "  Yes <think>no</think>."),
    ("<thin", False, "", "<thin"),
    ("< 5", False, "", "< 5"),
    ("", False, "", ""),
    ("<Thinking>Hm.</Thinking> Yes.", False, "Hm.", "Yes."),
    ("<thought>Hm.</thought>Yes.", False, "Hm.", "Yes."),
    ("<reasoning>\nHm.\n</reasoning>\nYes.", False, "Hm.", "Yes."),
    ("[THINK]Hm.[/THINK]Yes.", False, "Hm.", "Yes."),
    ("◁think▷Hm.◁/think▷Yes.", False, "Hm.", "Yes."),
    ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", False, "Hm.", "Yes."),
    ("<|channel|>analysis<|message|>Hm." + FINAL + "Yes.<|return|>", False, "Hm.", "Yes."),
    ("<|channel|>final<|message|>Yes.<|return|>", False, "", "Yes."),
    ("<|channel|>analysis<|message|>Hm, this is cut", False, "Hm, this is cut", ""),
    ("analysisWe add 3.assistantfinalIt is 7.", False, "analysisWe add 3.", "It is 7."),
    ("Hm, so 3 + 4.\n</think>\n\nYes.", False, "Hm, so 3 + 4.", "Yes."),
    ("Hm.[/THINK]Yes.", False, "Hm.", "Yes."),
    ("assistant\n<think>Hm.</think>Yes.", False, "Hm.", "Yes."),
    ("好\n\n<think>Hm.</think>Yes.", False, "Hm.", "Yes."),
    ("One\ntwo", False, "", "One\ntwo"),
    ("One\n", False, "", "One\n"),
    ("The tag <think> ends with </think> here.", False, "", "The tag <think> ends with </think> here."),
    ("It ends with `</think>`.", False, "", "It ends with `</think>`."),
    ("Yes.</s>", False, "", "Yes."),
    ("Yes.<|eot_id|>", False, "", "Yes."),
    ("Yes.<|im_end|>\n<|im_start|>user\nAnd now?", False, "", "Yes."),
    ("<|im_start|>assistant\nYes.<|im_end|>", False, "", "Yes."),
    ("Yes.<end_of_turn>\n", False, "", "Yes."),
    ("1. B <eoa>\n2. C <eoa>\n", False, "", "1. B \n2. C \n"),
    ("<think>Hm.</think>Yes.<|endoftext|>Human: more", False, "Hm.", "Yes.<|endoftext|>Human: more"),
    ("An old price is <s>5</s> 4.", False, "", "An old price is <s>5</s> 4."),
    ("A turn ends with <|im_end|> in ChatML.", False, "", "A turn ends with <|im_end|> in ChatML."),
    ("Write `<eos>`", False, "", "Write `<eos>`"),
]


@pytest.mark.parametrize(("reply", "opened", "thoughts", "text"), CASES)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_thoughts_and_answer_are_the_same_in_any_pieces(
    reply: str, opened: bool, thoughts: str, text: str, size: int
) -> None:
    splitter = ThoughtSplitter(opened=opened)
    shown = "".join(splitter.feed(reply[start : start + size]) for start in range(0, len(reply), size))
    shown += splitter.finish()
    assert (splitter.thoughts, splitter.text) == (thoughts, text)
    assert shown == text or (splitter.unopened and shown.endswith(text))
    if not opened:
        assert without_marks(reply) == text


@given(
    st.lists(
        st.sampled_from([*CLOSE_BY_OPEN, *CLOSE_BY_OPEN.values(), "</s>", "<|im_end|>", "a", " ", "\n", "<", "`"])
    ),
    st.integers(1, 9),
)
def test_pieces_make_no_difference(parts: list[str], size: int) -> None:
    reply = "".join(parts)
    splitter = ThoughtSplitter()
    for start in range(0, len(reply), size):
        splitter.feed(reply[start : start + size])
    splitter.finish()
    assert splitter.text == without_marks(reply)


def test_nothing_is_split_where_no_thoughts_are_expected() -> None:
    splitter = ThoughtSplitter(off=True)
    assert splitter.feed("<think>a</think>") == splitter.text == "<think>a</think>"
    assert not splitter.thinking


def test_it_tells_what_of_the_stream_is_thought() -> None:
    splitter = ThoughtSplitter()
    thinking = []
    for piece in ("<think>", "Hm", "</think>", "Yes"):
        splitter.feed(piece)
        thinking.append(splitter.thinking)
    assert thinking == [True, True, True, False]


def test_tokens_before_a_mark_that_ends_thoughts_are_thoughts() -> None:
    reader = ReplyReader("model")
    shown = [reader.add(piece, "", [{"token": piece, "logprob": 0.0}]) for piece in ("Hm", ".", "</think>", "Yes")]
    reader.end("stop")
    shown.append(reader.end_text())
    reply = reader.reply(tokens_in=1, tokens_out=4, tokens_thought=None, seconds=0.0)
    assert (reply.thoughts, reply.text, reply.tokens_thought) == ("Hm.", "Yes", 3)
    assert b"".join(token.piece for token in reply.tokens) == b"Yes"


@pytest.mark.attack("server")
@pytest.mark.parametrize(
    "text",
    [
        "<" * 10_000,
        " " * 10_000,
        "a</thin" * 1_500,
        "\n<think>" + "< /" * 3_500,
        "a\n" + "\n" * 10_000,
        "<|im_end|>" * 1_000,
        "a<eoa>" * 2_000,
        "a</think>" * 1_500,
        "x <think></think>" * 1_000,
        "`</s>" * 2_500,
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_however_long_the_thoughts_no_more_is_held_back_than_a_mark(text: str, opened: bool) -> None:
    splitter = ThoughtSplitter(opened=opened)
    held = 0
    for piece in text:
        splitter.feed(piece)
        held = max(held, len(splitter.held))
    assert held < MOST_HELD + 40
