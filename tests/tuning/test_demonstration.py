"""Sets of demonstrations: balanced over labels, in an order of their own, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine import Pipeline
from promptkit.tuning.demonstration import Demonstration, example_levels, room_for_examples
from tests.engine.helpers import Folder
from tests.tuning.grounds import model


def pool(labels: str) -> list[Demonstration]:
    """Return a demonstration for each letter, which is its label."""
    return [Demonstration({"text": f"row {at}"}, label, label=label, row=at) for at, label in enumerate(labels)]


def drawn(labels: str, **how: object) -> list[list[str]]:
    """Return the outputs of each set."""
    levels = example_levels("mood", pool(labels), **how)  # type: ignore[arg-type]
    return [[each["output"] for each in level.changes["mood.examples"]] for level in levels]


def test_there_are_four_sets_of_each_size() -> None:
    assert [len(each) for each in drawn("ab" * 8)] == [2] * 4 + [4] * 4 + [8] * 4


def test_the_sizes_are_those_that_the_pool_has_rows_for() -> None:
    assert {len(each) for each in drawn("abab")} == {2, 4}
    assert {len(each) for each in drawn("a")} == {1}
    assert drawn("") == []


@given(st.text(alphabet="abc", min_size=8, max_size=16), st.integers(0, 5))
def test_each_label_is_shown_as_often_as_the_others_as_far_as_there_are_enough(labels: str, seed: int) -> None:
    there = Counter(labels)
    for shown in drawn(labels, seed=seed):
        counts = Counter(shown)
        more = [counts[label] for label in counts if counts[label] < there[label]]
        assert not more or max(counts.values()) - min(more) <= 1


@given(st.permutations("aaaabbbbcccc"), st.integers(0, 5))
def test_the_last_label_differs_between_sets_and_from_the_one_before(labels: list[str], seed: int) -> None:
    sets = drawn("".join(labels), seed=seed)
    lasts = [[each[-1] for each in sets if len(each) == size] for size in (2, 4, 8)]

    assert all(len(set(each[:3])) == min(3, len(set(each))) >= 2 for each in lasts)
    assert all(each[-1] != each[-2] for each in sets)


def test_of_more_labels_than_places_the_frequent_ones_are_shown() -> None:
    shown = [set(each) for each in drawn("aaaabbbbcd", sizes=[2])]

    assert shown == [{"a", "b"}] * 4


@given(st.text(alphabet="ab", min_size=1, max_size=16), st.integers(0, 5))
def test_no_set_is_there_twice_and_no_row_twice_in_a_set(labels: str, seed: int) -> None:
    levels = example_levels("mood", pool(labels), seed=seed)
    texts = [[each["input"]["text"] for each in level.changes["mood.examples"]] for level in levels]

    assert all(len(set(each)) == len(each) for each in texts)
    assert len({tuple(each) for each in texts}) == len(texts)
    assert len({level.name for level in levels}) == len(levels)


def test_the_seed_decides_what_is_drawn() -> None:
    assert example_levels("mood", pool("ab" * 8), seed=1) == example_levels("mood", pool("ab" * 8), seed=1)
    one, other = (example_levels("mood", pool("ab" * 8), seed=seed) for seed in (1, 2))
    assert [each.changes for each in one] != [each.changes for each in other]


def test_demonstrations_without_labels_are_drawn_too() -> None:
    plain = [Demonstration({"text": f"row {at}"}, at) for at in range(4)]

    assert len(example_levels("mood", plain, sizes=[4])) == 4


def test_thoughts_are_shown_where_there_are_some() -> None:
    (level,) = example_levels("mood", [Demonstration({"text": "x"}, "a", "It is a.")], draws=1, called="that it solved")

    assert level.name == "1 example that it solved #1"
    assert level.changes["mood.examples"] == [{"input": {"text": "x"}, "thoughts": "It is a.", "output": "a"}]


def test_sets_that_are_too_long_are_left_out() -> None:
    length = pool("ab")[0].length

    assert {len(each) for each in drawn("ab" * 8, room=4 * length + 3)} == {2, 4}


@pytest.fixture
def pipeline(folder: Folder) -> Pipeline:
    return folder.load('steps: {mood: {prompt: "Say it.", options: {context: 600}}, other: {prompt: "Say it."}}')


def test_examples_have_a_third_of_the_context(pipeline: Pipeline) -> None:
    assert room_for_examples(pipeline.steps["mood"], model(context=9_000)) == 600
    assert room_for_examples(pipeline.steps["other"], model(context=9_000)) == 9_000
    assert room_for_examples(pipeline.steps["other"], model(context=None)) == 4_096
