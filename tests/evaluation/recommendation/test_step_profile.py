"""The profile of a step and its data: the task, what is available, and properties of the input."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Step
from promptkit.engine.step_rows import StepRows, find_prompt_step, read_step_rows
from promptkit.errors import InputError
from promptkit.evaluation.recommendation.recommend import Flag
from promptkit.evaluation.recommendation.step_profile import (
    available_for,
    data_flags,
    likely_task,
    needs_met_by_rows,
    parse_flags,
    thinks_by_itself,
)
from promptkit.runtimes.base import Capability, Model
from tests.engine.helpers import Folder

PIPELINE = """
inputs: INPUTS
steps:
  solve:
    prompt: {instructions: Do it., input: "INPUT"}
    answer: ANSWER
"""


def pipeline_text(answer: str, inputs: dict[str, Any]) -> str:
    shown = " ".join(f"{{{{ {name} | tojson }}}}" for name in inputs)
    return PIPELINE.replace("INPUTS", json.dumps(inputs)).replace("INPUT", shown).replace("ANSWER", answer)


def step_of(folder: Folder, answer: str = "text", **inputs: Any) -> Step:
    given = {name: kind if isinstance(kind, dict) else {"type": kind} for name, kind in inputs.items()}
    return find_prompt_step(folder.load(pipeline_text(answer, given)), None)


def rows_of(folder: Folder, *rows: dict[str, Any], **inputs: str) -> StepRows:
    given = {name: {"type": kind} for name, kind in (inputs or {"text": "text"}).items()}
    pipeline = folder.load(pipeline_text("json", given))
    file = folder.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return read_step_rows(pipeline, find_prompt_step(pipeline, None), file)


@pytest.mark.parametrize(
    ("answer", "inputs", "task"),
    [
        ("{label: [positive, negative]}", {"text": "text"}, "sentiment"),
        ("{label: [Positive, Neutral, Negative]}", {"text": "text"}, "sentiment"),
        ("number", {"text": "text"}, "math"),
        ("code", {"text": "text"}, "code"),
        ("{labels: [a, b, c]}", {"text": "text"}, "multilabel"),
        ("boolean", {"claim": "text", "facts": "table"}, "table_fact"),
        ("{label: [true, false]}", {"claim": "text", "facts": "table"}, "table_fact"),
        ("text", {"claim": "text", "facts": "table"}, "table_qa"),
        ("number", {"claim": "text", "facts": "table"}, "table_qa"),
        ("text", {"documents": "list"}, "summarization"),
        ("text", {"question": "text", "context": "text"}, "contextual_qa"),
        ("text", {"question": "text", "passages": "list"}, "contextual_qa"),
        ("list", {"text": "text"}, "factoid"),
        ('{spans: {classes: [person, place], text: "{{ text }}"}}', {"text": "text"}, "ner"),
        ('{label: "{{ kinds }}"}', {"text": "text", "kinds": "list"}, "classification"),
        ('{labels: "{{ kinds }}"}', {"text": "text", "kinds": "list"}, "multilabel"),
        ("{label: [delivery, payment]}", {"text": "text"}, "classification"),
        ("{label: [delivery, payment]}", {"text": "text", "context": "text"}, "classification"),
        ('{choice: "{{ options }}"}', {"text": "text", "options": "list"}, "classification"),
    ],
)
def test_the_answer_and_the_inputs_of_a_step_say_its_task(
    folder: Folder, answer: str, inputs: dict[str, Any], task: str
) -> None:
    found = likely_task(step_of(folder, answer, **inputs))

    assert found is not None and found[0] == task
    assert found[1]


def test_a_table_is_seen_in_the_example_of_an_input_without_a_type(folder: Folder) -> None:
    front = "---\ninputs: {facts: {example: [{city: Bonn}]}}\nanswer: text\n---\n"
    file = folder.write("templates/prompts/ask.j2", front + "{% block input %}{{ facts }}{% endblock %}\n")

    assert likely_task(find_prompt_step(load_target(file, folder.project), None)) == ("table_qa", "an input is a table")


@pytest.mark.parametrize("answer", ["text", "json", "boolean"])
def test_where_they_say_none_there_is_none(folder: Folder, answer: str) -> None:
    assert likely_task(step_of(folder, answer, text="text")) is None


def test_what_is_at_hand_is_what_the_step_and_its_model_have(folder: Folder) -> None:
    folder.write("pipelines/test.solve.active_prompt.yaml", "technique: active_prompt\n")
    pipeline = folder.load(pipeline_text("number", {"question": {"type": "text"}}))
    model = Model(reference="ollama/tiny", digest="d", capabilities=frozenset({"chat"}))

    hand = available_for(pipeline, find_prompt_step(pipeline, None), model)

    assert (list(hand.inputs), hand.has_tools, list(hand.prepared)) == (["question"], False, ["active_prompt"])
    assert hand.capabilities == {"chat"}


@pytest.mark.parametrize(
    ("capabilities", "setting", "thinks"),
    [
        (("thinks",), "auto", True),
        (("thinks", "think"), "off", False),
        (("think",), "auto", False),
        (("think",), "low", True),
        ((), "auto", False),
    ],
)
def test_a_model_thinks_by_itself_unless_the_step_switches_it_off(
    folder: Folder, capabilities: tuple[Capability, ...], setting: str, thinks: bool
) -> None:
    text = pipeline_text("number", {"text": {"type": "text"}}).replace("answer:", f"think: {setting}\n    answer:")
    step = find_prompt_step(folder.load(text), None)
    model = Model(reference="ollama/m", digest="d", capabilities=frozenset(capabilities))
    assert thinks_by_itself(step, model) is thinks
    assert thinks_by_itself(None, model) is ("thinks" in capabilities)


def test_rows_bring_the_needs_that_they_hold(folder: Folder) -> None:
    assert needs_met_by_rows(rows_of(folder, {"text": "a"})) == {"rows"}
    assert needs_met_by_rows(rows_of(folder, {"text": "a", "expect": 1})) == {"rows", "labels"}
    assert needs_met_by_rows(rows_of(folder, {"text": "a"}, {"text": "b", "expect": 1, "rationale": "so"})) == {
        "rows",
        "labels",
        "rationales",
    }


PASSAGES = {"passages": ["one", "two", "three"]}
LARGE = [{"city": "Bonn"}] * 51
FREE_TEXT = [{"note": "exactly four words here"}]


@pytest.mark.parametrize(
    ("flag", "holding", "other", "inputs"),
    [
        ("numbers", {"text": "3 apples for 2.50"}, {"text": "3 apples"}, {"text": "text"}),
        ("opinion", {"text": "I really think it is 4."}, {"text": "It is 4."}, {"text": "text"}),
        ("passages", PASSAGES, {"passages": ["one", "two"]}, {"passages": "list"}),
        ("large_table", {"facts": LARGE}, {"facts": LARGE[:50]}, {"facts": "table"}),
        ("free_text_cells", {"facts": FREE_TEXT}, {"facts": [{"note": "three words only"}]}, {"facts": "table"}),
        ("long_list", {"text": "a", "expect": [1, 2, 3]}, {"text": "b", "expect": [1, 2]}, {"text": "text"}),
    ],
)
def test_rows_are_said_to_be_like_what_enough_of_them_are_like(
    folder: Folder, flag: Flag, holding: dict[str, Any], other: dict[str, Any], inputs: dict[str, str]
) -> None:
    half = data_flags(rows_of(folder, holding, other, **inputs))
    none = data_flags(rows_of(folder, other, other, **inputs))
    few = data_flags(rows_of(folder, holding, *[other] * 9, **inputs))

    assert half[flag].startswith("1 of 2 rows ")
    assert none == few == {}


def test_an_opinion_in_a_fifth_of_the_rows_is_enough(folder: Folder) -> None:
    rows = [{"text": "In my opinion it is 4."}, *[{"text": "It is 4."}] * 4]

    assert data_flags(rows_of(folder, *rows)) == {"opinion": "1 of 5 rows hold an opinion"}


@pytest.mark.parametrize("flag", get_args(Flag))
def test_a_person_may_say_what_the_input_is_like(flag: Flag) -> None:
    assert parse_flags([flag]) == {flag: f"the input has {flag.replace('_', ' ')}, you say"}


def test_a_flag_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"there is no flag `opinions`(?s:.*)`opinion`"):
        parse_flags(["numbers", "opinions"])
