"""Reading what a model wrote for its technique: whatever it says is a value, or that there is none."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from promptkit.techniques.reading import before_cue, filled_lines, last_named, read_list, read_sentences

LINE = st.from_regex(r"[A-Za-z][A-Za-z ,]{0,20}[a-z]", fullmatch=True)


@given(st.lists(LINE, unique=True), st.sampled_from(["- ", "* ", "• ", "{}. ", "{}) ", "({}) ", "#{} ", "  {}: "]))
def test_a_list_has_its_lines_without_numbers_and_bullets(lines: list[str], mark: str) -> None:
    text = "\n\n".join(mark.format(number) + line for number, line in enumerate(lines, start=1))

    assert read_list(text) == lines
    assert read_list(text, most=2) == lines[:2]


@given(st.text())
def test_no_line_of_a_list_is_blank_or_repeated(text: str) -> None:
    for found in (read_list(text), read_sentences(text)):
        assert all(line and line == line.strip() for line in found)
        assert len(found) == len(set(found))


def test_a_number_that_begins_a_line_and_is_no_mark_stays() -> None:
    assert read_list("3 apples\n2.5 litres\n-1 is less") == ["3 apples", "2.5 litres", "-1 is less"]


def test_sentences_end_at_a_mark_before_a_blank() -> None:
    assert read_sentences("1. It cost 2.50 in all. Was it much?  No!\nNo!") == [
        "It cost 2.50 in all.",
        "Was it much?",
        "No!",
    ]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("True? No: it is FALSE.", "false"),
        ("it is inconsistent", "inconsistent"),
        ("consistent, not inconsistent; so consistent", "consistent"),
        ("untrue", None),
        ("", None),
    ],
)
def test_the_label_named_last_as_a_whole_word_is_the_one(text: str, label: str | None) -> None:
    assert last_named(text, ["true", "false", "consistent", "inconsistent"]) == label


def test_of_labels_that_end_at_one_place_the_longest_is_named() -> None:
    assert last_named("It is not entailed.", ["entailed", "not entailed"]) == "not entailed"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_a_label_is_one_of_those_asked_for(text: str, labels: list[str]) -> None:
    assert last_named(text, labels) in {None, *labels}


@given(st.text(), st.text(), st.from_regex(r"[A-Za-z]{3,8}:", fullmatch=True))
def test_thoughts_end_before_the_cue(thoughts: str, answer: str, cue: str) -> None:
    assume(before_cue(answer, cue) == answer.strip())

    assert before_cue(f"{thoughts}\n{cue.upper()} {answer}", cue) == thoughts.strip()


@pytest.mark.parametrize(
    ("text", "cue", "thoughts"),
    [
        ("Output: 3? No.\nOutput: 4", "Output:", "Output: 3? No."),
        ("Die Maße sind groß.\nOUTPUT: 4", "Output:", "Die Maße sind groß."),
        ("İ is a letter. output: 4", "Output:", "İ is a letter."),
        (" no cue ", "Output:", "no cue"),
        (" no cue ", "", "no cue"),
        ("a (b) c", "(b)", "a"),
    ],
)
def test_thoughts_are_what_stands_before_the_last_cue(text: str, cue: str, thoughts: str) -> None:
    assert before_cue(text, cue) == thoughts


def test_blank_lines_are_no_lines() -> None:
    assert filled_lines("a\n \n\n  b\n") == ["a", "  b"]
