"""The axis of the layout and of the messages."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.settings import layout_parameter
from tests.engine.helpers import Folder
from tests.tuning.data_splits import model


def parameter_of(folder: Folder, step: str = "", *able: Any, has_examples: bool = False) -> Parameter:
    pipeline = folder.load(f"inputs: {{text: {{}}}}\nsteps: {{mood: {{prompt: 'Say {{{{ text }}}}.'{step}}}}}")
    return layout_parameter(pipeline, pipeline.steps["mood"], model(*able), has_examples=has_examples)


def test_all_layouts_but_the_written_one_are_tried(folder: Folder) -> None:
    folder.write("templates/layouts/own.j2", "{{ sections.values() | join }}")

    assert [choice.name for choice in parameter_of(folder, ", layout: prefix", "chat").choices] == [
        "as written",
        "json",
        "markdown",
        "own",
        "xml",
    ]


def test_a_layout_by_its_path_leaves_all_named_ones(folder: Folder) -> None:
    folder.write("pipelines/own.j2", "{{ sections.values() | join }}")

    names = [choice.name for choice in parameter_of(folder, ", layout: own.j2", "chat").choices]
    assert names == ["as written", "json", "markdown", "prefix", "xml"]


@pytest.mark.parametrize(
    ("able", "has_examples", "modes"),
    [
        (("chat",), False, []),
        (("chat", "system"), False, ["system"]),
        (("chat",), True, ["turns"]),
        (("chat", "system"), True, ["turns", "system"]),
    ],
)
def test_message_modes_are_those_that_make_a_difference(
    folder: Folder, able: tuple[str, ...], has_examples: bool, modes: list[str]
) -> None:
    parameter = parameter_of(folder, "", *able, has_examples=has_examples)

    assert [
        value for choice in parameter.choices for key, value in choice.changes.items() if key == "mood.messages"
    ] == modes


def test_a_written_mode_may_be_left(folder: Folder) -> None:
    parameter = parameter_of(folder, ", messages: turns", "chat", has_examples=True)

    assert [choice.changes for choice in parameter.choices[-1:]] == [{"mood.messages": "one"}]
