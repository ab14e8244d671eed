"""Two answers are compared word by word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.reports.word_diff import diff_words, marked_diff


def test_only_the_words_that_differ_are_marked() -> None:
    assert (
        marked_diff("the line drops every evening", "the router drops every evening").plain
        == "the [-line-] {+router+} drops every evening"
    )


def test_the_same_answer_has_no_marks() -> None:
    assert marked_diff("all the same", "all the same").plain == "all the same"


def test_what_is_only_new_is_only_added() -> None:
    assert marked_diff("one ", "one two").plain == "one {+two+}"


@pytest.mark.attack("terminal")
def test_escapes_in_an_answer_are_shown() -> None:
    assert marked_diff("", "\x1b[2J").plain == "{+\\x1b[2J+}"


@given(st.text(), st.text())
def test_the_parts_make_up_both_answers(old: str, new: str) -> None:
    parts = list(diff_words(old, new))
    assert old == "".join(text for change, text in parts if change != "added")
    assert new == "".join(text for change, text in parts if change != "removed")


def test_a_long_answer_is_compared_by_lines() -> None:
    old = "word word word\n" * 2000
    parts = list(diff_words(old, old + "more\n"))
    assert parts[-1] == ("added", "more\n")
