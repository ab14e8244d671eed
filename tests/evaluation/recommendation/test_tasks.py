"""The tasks that techniques are chosen for, and the names that people give them."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.recommendation.recommend import find_task, tasks
from promptkit.project import Project
from promptkit.techniques.description import find_all
from tests.docs.pages import ROOT


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("classification", "classification"),
        ("text_classification", "classification"),
        ("Text classification", "classification"),
        ("routing", "classification"),
        ("triage", "classification"),
        ("intent", "classification"),
        ("extraction", "extraction"),
        ("information-extraction", "extraction"),
        ("ner", "ner"),
        ("sentiment_analysis", "sentiment"),
    ],
)
def test_a_task_is_found_by_the_names_that_people_use(name: str, key: str) -> None:
    assert find_task(name)[0] == key


def test_an_unknown_task_names_the_nearest_else_all() -> None:
    with pytest.raises(InputError) as near:
        find_task("clasification")
    assert near.value.problems[0].hint == "did you mean `classification`?"
    with pytest.raises(InputError) as far:
        find_task("zzz")
    assert all(task in (far.value.problems[0].hint or "") for task in tasks())


def test_a_name_stands_for_one_task() -> None:
    names = [*tasks(), *(name for task in tasks().values() for name in task.synonyms)]
    assert len(names) == len(set(names))


def test_cards_and_table_name_the_same_techniques_for_sorting_and_reading_texts() -> None:
    every, _ = find_all(Project.find(ROOT))
    for key in ("classification", "extraction"):
        assert {each.name for each in every if key in each.card.tasks} == set(tasks()[key].candidates())
