"""Pipelines of several steps under DSPy's optimizers: each step is a predictor, and is shown what it did itself."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.runtimes.base import Request
from promptkit.tuning.dspy_bridge.program import step_predictors
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.tuning.dspy_bridge.objectives import is_proposal, opened, proposing, said

PIPELINE = """
name: talks
inputs: {talk: {example: "fine; dull"}}
steps:
  split: {prompt: split}
  mood: {for_each: "{{ split }}", as: text, prompt: mood}
output: "{{ mood | list }}"
"""
SPLIT = """
---
inputs: {talk: {}}
answer: {list: {separator: ";"}}
decide: generate
---
{% block instructions %}Take it apart.{% endblock %}
{% block input %}{{ talk }}{% endblock %}
"""
EVEN = {"again", *map(str, range(0, 30, 2))}
SUITE = """
data: rows.jsonl
target: talks
metrics: {right: {exact: {}}}
"""


def talks(count: int) -> list[dict[str, Any]]:
    return [
        {"talk": f"good {number}; bad {number}; good again", "expect": ["good", "bad", "good"]}
        for number in range(count)
    ]


def answer(request: Request) -> str:
    """Take texts apart and tell what each begins with; of odd numbers only when told to look closely."""
    if is_proposal(request):
        return proposing(request)
    text = request.messages[-1].content.rpartition("<INPUT>\n")[2].partition("\n")[0]
    if ";" in text:
        return text
    mood, number = text.split()
    return mood if "closely" in said(request) or number in EVEN else "bad"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    bench = Bench(folder, talks(30))
    folder.write("templates/prompts/split.j2", SPLIT)
    folder.write("pipelines/talks.yaml", PIPELINE)
    return bench


async def test_each_step_is_shown_its_own_right_answers_items_too(bench: Bench) -> None:
    async with opened(bench, "bootstrap_few_shot", answer, suite=SUITE, rows=0) as search:
        found = await search.run(150)

        changes = found.incumbent.changes
        assert sorted(changes) == ["mood.examples", "split.examples"]
        split, mood = changes["split.examples"], changes["mood.examples"]
        assert all(entry["input"]["talk"].replace("; ", ";").split(";") == entry["output"] for entry in split)
        assert all(entry["output"] == entry["input"]["text"].split()[0] for entry in mood)


async def test_instructions_of_one_step_are_changed_without_the_others(bench: Bench) -> None:
    async with opened(bench, "gepa", answer, suite=SUITE, rows=0) as search:
        await search.run(200)

        seen = {
            ("closely" in said(request), "apart" in said(request))
            for request in search.requests
            if not is_proposal(request)
        }
        assert (True, False) in seen and (False, True) in seen


def test_a_field_has_the_inputs_name_but_where_it_means_something_to_dspy(folder: Folder) -> None:
    folder.write(
        "templates/prompts/odd.j2",
        "---\ninputs: {lm: {}, fields: {}, text: {about: a text}}\n---\n{{ lm }} {{ fields }} {{ text }}",
    )
    file = folder.write(
        "pipelines/odd.yaml", "inputs: {lm: {}, fields: {}, text: {}}\nsteps: {forward: {prompt: odd}}\n"
    )

    (predictor,) = step_predictors(load_target(file, folder.project))

    assert predictor.inputs == {"lm": "lm_", "fields": "fields_", "text": "text"}
    assert (predictor.step, predictor.attribute, predictor.output) == ("forward", "forward_", "answer")
