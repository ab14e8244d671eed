"""Typed asides: a call that `produces` an answer type is held to it, read, asked for again and scored; its brief."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Reply, Request
from promptkit.techniques.calls import read_call
from promptkit.techniques.perform import perform
from tests.techniques.steps import MARKED, Bench, without

GRADED = '''
from promptkit.techniques import Answer, Task, technique


@technique(roles=["question"])
async def graded(task: Task) -> Answer:
    """Return the value of an aside."""
    return Answer(value=(await task.ask("grade")).value)
'''
BRIEF = '{% from "_brief.j2" import task %}{% block instructions %}Grade it.\n{{ task(call.brief) }}{% endblock %}\n'


def graded(folder: Path, answers: Any, front: str, *, body: str = "", answer: Any = "text", **runtime: Any) -> Bench:
    """Return a step whose technique makes one call, with this front matter and body."""
    (folder / "techniques").mkdir()
    (folder / "techniques" / "graded.py").write_text(GRADED)
    (folder / "templates" / "techniques" / "graded").mkdir(parents=True)
    template = f"---\nhides: all\n{front}\n---\n{{% extends prompt %}}\n{body}"
    (folder / "templates" / "techniques" / "graded" / "grade.j2").write_text(template)
    return Bench(folder, answers, answer, prompt=MARKED, **runtime)


@pytest.mark.parametrize(
    ("produces", "reply", "value"),
    [
        ("{number: {min: 0, max: 10}}", "7", 7),
        ("{label: [sure, likely]}", "likely", "likely"),
        ("boolean", "true", True),
        ("{list: {of: number}}", "1\n2", [1, 2]),
        ("{json: {type: array, items: {type: integer}}}", "[1, 2]", [1, 2]),
    ],
)
async def test_an_aside_is_constrained_to_its_type_and_has_its_value(
    tmp_path: Path, produces: str, reply: str, value: Any
) -> None:
    bench = graded(tmp_path, [reply], f"produces: {produces}")

    answer = await perform("graded", bench.step())

    assert answer.value == value
    assert bench.runtime.requests[0].constrained
    assert "nothing else" in bench.texts[0], "the type's own instruction stands in the call"
    assert "FORMAT-MARK" not in bench.texts[0]


async def test_the_options_of_an_aside_may_be_expressions_over_the_call(tmp_path: Path) -> None:
    produces = 'produces: {number: {max: "{{ call.question | length }}"}}'
    bench = graded(tmp_path, ["18"], produces)

    answer = await perform("graded", bench.step(decide="generate"))

    assert answer.value == 18
    assert "It is at most 18." in bench.texts[0]


async def test_items_of_an_aside_are_whole_and_those_beyond_the_bound_are_left_out_and_reported(tmp_path: Path) -> None:
    warned: list[str] = []
    bench = graded(tmp_path, ["1. **A**: as b\n2. **C**: as d\n3. e"], "produces: {list: {max: 2}}")

    answer = await perform("graded", bench.step(decide="generate", warn=warned.extend))

    assert (answer.value, warned, len(bench.records)) == (["**A**: as b", "**C**: as d"], ["capped"], 1)
    assert "at most 2 items" in bench.texts[0]


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        ("Which of Paris, Rome and Oslo is largest?", ["Which of Paris, Rome and Oslo is largest?"]),
        ("1. Add A.\n2. Say that the answer is A.", ["Add A.", "Say that the answer is A."]),
        ('We need to know: "A?", "B, or C?"', ["A?", "B, or C?"]),
        ("1. Add A, B. 2. Halve it.", ["Add A, B.", "Halve it."]),
        ("Steps: Add A, then B.", ["Add A, then B."]),
        ("none", []),
    ],
)
async def test_the_items_of_a_list_may_be_sentences(tmp_path: Path, reply: str, items: list[str]) -> None:
    bench = graded(tmp_path, [reply], 'produces: {list: {max: 3}}\nbegin: "Steps:"')

    answer = await perform("graded", bench.step(decide="generate"))

    assert answer.value == items


async def test_items_that_a_constrained_reply_numbers_on_one_line_are_cut_at_the_bound_too(tmp_path: Path) -> None:
    bench = graded(tmp_path, ["1. Add A. 2. Add B. 3. Halve it."], "produces: {list: {max: 2}}")

    answer = await perform("graded", bench.step())

    assert (answer.value, bench.warned) == (["Add A.", "Add B."], ["capped"])
    assert bench.runtime.requests[0].constrained


async def test_an_aside_is_searched_where_nothing_constrains_it(tmp_path: Path) -> None:
    bench = graded(tmp_path, ["I would give it a 7."], "produces: number")

    answer = await perform("graded", bench.step(decide="generate"))

    assert answer.value == 7
    assert not bench.runtime.requests[0].constrained


async def test_an_aside_that_thinks_is_read_after_its_cue_without_a_further_request(tmp_path: Path) -> None:
    front = 'produces: {label: [holds, fails]}\nthinks: true\ncue: "Verdict:"'
    bench = graded(tmp_path, ["It fails at 3, or so it seems.\nVerdict: holds"], front)

    answer = await perform("graded", bench.step())

    assert answer.value == "holds"
    assert len(bench.records) == 1
    assert not bench.runtime.requests[0].constrained
    assert "nothing else" not in bench.texts[0]


async def test_an_aside_that_cannot_be_read_is_asked_for_again_with_its_form(tmp_path: Path) -> None:
    bench = graded(tmp_path, ["good", "8"], "produces: number", capabilities=without("grammar", "schema", "guidance"))

    answer = await perform("graded", bench.step(repairs=1, decide="generate"))

    assert answer.value == 8
    assert "cannot be used" in bench.texts[1]
    assert "one number in digits" in bench.texts[1]


async def test_an_aside_that_was_cut_off_gets_twice_the_tokens(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        return Reply(text="", finish="length", tokens_out=16) if request.max_tokens == 16 else "8"

    bench = graded(tmp_path, script, "produces: number\nmax_tokens: 16")

    answer = await perform("graded", bench.step(repairs=1, decide="generate"))

    assert answer.value == 8
    assert [request.max_tokens for request in bench.runtime.requests] == [16, 32]


async def test_an_aside_that_stays_unread_has_no_value_and_a_warning(tmp_path: Path) -> None:
    warned: list[str] = []
    bench = graded(tmp_path, lambda request: "good", "produces: number")

    answer = await perform("graded", bench.step(repairs=1, decide="generate", warn=warned.extend))

    assert answer.value is None
    assert warned == ["unread_call"]


async def test_an_aside_of_a_closed_set_is_scored_where_the_step_scores(tmp_path: Path) -> None:
    bench = graded(tmp_path, ["sure"], "produces: {label: [sure, likely]}")

    answer = await perform("graded", bench.step(decide="score"))

    assert answer.value == "sure"
    assert bench.runtime.requests[0].alternatives


def test_a_wrong_answer_type_is_an_error_of_the_front_matter(tmp_path: Path) -> None:
    file = tmp_path / "grade.j2"
    file.write_text("---\nproduces: nummer\n---\n{% extends prompt %}\n")

    with pytest.raises(InputError, match="no answer type `nummer`"):
        read_call(file)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ({"label": ["red", "blue"]}, 'exactly one of these labels: "red", "blue"'),
        ({"choice": ["red", "blue"]}, "A) red\nB) blue"),
        ("number", "The answer is one number"),
        ({"json": {"type": "object"}}, '"type": "object"'),
        ({"code": "python"}, "one block of python code"),
        ({"spans": {"classes": ["PER"], "text": "{{ question }}"}}, "The classes are: PER"),
    ],
)
async def test_a_brief_says_the_task_and_the_form_of_its_answer(tmp_path: Path, answer: Any, form: str) -> None:
    bench = graded(tmp_path, ["7"], "produces: number", body=BRIEF, answer=answer)

    await perform("graded", bench.step())

    assert "INSTRUCTIONS-MARK\nCONSTRAINTS-MARK" in bench.texts[0]
    assert "FORMAT-MARK" in bench.texts[0]
    assert form in bench.texts[0]
