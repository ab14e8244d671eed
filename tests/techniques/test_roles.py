"""Roles: which input plays what a technique must know, and what is told where none does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.prompts.front_matter import PromptInput
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.roles import KINDS, Role, bind
from tests.engine.helpers import Folder, asked, messages

TEXT, LIST, TABLE = PromptInput(type="text"), PromptInput(type="list"), PromptInput(type="table")


def bound(*roles: str, given: dict[str, str] | None = None, **inputs: PromptInput) -> dict[str, str | None]:
    return bind([Role.parse(role) for role in roles], given or {}, inputs)


def test_an_input_of_its_name_plays_a_role() -> None:
    assert bound("question", "table", question=TEXT, table=TABLE, other=TABLE) == {
        "question": "question",
        "table": "table",
    }


def test_an_input_of_its_name_plays_a_role_whatever_its_type() -> None:
    assert bound("table", table=TEXT, facts=TABLE) == {"table": "table"}


def test_what_the_step_binds_wins_over_the_name() -> None:
    assert bound("target", given={"target": "aspect"}, target=TEXT, aspect=TEXT) == {"target": "aspect"}


def test_the_only_input_left_of_its_types_plays_a_role() -> None:
    assert bound("table", words=TEXT, facts=TABLE) == {"table": "facts"}
    assert bound("context", passages=LIST, facts=TABLE) == {"context": "passages"}


def test_an_input_that_plays_a_role_is_left_for_no_other() -> None:
    assert bound("target", "question", review=TEXT, target=TEXT) == {"target": "target", "question": "review"}


def test_the_only_text_plays_the_question_before_any_other_role() -> None:
    with pytest.raises(InputError, match="no input plays the role `target`"):
        bound("target", "question", review=TEXT)


@pytest.mark.parametrize("inputs", [{}, {"first": TEXT, "second": TEXT}, {"facts": TABLE}])
def test_where_no_input_is_the_question_the_input_section_is(inputs: dict[str, PromptInput]) -> None:
    assert bind([Role("question")], {}, inputs) == {"question": None}


def test_an_optional_role_is_played_only_by_name_or_by_what_the_step_binds() -> None:
    assert bound("context?", passages=LIST) == {"context": None}
    assert bound("context?", context=LIST) == {"context": "context"}
    assert bound("context?", given={"context": "passages"}, passages=LIST) == {"context": "passages"}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "no input plays the role `table` (table); the inputs are none"),
        ({"a": TEXT, "b": TEXT}, "no input plays the role `table` (table); the inputs are a, b"),
        ({"a": TABLE, "b": TABLE}, "no input plays the role `table` (table); the inputs are a, b"),
    ],
)
def test_a_role_that_none_or_several_could_play_is_told_with_the_inputs(
    inputs: dict[str, PromptInput], told: str
) -> None:
    with pytest.raises(InputError) as raised:
        bind([Role("table")], {}, inputs)

    assert [problem.message for problem in raised.value.problems] == [told]


@pytest.mark.parametrize(
    ("spec", "role"),
    [
        (PromptInput(default=[{"a": 1}]), "table"),
        (PromptInput(example=[{"a": 1}]), "table"),
        (PromptInput(example=["a", "b"]), "documents"),
        (PromptInput(default={"a": 1}), "glossary"),
        (PromptInput(), "target"),
        (PromptInput(example="words"), "guideline"),
        (PromptInput(type="table", example=["a"]), "table"),
    ],
)
def test_the_type_of_an_input_is_what_it_states_else_that_of_its_default_or_example(
    spec: PromptInput, role: str
) -> None:
    assert bound(role, given_here=spec) == {role: "given_here"}


@pytest.mark.parametrize("example", [True, 3, 2.5])
def test_a_number_or_a_truth_value_is_no_text(example: Any) -> None:
    with pytest.raises(InputError):
        bound("target", given_here=PromptInput(example=example))


@pytest.mark.parametrize("role", [*KINDS, *(f"{name}?" for name in KINDS)])
def test_a_role_is_declared_by_its_name_and_marked_where_it_is_optional(role: str) -> None:
    assert Role.parse(role) == Role(role.rstrip("?"), role.endswith("?"))


@pytest.mark.parametrize("role", ["", "?", "tabel", "question??", "Table"])
def test_what_is_no_role_is_told_with_those_that_there_are(role: str) -> None:
    with pytest.raises(ValueError, match="roles are question, context, table"):
        Role.parse(role)


COUNTING = """
from promptkit.techniques import Answer, Task, technique


@technique(roles=["table"])
async def counting(task: Task) -> Answer:
    await task.ask("answer", replace={"table": task.role("table")[:1]})
    return task.answer(len(task.role("table")))
"""
PROMPT = """
---
inputs: {facts: {}, wish: {}}
answer: number
---
{% block input %}{{ wish }} {{ facts | tojson }}{% endblock %}
"""
PIPELINE = """
inputs:
  facts: {type: table, example: [{city: Bonn}, {city: Köln}]}
  wish: {example: How many?}
steps:
  count: {prompt: count, technique: counting}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("techniques/counting.py", COUNTING)
    folder.write("templates/techniques/counting/answer.j2", "{% extends prompt %}")
    folder.write("templates/prompts/count.j2", PROMPT)
    return folder


async def test_the_types_of_a_pipelines_inputs_say_which_of_a_prompts_inputs_plays_a_role(folder: Folder) -> None:
    runtime = Scripted(lambda request: "any")

    assert folder.problems(PIPELINE) == []
    assert (await folder.run(PIPELINE, runtime)).output == 2
    assert "Bonn" in asked(runtime)[0] and "Köln" not in asked(runtime)[0]


def test_without_a_type_that_fits_the_check_tells_the_role_and_the_inputs_at_the_technique(folder: Folder) -> None:
    (problem,) = folder.problems(PIPELINE.replace("type: table", "type: json"))

    told = "no input plays the role `table` (table); the inputs are facts, wish"
    assert problem.message == f"technique `counting`: {told}"
    assert (problem.line, problem.column) == (5, 37)


async def test_a_step_binds_a_role_by_name(folder: Folder) -> None:
    text = PIPELINE.replace("type: table", "type: json").replace(
        "technique: counting", "technique: {counting: {table: facts}}"
    )

    assert (await folder.run(text, Scripted(lambda request: "any"))).output == 2


def test_an_input_of_another_type_cannot_be_bound(folder: Folder) -> None:
    (problem,) = folder.problems(PIPELINE.replace("technique: counting", "technique: {counting: {table: wish}}"))

    assert problem.message == "the role `table` of technique `counting` takes a table, and `wish` is a text"


@pytest.mark.parametrize(
    ("roles", "message", "hint"),
    [
        ("{table: fact}", "technique `counting` is bound to `fact`, which is not an input", "`facts`"),
        ("{table: [facts]}", "the role `table` of technique `counting` is the name of an input", ""),
        ("{tabel: facts}", "technique `counting` has no parameter `tabel`", "did you mean `table`?"),
    ],
)
def test_a_role_that_is_bound_wrongly_is_told(folder: Folder, roles: str, message: str, hint: str) -> None:
    told = messages(folder.problems(PIPELINE.replace("technique: counting", f"technique: {{counting: {roles}}}")))

    assert message in told and hint in told


@pytest.mark.parametrize("role", ["question", "tabel"])
async def test_a_value_for_a_role_that_a_technique_does_not_declare_is_told(folder: Folder, role: str) -> None:
    folder.write("techniques/counting.py", COUNTING.replace('{"table": task', f'{{"{role}": task'))

    result = await folder.run(PIPELINE, Scripted(lambda request: "any"))

    assert f"technique `counting` gives a value to the role `{role}`, which it does not declare" in str(result.error)
