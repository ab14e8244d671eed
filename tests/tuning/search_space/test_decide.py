"""The axis of the cue and of how an answer is decided."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.settings import CUE_TEMPLATE, decide_parameter, scored_requests
from tests.engine.helpers import Folder
from tests.tuning.data_splits import ABLE, model

PROMPT = """
---
inputs: {{text: {{}}}}
answer: {answer}
{more}
---
{{% block instructions %}}Say how it is.{{% endblock %}}
{{% block input %}}{{{{ text }}}}{{% endblock %}}
"""
LABEL = "{label: [good, bad]}"


def parameter_of(
    folder: Folder, *able: Any, answer: str = LABEL, more: str = "cue: none", step: str = "mood"
) -> Parameter:
    folder.write("templates/prompts/mood.j2", PROMPT.format(answer=answer, more=more))
    pipeline = folder.load(f"inputs: {{text: {{}}}}\nsteps: {{{step}: {{prompt: mood}}}}")
    asked = pipeline.steps[step]
    spec = {"label": ["good", "bad"]} if answer == LABEL else answer
    return decide_parameter(pipeline, asked, model(*able), build_answer_type(spec))[0]


def changes(parameter: Parameter) -> list[dict[str, Any]]:
    return [{key.partition(".")[2]: value for key, value in choice.changes.items()} for choice in parameter.choices[1:]]


def test_cues_are_tried_with_each_way_to_decide(folder: Folder) -> None:
    assert changes(parameter_of(folder)) == [
        {"cue": "Mood:"},
        {"cue": "Output:"},
        {"decide": "score", "cue": "Mood:"},
        {"decide": "score", "cue": "Output:"},
        {"decide": "generate", "cue": "Mood:"},
    ]


def test_a_written_cue_is_tried_too_and_can_be_taken_away(folder: Folder) -> None:
    assert changes(parameter_of(folder, more="cue: 'Verdict:'")) == [
        {"cue": "Mood:"},
        {"cue": "Output:"},
        {"decide": "score", "cue": "Mood:"},
        {"decide": "score"},
        {"decide": "score", "cue": "Output:"},
        {"decide": "generate", "cue": "Mood:"},
        {"cue": "none"},
    ]


def test_without_a_cue_of_its_own_a_step_has_the_layouts(folder: Folder) -> None:
    assert {"cue": "Output:"} not in changes(parameter_of(folder, more=""))
    assert {"cue": "none"} in changes(parameter_of(folder, more=""))


def test_a_step_that_scores_may_be_constrained(folder: Folder) -> None:
    records = changes(parameter_of(folder, more="decide: score"))

    assert {"decide": "constrain"} in records
    assert {} not in records


@pytest.mark.parametrize(
    ("lacking", "decides"),
    [
        ((), {"constrain", "score", "generate"}),
        (("logprobs",), {"constrain", "generate"}),
        (("continue",), {"constrain", "score", "generate"}),
        (("grammar",), {"constrain", "score"}),
    ],
)
def test_ways_to_decide_are_those_that_the_model_can(
    folder: Folder, lacking: tuple[str, ...], decides: set[str]
) -> None:
    parameter = parameter_of(folder, *(each for each in ABLE if each not in lacking))
    seen = {entry.get("decide", "constrain") for entry in changes(parameter)}

    assert seen == decides


def test_what_the_model_cannot_is_told(folder: Folder) -> None:
    folder.write("templates/prompts/mood.j2", PROMPT.format(answer=LABEL, more=""))
    pipeline = folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: mood}}")
    _, notes = decide_parameter(
        pipeline, pipeline.steps["mood"], model("chat"), build_answer_type({"label": ["a", "b"]})
    )

    assert notes[1] == "mood: `score` is not tried: embedded/small lacks logprobs"
    assert "cannot enforce a grammar" in notes[0]


@pytest.mark.parametrize("answer", ["text", "number", "{list: {separator: ';'}}"])
def test_an_answer_that_is_not_of_a_closed_set_is_not_scored(folder: Folder, answer: str) -> None:
    folder.write("templates/prompts/mood.j2", PROMPT.format(answer=answer, more=""))
    pipeline = folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: mood}}")
    asking = pipeline.steps["mood"].prompt_call
    assert asking is not None
    parameter, notes = decide_parameter(pipeline, pipeline.steps["mood"], model(), asking.answer)  # type: ignore[arg-type]

    assert all(entry.get("decide") != "score" for entry in changes(parameter))
    assert notes == ()


@pytest.mark.parametrize("name", ["sentiment", "sentiment_plain", "classify", "feedback", "extract", "arithmetic"])
def test_shipped_targets_have_distinct_levels_that_they_can_have(folder: Folder, name: str) -> None:
    pipeline = load_target(LIBRARY / "pipelines" / f"{name}.yaml", folder.project)
    for step in pipeline.steps.values():
        if step.prompt_call is not None:
            answer = (
                step.prompt_call.answer
                if isinstance(step.prompt_call.answer, AnswerType)
                else build_answer_type({"label": ["a", "b"]})
            )
            parameter, _ = decide_parameter(pipeline, step, model(), answer)
            seen = [tuple(sorted(choice.changes.items())) for choice in parameter.choices]
            assert len(set(seen)) == len(seen) <= 9
            assert len({choice.name for choice in parameter.choices}) == len(seen)
            assert all(_loads(pipeline, choice.changes) for choice in parameter.choices)


def _loads(pipeline: Pipeline, changes: Any) -> bool:
    return load_target(pipeline.file, pipeline.project, changes=changes) is not None


@pytest.mark.parametrize(
    ("step", "answer", "each", "cue"),
    [
        ("sentiment", "label", False, "Sentiment:"),
        ("main_topic", "text", False, "Main topic:"),
        ("categories", "label", True, "Category:"),
        ("issues", "list", False, "Issues:"),
        ("classes", "label", True, "Classe:"),
        ("classify", "label", False, "Label:"),
        ("step_1", "number", False, "Answer:"),
    ],
)
def test_the_tasks_cue_is_the_name_of_the_step(step: str, answer: str, each: bool, cue: str) -> None:
    assert render_file(CUE_TEMPLATE, {"step": step, "answer": answer, "each": each}) == cue


@pytest.mark.parametrize(
    ("labels", "requests"), [(["good", "bad"], 1), (["very good", "very bad", "fair"], 2), (["only"], 1)]
)
def test_scoring_takes_a_request_wherever_labels_part(labels: list[str], requests: int) -> None:
    assert scored_requests(build_answer_type({"label": labels})) == requests


def test_what_a_level_costs_is_of_what_the_step_costs(folder: Folder) -> None:
    folder.write("templates/prompts/mood.j2", PROMPT.format(answer=LABEL, more="technique: chain_of_thought"))
    pipeline = folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: mood}}")
    parameter, _ = decide_parameter(
        pipeline, pipeline.steps["mood"], model(), build_answer_type({"label": ["a b", "a c", "d"]})
    )
    costs = {choice.changes.get("mood.decide", "constrain"): choice.requests for choice in parameter.choices}

    assert costs == {"constrain": 1.0, "score": 1.5, "generate": 1.0}
