"""A reasoning model's thoughts are split from its answer, however the text arrives."""

from __future__ import annotations

import pytest

from promptkit.runtimes.reply_reader import ThoughtSplitter

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
]


@pytest.mark.parametrize(("reply", "opened", "thoughts", "text"), CASES)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_thoughts_and_answer_are_the_same_in_any_pieces(
    reply: str, opened: bool, thoughts: str, text: str, size: int
) -> None:
    splitter = ThoughtSplitter(opened=opened)
    shown = "".join(splitter.feed(reply[start : start + size]) for start in range(0, len(reply), size))
    shown += splitter.finish()
    assert (splitter.thoughts, splitter.text, shown) == (thoughts, text, text)


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


@pytest.mark.attack("server")
@pytest.mark.parametrize("text", ["<" * 20_000, " " * 20_000, "a</thin" * 3_000, "\n<think>" + "< /" * 7_000])
@pytest.mark.parametrize("opened", [False, True])
def test_however_long_the_thoughts_no_more_is_held_back_than_a_mark(text: str, opened: bool) -> None:
    splitter = ThoughtSplitter(opened=opened)
    held = 0
    for piece in text:
        splitter.feed(piece)
        held = max(held, len(splitter.held))
    assert held < len("</think>")
