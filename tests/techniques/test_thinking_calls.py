"""Each call of the catalog that asks for thoughts states what the answer is, and never orders to write nothing else."""

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
"""
OWN_FORM = "Give one word."
ONLY = re.compile(
    r"nothing else|nothing before|no words|\bonly (?:the|with) (?:answer|label|letter|number)", re.IGNORECASE
)
ANSWERS: dict[str, tuple[Any, str]] = {
    "number": ("number", "The answer is one number"),
    "label": ({"label": ["spam", "mail"]}, 'The answer is exactly one of these labels: "spam", "mail"'),
    "choice": ({"choice": ["red", "blue"]}, "A) red\nB) blue\nThe answer is the letter"),
}
VALUES: dict[str, Any] = {"number": 1, "most": 3, "exemplars": 3, "sections": 3, "words": 50, "computed": {}}
"""What the calls are given that is not a list; their templates take an empty list for the rest."""


def thinking_calls() -> list[tuple[str, str]]:
    found = [(name, find_technique(name, PROJECT)) for name in CATALOG]
    return [
        (name, call.name) for name, technique in found if technique for call in call_specs(technique) if call.thinks
    ]


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
    assert len(thinking_calls()) > 20


@pytest.mark.parametrize(("name", "call"), thinking_calls())
@pytest.mark.parametrize(("kind", "layout"), [("number", "prefix"), ("choice", "json")])
async def test_a_call_for_thoughts_states_what_the_answer_is(
    tmp_path: Path, name: str, call: str, kind: str, layout: str
) -> None:
    answer, stated = ANSWERS[kind]

    text = await request_of(tmp_path, name, call, answer, layout=layout)

    assert (json.dumps(stated)[1:-1] if layout == "json" else stated) in text
    assert not ONLY.search(text)


@pytest.mark.parametrize(("name", "call"), thinking_calls())
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
