"""Each call of the catalog that asks for thoughts states what the answer is, and never orders to write nothing else.

A call whose verdict is not the step's answer quotes the task with its form, and asks for the verdict in its own form.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.project import LIBRARY, Project
from promptkit.techniques.description import call_specs
from promptkit.techniques.perform import task_for
from promptkit.techniques.registry import find_technique
from promptkit.techniques.spec import configure
from tests.techniques.steps import Bench, without
from tests.techniques.test_catalog import CATALOG

PROJECT = Project(LIBRARY)
PROMPT = """\
---
inputs:
  question: {{type: text}}
  context: {{type: text}}
  documents: {{type: list}}
  target: {{type: text}}
  table: {{type: table}}
---
{{% block instructions %}}Decide.{{% endblock %}}
{{% block output_format %}}{form}{{% endblock %}}
{{% block input %}}{{{{ question }}}}{{% endblock %}}
{{% block cue %}}OWN CUE:{{% endblock %}}
"""
OWN_FORM = "Give one word."
STRICT_FORM = "Answer with one word and nothing else."
ONLY = re.compile(
    r"nothing else|nothing before|no words|\bonly (?:the|with) (?:answer|label|letter|number)", re.IGNORECASE
)
ANSWERS: dict[str, tuple[Any, str]] = {
    "number": ("number", "The answer is one number"),
    "label": ({"label": ["spam", "mail"]}, 'The answer is exactly one of these labels: "spam", "mail"'),
    "choice": ({"choice": ["red", "blue"]}, "A) red\nB) blue\nThe answer is the letter"),
}
SOLUTION = {"thoughts": "", "answer": "A DRAFT."}
VALUES: dict[str, Any] = {
    **{"number": 1, "most": 3, "exemplars": 3, "sections": 3, "words": 50, "computed": {}},
    **{"candidates": [["A STEP."]], "draft": SOLUTION, "solution": SOLUTION},
}
"""What the calls are given that is not an empty list; their templates take one for the rest."""


def thinking_calls(*, answers: bool | None = None) -> list[tuple[str, str]]:
    """Return the techniques and calls that think: all, or those that end in the step's answer, or those that do not."""
    found = [(name, find_technique(name, PROJECT)) for name in CATALOG]
    calls = [(name, call) for name, technique in found if technique for call in call_specs(technique) if call.thinks]
    return [(name, call.name) for name, call in calls if answers in (None, call.answers)]


async def request_of(
    folder: Path, name: str, call: str, answer: Any, *, form: str = "", layout: str = "xml", **runtime: Any
) -> str:
    bench = Bench(folder, lambda request: "7", answer, prompt=PROMPT.format(form=form), **runtime)
    inputs = {
        "question": "QUESTION?",
        "context": "CONTEXT.",
        "documents": ["DOC."],
        "target": "it",
        "table": [{"a": 1}],
    }
    task = task_for(configure(name, bench.project), bench.step(values=inputs, decide="generate", layout=layout))
    values = dict(VALUES)
    while not bench.texts:
        try:
            await task.ask(call, **values)
        except InputError as error:
            missing = re.search(r"there is no `(\w+)`", str(error))
            assert missing and missing[1] not in values, error
            values[missing[1]] = []
    return bench.texts[0]


def test_there_are_calls_that_think() -> None:
    assert len(thinking_calls(answers=True)) > 20
    assert ("self_refine", "feedback") in thinking_calls(answers=False)


@pytest.mark.parametrize(("name", "call"), thinking_calls())
@pytest.mark.parametrize(("kind", "layout"), [("number", "prefix"), ("choice", "json")])
async def test_a_call_for_thoughts_states_what_the_answer_is(
    tmp_path: Path, name: str, call: str, kind: str, layout: str
) -> None:
    answer, stated = ANSWERS[kind]

    text = await request_of(tmp_path, name, call, answer, layout=layout)

    assert (json.dumps(stated)[1:-1] if layout == "json" else stated) in text
    assert not ONLY.search(text)


@pytest.mark.parametrize(("name", "call"), thinking_calls(answers=True))
async def test_a_prompts_own_form_is_said_to_be_that_of_the_answer_also_by_a_chat_alone(
    tmp_path: Path, name: str, call: str
) -> None:
    chat = without("continue")
    text = await request_of(
        tmp_path, name, call, ANSWERS["label"][0], form=OWN_FORM, layout="markdown", capabilities=chat
    )

    assert OWN_FORM in text
    assert "This form is for the answer alone" in text
    assert not ONLY.search(text)


@pytest.mark.parametrize(("name", "call"), thinking_calls(answers=False))
async def test_a_verdict_after_thoughts_is_asked_for_apart_from_the_form_and_cue_of_the_answer(
    tmp_path: Path, name: str, call: str
) -> None:
    technique = find_technique(name, PROJECT)
    assert technique
    cue = next(spec.cue for spec in call_specs(technique) if spec.name == call)
    text = await request_of(tmp_path, name, call, ANSWERS["label"][0], form=STRICT_FORM, layout="markdown")

    before, task, after = text.split('"""')
    assert STRICT_FORM in task
    assert f'"{cue}' in before + after
    assert "The form that the task asks for is that of its answer, not of your reply." in after
    assert not ONLY.search(before + after)
    assert "OWN CUE:" not in text
