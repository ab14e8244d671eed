"""What the prompt of a step is given, worked out from the pipeline's inputs and the results before."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.inputs import step_inputs
from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder

FEEDBACK = """
inputs: {feedback: {example: x}, tone: {default: calm}}
steps:
  issues: {prompt: "Issues: {{ feedback }}", answer: {list: {separator: ";"}}}
  kinds: {for_each: "{{ issues }}", as: issue, prompt: "Kind: {{ issue }} {{ tone }}"}
  advice:
    for_each: "{{ kinds | unique }}"
    as: kind
    prompt: "Advice: {{ kind }} {{ about }}"
    with: {about: "{{ issues | where(kinds, kind) }}"}
  summary: {prompt: "Sum: {{ pairs }}", with: {pairs: "{{ kinds.pairs }}"}}
"""
SCOPE = {"feedback": "slow and dear", "issues": ["slow", "dear"], "kinds": ["net", "price"]}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("issues", [{"feedback": "slow and dear"}]),
        ("kinds", [{"issue": "slow", "tone": "calm"}, {"issue": "dear", "tone": "calm"}]),
        ("advice", [{"kind": "net", "about": ["slow"]}, {"kind": "price", "about": ["dear"]}]),
        ("summary", [{"pairs": [["slow", "net"], ["dear", "price"]]}]),
    ],
)
def test_the_inputs_are_those_of_with_of_the_item_and_of_the_scope(
    folder: Folder, step: str, expected: list[dict[str, Any]]
) -> None:
    pipeline = folder.load(FEEDBACK)

    assert step_inputs(pipeline, pipeline.steps[step], SCOPE) == expected


async def test_a_run_gives_the_prompts_the_same_inputs(folder: Folder) -> None:
    runtime = Scripted(["slow; dear", "net", "price", "a", "b", "s"])
    result = await folder.run(FEEDBACK, runtime, {"feedback": "slow and dear"})
    pipeline = folder.load(FEEDBACK)

    values = {name: step.value for name, step in result.steps.items()}
    asked = ["\n".join(message.content for message in each.messages) for each in runtime.requests]
    for name in ("issues", "kinds", "advice"):
        step = pipeline.steps[name]
        assert step.prompt is not None
        for inputs in step_inputs(pipeline, step, {"feedback": "slow and dear", **values}):
            text = step.prompt.sections(inputs)["instructions"]
            assert any(text in message for message in asked)


def test_a_step_whose_condition_does_not_hold_has_no_inputs(folder: Folder) -> None:
    pipeline = folder.load('inputs: {a: {}}\nsteps: {b: {when: "{{ a == 1 }}", prompt: "{{ a }}"}}')

    assert step_inputs(pipeline, pipeline.steps["b"], {"a": 2}) == []


def test_a_condition_of_the_items_leaves_items_out(folder: Folder) -> None:
    text = 'inputs: {a: {type: list}}\nsteps: {b: {for_each: "{{ a }}", as: x, when: "{{ x > 1 }}", prompt: "{{ x }}"}}'
    pipeline = folder.load(text)

    assert step_inputs(pipeline, pipeline.steps["b"], {"a": [1, 2, 3]}) == [{"x": 2}, {"x": 3}]


def test_a_step_that_lacks_a_result_has_no_inputs(folder: Folder) -> None:
    pipeline = folder.load(FEEDBACK)

    assert step_inputs(pipeline, pipeline.steps["kinds"], {"feedback": "x", "issues": None}) == []


def test_the_first_round_of_a_repeat_is_shown(folder: Folder) -> None:
    text = 'inputs: {a: {}}\nsteps: {b: {prompt: "{{ a }} {{ round }}", repeat: {max: 3}}}'
    pipeline = folder.load(text)

    assert step_inputs(pipeline, pipeline.steps["b"], {"a": "x"}) == [{"a": "x", "round": 1}]


def test_a_list_that_is_none_is_told(folder: Folder) -> None:
    pipeline = folder.load(FEEDBACK)

    with pytest.raises(InputError, match="must be a list"):
        step_inputs(pipeline, pipeline.steps["kinds"], {"feedback": "x", "issues": "slow"})


def test_a_prompt_alone_is_a_step_of_its_inputs(folder: Folder) -> None:
    path = folder.write("templates/prompts/mood.j2", "{% block input %}{{ text }}{% endblock %}")
    pipeline = load_target(path, folder.project)

    assert step_inputs(pipeline, pipeline.steps["mood"], {"text": "{{ fine }}"}) == [{"text": "{{ fine }}"}]


def test_what_a_for_each_gave_is_given_as_a_plain_list(folder: Folder) -> None:
    pipeline = folder.load(FEEDBACK + "  last: {prompt: 'Last: {{ kinds }}'}\n")

    (given,) = step_inputs(pipeline, pipeline.steps["last"], SCOPE)
    assert type(given["kinds"]) is list
