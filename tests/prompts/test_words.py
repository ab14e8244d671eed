"""Words and n-grams of a text."""

from __future__ import annotations

from promptkit.prompts.words import ngrams, words


def test_words_are_runs_of_letters_digits_and_underscores_without_case() -> None:
    assert words("Straße 7, snake_case: it's été!") == ["strasse", "7", "snake_case", "it", "s", "été"]


def test_ngrams_are_the_distinct_runs_of_words() -> None:
    assert ngrams(["a", "b", "a", "b"], 2) == {("a", "b"), ("b", "a")}
    assert ngrams(["a", "b"], 2) == {("a", "b")}
    assert ngrams(["a"], 2) == set()
