"""Labels of answers: what they belong to, and the file that keeps them."""

from pathlib import Path

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key, label_file


def label(key: str = "k", level: str = "good", person: str = "", **more: str) -> AnswerLabel:
    return AnswerLabel.model_validate(
        {"metric": "helpful", "key": key, "answer": "Restart.", "level": level, "person": person, "drawn": "random"}
        | more
    )


def test_a_label_is_of_one_answer_to_one_set_of_inputs() -> None:
    key = answer_key({"q": "Why?", "n": 1}, "So.")
    assert key == answer_key({"n": 1, "q": "Why?"}, "So.")
    assert len({key, answer_key({"q": "Why?", "n": 1}, "Thus."), answer_key({"q": "How?", "n": 1}, "So.")}) == 3


def test_labels_stand_beside_the_suite_and_are_read_back(tmp_path: Path) -> None:
    path = label_file(tmp_path / "helpful.yaml")
    labels = AnswerLabels.read(path)
    labels.add(label("a", "good"))
    labels.add(label("b", "poor", why="it names no action"))
    assert path.name == "helpful.labels.jsonl"
    assert list(AnswerLabels.read(path)) == [label("a", "good"), label("b", "poor", why="it names no action")]


def test_the_last_label_of_a_person_counts(tmp_path: Path) -> None:
    labels = AnswerLabels.read(tmp_path / "x.labels.jsonl")
    labels.add(label(level="good"))
    labels.add(label(level="poor"))
    assert [found.level for found in labels.of_answer("helpful", "k")] == ["poor"]
    assert labels.of_answer("other", "k") == ()


def test_most_people_decide_and_the_first_one_where_as_many_differ(tmp_path: Path) -> None:
    labels = AnswerLabels.read(tmp_path / "x.labels.jsonl")
    labels.add(label(level="poor", person="ann"))
    labels.add(label(level="good", person="ben"))
    assert (first := labels.consensus("helpful", "k")) and first.level == "poor"
    labels.add(label(level="good", person="cay"))
    assert (most := labels.consensus("helpful", "k")) and most.level == "good"
    assert labels.consensus("helpful", "other") is None


def test_a_label_is_taken_back(tmp_path: Path) -> None:
    labels = AnswerLabels.read(tmp_path / "x.labels.jsonl")
    labels.add(label("a"))
    labels.add(label("b"))
    labels.remove(label("b"))
    assert list(labels) == list(AnswerLabels.read(labels.path)) == [label("a")]


def test_each_wrong_line_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.labels.jsonl"
    right = label().model_dump_json()
    path.write_text(f'{right}\n{{"metric": "helpful"}}\nnothing\n', "utf-8")
    with pytest.raises(InputError) as raised:
        AnswerLabels.read(path)
    assert [problem.line for problem in raised.value.problems] == [2, 3]
    assert "`key`" in raised.value.problems[0].message
