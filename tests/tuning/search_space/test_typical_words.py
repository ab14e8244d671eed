"""Words that are typical of labels, and none where the labels are chance."""

from __future__ import annotations

import random

import pytest

from promptkit.tuning.search_space.typical_words import typical_words

Rows = list[tuple[list[str], str]]


def rows_of(**texts: list[str]) -> Rows:
    return [(text.split(), label) for label, of_label in texts.items() for text in of_label]


def sentences(count: int, seed: int) -> Rows:
    """Return rows of twelve words by Zipf's law, with labels that have nothing to do with them."""
    chance = random.Random(seed)
    vocabulary = [f"word{number}" for number in range(400)]
    weights = [1 / (1 + number) for number in range(400)]
    return [(chance.choices(vocabulary, weights, k=12), chance.choice(["good", "bad"])) for _ in range(count)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (rows_of(good=["nice place"] * 6, bad=["foul place"] * 6), {"good": ["nice"], "bad": ["foul"]}),
        (rows_of(good=["nice place"] * 3, bad=["foul place"] * 3), {}),
        (rows_of(good=["nice nice nice"], bad=["foul"]), {}),
        (rows_of(good=["a bc def"] * 9, bad=["12345 x"] * 9), {}),
        (rows_of(good=["nice place"] * 9), {}),
        ([], {}),
    ],
)
def test_typical_words_are_frequent_under_one_label_and_seldom_elsewhere(
    rows: Rows, expected: dict[str, list[str]]
) -> None:
    assert typical_words(rows, ["good", "bad"]) == expected


def test_the_most_typical_words_come_first_and_there_are_four_at_most() -> None:
    rows = rows_of(good=["nice kind fair warm fine"] * 12 + ["cold warm"] * 3, bad=["cold"] * 12 + ["warm cold"] * 2)

    assert typical_words(rows, ["good", "bad"]) == {"good": ["warm", "fair", "fine", "kind"], "bad": ["cold"]}


def test_words_are_found_for_one_in_twenty_sets_of_chance_labels() -> None:
    found = sum(bool(typical_words(sentences(60, seed), ["good", "bad"])) for seed in range(40))

    assert 1 <= found <= 4


def test_a_planted_word_is_found_among_words_of_chance() -> None:
    rows = [([*words, "splendid"] if label == "good" else words, label) for words, label in sentences(60, 1)]

    assert typical_words(rows, ["good", "bad"]) == {"good": ["splendid"]}
