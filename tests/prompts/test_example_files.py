"""Files of examples: fields of other names, expressions over a row, texts of CSV, and mistakes with their lines."""

from __future__ import annotations

import pytest

from promptkit.prompts.examples import read_examples
from promptkit.prompts.prompt import Example
from tests.prompts.conftest import Load, Write, problems_of

FRONT = "---\ninputs: {question: , hint: {default: none}}\nexamples: {file: train.csv, EXAMPLES}\n---\n"
TEXT = "{% block input %}{{ question }}{% endblock %}"
CSV = "q,answer,why\nTwo and three?,10 #### 5,Add them.\nFour and four?,8 #### 8,\n"


def examples(load: Load, write: Write, text: str, csv: str = CSV) -> tuple[Example, ...]:
    write("templates/prompts/train.csv", csv)
    return read_examples(load(FRONT.replace("EXAMPLES", text) + TEXT)).shown()


def test_fields_of_other_names_are_named(load: Load, write: Write) -> None:
    found = examples(load, write, "input: {question: q}, output: answer, thoughts: why")

    assert found == (
        Example({"question": "Two and three?"}, "10 #### 5", "Add them."),
        Example({"question": "Four and four?"}, "8 #### 8", None),
    )


def test_the_one_required_input_needs_no_name(load: Load, write: Write) -> None:
    assert examples(load, write, "input: q, output: answer")[0].inputs == {"question": "Two and three?"}


def test_a_field_may_be_an_expression_over_the_row(load: Load, write: Write) -> None:
    text = """input: {question: "{{ row.q | upper }}"}, output: "{{ row.answer.split('####')[-1].strip() }}\""""

    found = examples(load, write, text)

    assert [example.output for example in found] == ["5", "8"]
    assert found[0].inputs == {"question": "TWO AND THREE?"}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("input: q", "row 1: there is no field `output`, and so in 1 more row", 2),
        ("input: {question: question}, output: answer", "row 1: there is no field `question`", 2),
        ("output: answer", "row 1: there is none of the inputs question, hint", 2),
        ("input: q, output: answer, thoughts: reasons", "row 1: there is no field `reasons`", 2),
        ("input: q, output: '{{ row.answr }}'", "row 1: there is no `answr`", 2),
    ],
)
def test_a_mistake_that_rows_share_stands_once_with_file_and_line(
    load: Load, write: Write, text: str, message: str, line: int
) -> None:
    (problem,) = problems_of(lambda: examples(load, write, text))

    assert message in problem.message and problem.line == line
    assert problem.file is not None and problem.file.endswith("train.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input: {text: q}", "`text` is not an input"),
        ("input: {question: q, ref: q}", "`ref` is not an input"),
        ("input: q, output: '{{ answer }}'", "unknown name `answer`"),
        ("input: {question: '{{ row. }}'}, output: answer", "expected name"),
    ],
)
def test_a_mapping_that_no_row_could_meet_is_a_mistake_of_the_prompt(
    load: Load, write: Write, text: str, message: str
) -> None:
    (problem,) = problems_of(lambda: examples(load, write, text))

    assert message in problem.message and not (problem.file or "").endswith("train.csv")
