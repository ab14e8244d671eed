"""A card names the tasks that the table of tasks has its technique for, and no others."""

from __future__ import annotations

import pytest

from promptkit.evaluation.recommendation.recommend import tasks
from tests.techniques.test_catalog import CATALOG, technique


@pytest.mark.parametrize("name", CATALOG)
def test_a_card_and_the_table_name_the_same_tasks(name: str) -> None:
    assert set(technique(name).card.tasks) == {key for key, task in tasks().items() if task.suits(name)}
