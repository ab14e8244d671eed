"""Hints of errors say what was meant, or what there is."""

from __future__ import annotations

from pathlib import Path

from promptkit.errors import MOST_COMPARED, UnexpectedError, exception_text, nearest, place


def test_of_very_many_names_the_first_are_shown_and_none_is_looked_for() -> None:
    names = [f"name {number:05}" for number in range(MOST_COMPARED + 1)]
    assert nearest("nome 00007", names[1:]) == "did you mean `name 00007`?"
    hint = nearest("nome 00007", names)
    assert hint and hint.startswith("known: name 00000, name 00001, ") and hint.endswith(" and 1,901 more")


def test_of_a_foreign_text_four_hundred_characters_are_kept_in_one_line() -> None:
    assert exception_text(ValueError("a\n b")) == "ValueError: a b"
    assert exception_text(ValueError("a" * 401)) == f"ValueError: {'a' * 400}"


def test_a_foreign_text_that_cannot_be_made_is_named_so() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert exception_text(Mute()) == "Mute: its text cannot be made"
    assert str(UnexpectedError(Mute())) == "unexpected Mute at an unknown place: its text cannot be made"


def test_a_path_is_shown_without_the_folders_that_it_leaves_again() -> None:
    assert place(Path.cwd() / "templates/prompts/../../evals/train.csv") == "evals/train.csv"
    assert place(Path.cwd() / "evals/train.csv") == "evals/train.csv"
