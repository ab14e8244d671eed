"""The levels that a metric has for people."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.labelling.levels import LabelLevels, label_levels, labelled_measure
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench

SUITE = """
data: rows.jsonl
target: mood
metrics:
  accuracy: label
  preferred: {pairwise: {rubric: Which is right?}}
  graded: {judge: {rubric: Is it right?, scale: [1, 5]}}
  seen: {human: {rubric: Look closely., levels: {bad: not at all, fair: in part, good: in full}}}
"""


def test_a_judge_or_a_person_gives_its_own_levels_and_any_other_metric_right_and_wrong(folder: Folder) -> None:
    suite = Bench(folder).suite(SUITE)
    by_name = {name: label_levels(labelled_measure(suite, name)) for name in ("accuracy", "graded", "seen")}

    assert by_name["accuracy"].names == ("wrong", "right")
    assert (by_name["graded"].names, by_name["graded"].low, by_name["graded"].high) == (("1", "2", "3", "4", "5"), 1, 5)
    assert by_name["seen"].meanings["fair"] == "in part" and by_name["seen"].rubric == "Look closely."
    assert labelled_measure(suite, None).name == "graded"


def test_a_metric_of_two_answers_has_no_label(folder: Folder) -> None:
    suite = Bench(folder).suite(SUITE)
    with pytest.raises(InputError, match="compares two answers"):
        labelled_measure(suite, "preferred")


def test_levels_are_read_in_any_case_and_other_values_refused() -> None:
    levels = LabelLevels(names=("poor", "good"))
    assert [levels.read(value) for value in ("Good", " poor ", True, False, "", None)] == [
        "good",
        "poor",
        "good",
        "poor",
        None,
        None,
    ]
    with pytest.raises(ValueError, match="is not one of the levels poor, good"):
        levels.read("fine")
    assert LabelLevels(names=("1", "2")).read(2) == "2"
    assert [LabelLevels(names=("a", "b", "c")).nearest(share) for share in (0.0, 0.3, 0.9)] == ["a", "b", "c"]
