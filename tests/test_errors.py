"""Hints of errors say what was meant, or what there is."""

from __future__ import annotations

from promptkit.errors import MOST_COMPARED, nearest


def test_of_very_many_names_the_first_are_shown_and_none_is_looked_for() -> None:
    names = [f"name {number:05}" for number in range(MOST_COMPARED + 1)]
    assert nearest("nome 00007", names[1:]) == "did you mean `name 00007`?"
    hint = nearest("nome 00007", names)
    assert hint and hint.startswith("known: name 00000, name 00001, ") and hint.endswith(" and 1,901 more")
