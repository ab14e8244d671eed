"""Outputs in a file of examples are texts, which are read as the answer's type reads them."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.errors import InputError
from tests.engine.helpers import Folder


def typed(folder: Folder, answer: str, csv: str) -> list[Any]:
    folder.write("templates/prompts/train.csv", csv)
    front = f"---\ninputs: {{q: }}\nanswer: {answer}\nexamples: {{file: train.csv, count: 9}}\n---\n"
    folder.write("templates/prompts/ask.j2", front + "{% block input %}{{ q }}{% endblock %}")
    pipeline = load_target(folder.root / "templates/prompts/ask.j2", folder.project)
    (step,) = pipeline.steps.values()
    assert step.prompt_call is not None
    return [example.output for example in step.prompt_call.examples.shown()]


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        ("number", "1,200", 1200),
        ("number", "-2.5", -2.5),
        ("boolean", "true", True),
        ("{label: [good, bad]}", "good", "good"),
        ("{list: {separator: ';'}}", "a; b", ["a", "b"]),
        ("{json: {type: object}}", '{"a": 1}', {"a": 1}),
        ("text", "10", "10"),
    ],
)
def test_texts_of_a_file_are_read_as_the_answers_type_reads_them(
    folder: Folder, answer: str, text: str, value: Any
) -> None:
    quoted = text.replace('"', '""')

    assert typed(folder, answer, f'q,output\nx,"{quoted}"\n') == [value]


def test_an_output_that_is_no_answer_is_named_with_its_file_and_line(folder: Folder) -> None:
    with pytest.raises(InputError) as raised:
        typed(folder, "number", "q,output\nx,1\ny,many\n")

    (problem,) = raised.value.problems
    assert "the output of example 2 is not an answer" in problem.message
    assert (problem.file or "").endswith("train.csv") and problem.line == 3
