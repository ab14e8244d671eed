"""Rows of data for one step: a row stands for all that the step sees in a run."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine import step_rows as module
from promptkit.engine.step_rows import StepRows, find_prompt_step, read_step_rows
from promptkit.errors import InputError
from tests.engine.helpers import Folder

PROMPT = """
---
inputs: {mail: {type: text}, tone: {default: calm}}
answer: {label: [delivery, payment]}
---
{% block instructions %}Sort the mail.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
PIPELINE = """
inputs: {mail: {example: hi}}
steps:
  topic: {prompt: sort}
"""


@pytest.fixture
def folder(folder: Folder) -> Folder:
    folder.write("templates/prompts/sort.j2", PROMPT)
    return folder


def read(
    folder: Folder, rows: str, text: str = PIPELINE, *, name: str = "rows.jsonl", step: str | None = None, **how: Any
) -> StepRows:
    pipeline = folder.load(text)
    return read_step_rows(pipeline, find_prompt_step(pipeline, step), folder.write(name, rows), **how)


def test_a_field_of_an_inputs_name_is_its_value_and_what_is_left_out_has_its_default(folder: Folder) -> None:
    found = read(folder, '{"mail": "late", "id": 7, "expect": "delivery"}')

    assert [(row.number, row.inputs, row.expect) for row in found.rows] == [(1, {"mail": "late"}, "delivery")]
    assert found.rows[0].scope["id"] == 7


def test_an_input_is_what_with_makes_of_the_rows_fields(folder: Folder) -> None:
    text = PIPELINE.replace("{prompt: sort}", "{prompt: sort, with: {mail: '{{ mail | upper }}', tone: warm}}")

    assert read(folder, '{"mail": "late"}', text).rows[0].inputs == {"mail": "LATE", "tone": "warm"}


def test_a_with_that_reads_what_the_row_has_not_gives_way_to_the_field_of_the_inputs_name(folder: Folder) -> None:
    text = """
    inputs: {box: {type: json, example: {}}}
    steps:
      topic: {prompt: sort, with: {mail: "{{ box.mail }}"}}
    """

    assert read(folder, '{"mail": "late"}', text).rows[0].inputs == {"mail": "late"}


def test_a_default_of_the_pipelines_input_stands_where_the_row_has_none(folder: Folder) -> None:
    text = PIPELINE.replace("{mail: {example: hi}}", "{mail: {default: none given}}")

    assert read(folder, '{"id": 1}', text).rows[0].inputs == {"mail": "none given"}


def test_the_item_of_a_for_each_is_a_row(folder: Folder) -> None:
    text = """
    inputs: {mails: {type: list, example: [hi]}}
    steps:
      topic: {for_each: "{{ mails }}", as: mail, prompt: sort}
    """

    assert read(folder, '{"mail": "late"}', text).rows[0].inputs == {"mail": "late"}


def test_all_rows_that_lack_something_are_told_with_what_they_have(folder: Folder) -> None:
    with pytest.raises(InputError) as wrong:
        read(folder, '{"mail": "a"}\n{"mial": "b", "id": 2}\n{"mail": 3}\n')

    message = str(wrong.value)
    assert "row 2: nothing gives the input `mail`: there is no field `mail`" in message
    assert "the row's fields are `mial`, `id`" in message
    assert "row 3: the input `mail` must be a text, not a number" in message
    assert len(wrong.value.problems) == 2


def test_no_more_problems_are_told_than_a_person_reads(folder: Folder) -> None:
    with pytest.raises(InputError) as wrong:
        read(folder, '{"id": 1}\n' * 50)

    assert len(wrong.value.problems) == module.MAX_PROBLEMS


@pytest.mark.parametrize("field", ["expect", "output", "label", "answer"])
def test_the_expected_answer_is_in_the_first_field_that_says_so(folder: Folder, field: str) -> None:
    found = read(folder, f'{{"mail": "late", "{field}": "delivery"}}')

    assert (found.expect, found.rows[0].expect) == (field, "delivery")


def test_a_field_that_an_input_takes_is_no_expected_answer(folder: Folder) -> None:
    folder.write("templates/prompts/sort.j2", PROMPT.replace("mail: {type: text}", "mail: {}, answer: {type: text}"))
    text = PIPELINE.replace("example: hi}", "example: hi}, answer: {example: hi}")

    found = read(folder, '{"mail": "m", "answer": "We do.", "label": "payment"}', text)

    assert found.expect == "label"


def test_a_named_field_must_be_in_each_row_and_hold_an_answer_of_the_type(folder: Folder) -> None:
    rows = '{"mail": "a", "gold": "Payment"}\n{"mail": "b", "gold": "weather"}\n{"mail": "c"}\n'

    with pytest.raises(InputError) as wrong:
        read(folder, rows, expect="gold")

    message = str(wrong.value)
    assert "row 1" not in message
    assert "row 2: `gold`: " in message
    assert "row 3: there is no field `gold` with the expected answer" in message
    assert read(folder, rows, expect="gold", limit=1).rows[0].expect == "payment"


@pytest.mark.parametrize(
    ("answer", "given", "value"),
    [
        ("number", "26", 26),
        ("boolean", "true", True),
        ("{list: {separator: ';'}}", "a; b", ["a", "b"]),
        ("text", "x", "x"),
    ],
)
def test_the_text_of_a_table_is_read_as_the_answer_type_reads_it(
    folder: Folder, answer: str, given: str, value: Any
) -> None:
    text = PIPELINE.replace("{prompt: sort}", f"{{prompt: sort, answer: {answer}}}")

    assert read(folder, f"mail,expect\nlate,{given}\n", text, name="rows.csv").rows[0].expect == value


def test_a_row_without_an_answer_is_one_to_prepare_with_and_none_to_measure_by(folder: Folder) -> None:
    assert read(folder, '{"mail": "late"}').rows[0].expect is None

    with pytest.raises(InputError, match="there is no field `expect`, `output`, `label`, `answer`"):
        read(folder, '{"mail": "late"}', labelled=True)


def test_a_rationale_comes_with_its_row(folder: Folder) -> None:
    assert read(folder, '{"mail": "late", "thoughts": "It is late."}').rows[0].rationale == "It is late."


def test_options_of_a_row_are_its_own_answer_type(folder: Folder) -> None:
    text = PIPELINE.replace("{prompt: sort}", "{prompt: sort, answer: {choice: '{{ options }}'}}").replace(
        "{mail: {example: hi}}", "{mail: {example: hi}, options: {type: list, example: [a]}}"
    )

    found = read(folder, '{"mail": "m", "options": ["x", "y"], "expect": "B"}\n', text)

    assert found.rows[0].expect == "y"
    assert found.rows[0].answer is not None and found.rows[0].answer.alternatives() == ("A", "B")


def test_the_hash_tells_other_rows_and_other_answers_apart(folder: Folder) -> None:
    texts = [
        '{"mail": "a", "expect": "delivery"}',
        '{"mail": "a", "expect": "payment"}',
        '{"mail": "b", "expect": "payment"}',
    ]

    assert len({read(folder, text).hash for text in texts}) == 3
    assert read(folder, texts[0]).hash == read(folder, '{"expect": "delivery", "mail": "a"}').hash


def test_a_file_without_rows_and_one_with_too_many_are_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there are no rows"):
        read(folder, "")
    monkeypatch.setattr("promptkit.engine.step_rows.MAX_ROWS", 2)

    with pytest.raises(InputError, match=r"more than 2 rows(?s:.*)--limit"):
        read(folder, '{"mail": "a"}\n' * 3)

    assert len(read(folder, '{"mail": "a"}\n' * 3, limit=2).rows) == 2


TWO = """
inputs: {mail: {example: hi}}
steps:
  one: {prompt: sort}
  two: {prompt: sort}
  add: {tool: t}
tools: {t: t.py:f}
"""


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (None, "2 steps that ask a model(?s:.*)one, two"),
        ("onne", "no step `onne`(?s:.*)did you mean `one`"),
        ("add", "the step `add` asks no model"),
    ],
)
def test_the_step_is_named_where_several_ask(folder: Folder, step: str | None, words: str) -> None:
    folder.write("pipelines/t.py", "def f(): return 1\n")

    with pytest.raises(InputError, match=words):
        find_prompt_step(folder.load(TWO), step)


def test_the_only_step_that_asks_needs_no_name(folder: Folder) -> None:
    assert find_prompt_step(folder.load(PIPELINE), None).name == "topic"


def test_an_edited_default_does_not_make_a_row_another(folder: Folder) -> None:
    text = PIPELINE.replace("{mail: {example: hi}}", "{mail: {example: hi}, tone: {default: calm}}")
    before = read(folder, '{"mail": "late"}', text)
    after = read(folder, '{"mail": "late"}', text.replace("calm", "very calm"))

    assert before.rows[0].hash == after.rows[0].hash
