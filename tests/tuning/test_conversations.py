"""Tuning on rows that are conversations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.options import TuneOptions
from promptkit.tuning.search_space.demonstration import gold_demonstrations
from promptkit.tuning.search_space.examples import examples_parameter
from promptkit.tuning.tune import Tuning
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Given
from tests.tuning.data_splits import data_split, model

SUITE = """
data: rows.jsonl
target: agent
conversation: {turns: "{{ row.turns }}", message: text}
metrics: {right: {exact: {each: turn}}}
"""
AGENT = """
---
inputs: {talk: {type: messages}, text: {}}
---
{% block instructions %}Answer.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""


@pytest.fixture
def rows(folder: Folder) -> DataSplit:
    folder.write("templates/prompts/agent.j2", AGENT)
    talks = [{"turns": [f"about {number}", "more"], "expect": ["yes", "no"]} for number in range(60)]
    return data_split(Bench(folder), talks, SUITE)


def test_rows_are_told_apart_by_their_turns(rows: DataSplit) -> None:
    assert len(rows.search) + len(rows.demo_pool) + len(rows.holdout) == 60


def test_no_examples_are_drawn_from_conversations(rows: DataSplit) -> None:
    parameter, notes = examples_parameter(rows, "agent", model())
    assert len(parameter.choices) == 1 and "the rows are conversations" in notes[0]
    assert gold_demonstrations(rows.suite, rows.rows, "agent", rows.demo_pool) == []


def test_an_optimizer_that_asks_a_row_once_refuses_conversations(rows: DataSplit, folder: Folder) -> None:
    options = replace(TuneOptions(), optimizer="miprov2")
    with Store.open(folder.root / ".promptkit") as store, pytest.raises(InputError, match="rows are conversations"):
        Tuning(rows.suite, models=Given(Scripted([])), store=store, options=options)
