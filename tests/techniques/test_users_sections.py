"""A user's sections of several lines stand in a technique's prompts without gaps, and agree with what these ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench

LONG = """\
---
inputs:
  question: {type: text}
  context: {type: list}
  documents: {type: list}
  glossary: {type: json}
  target: {type: text}
---
{% block persona %}

PERSONA 1

PERSONA 2

{% endblock %}
{% block instructions %}

INSTRUCTIONS 1

INSTRUCTIONS 2

{% endblock %}
{% block context %}

{% for each in context %}
- {{ each }}

{% endfor %}
{% endblock %}
{% block output_format %}

FORMAT 1

FORMAT 2

{% endblock %}
{% block input %}

{{ question }}

INPUT 2

{% endblock %}
{% block recap %}

RECAP 1

RECAP 2

{% endblock %}
"""
VALUES = {
    "question": "Is the PA of the service fast?",
    "context": ["The service took an hour.", "The food was good."],
    "documents": ["The service took an hour.", "The food was good."],
    "glossary": {"PA": "prior authorization"},
    "target": "service",
}
REPLY = "1. Is it so? It is.\n2. It is not."

TECHNIQUES: list[Any] = [
    "vanilla",
    "chain_of_thought",
    "self_consistency",
    {"ensemble_refinement": {"first": 1, "samples": 1}},
    "plan_and_solve",
    "contrastive_cot",
    "analogical",
    {"analogical": {"knowledge": True}},
    "chain_of_symbol",
    {"tree_of_thoughts": {"depth": 2}},
    {"tree_of_thoughts": {"depth": 2, "generate": "sample", "evaluate": "vote"}},
    "logical_thoughts",
    "maieutic",
    {"verify_and_edit": {"documents": "documents"}},
    {"chain_of_verification": {"variant": "revise"}},
    {"chain_of_verification": {"variant": "joint"}},
    "thread_of_thought",
    "implicit_rag",
    "metacognitive",
    {"three_hop": {"target": "target", "question": "question"}},
    {"system_2_attention": {"over": "self_consistency"}},
    {"instructed": {"over": "self_consistency"}},
    {"chain_of_event": {"documents": "documents"}},
    {"chain_of_event": {"documents": "documents", "variant": "single"}},
    {"term_definitions": {"over": "thread_of_thought"}},
]


def name_of(technique: Any) -> str:
    return technique if isinstance(technique, str) else next(iter(technique))


@pytest.mark.parametrize("technique", TECHNIQUES, ids=name_of)
async def test_sections_of_several_lines_leave_no_gaps(tmp_path: Path, technique: Any) -> None:
    bench = Bench(tmp_path, lambda request: REPLY, "boolean", prompt=LONG)

    await perform(technique, bench.step(values=VALUES, decide="generate"))

    assert bench.texts
    for text in bench.texts:
        assert "\n\n\n" not in text


@pytest.mark.parametrize(
    "technique",
    [
        "self_consistency",
        "ensemble_refinement",
        "analogical",
        "chain_of_symbol",
        {"verify_and_edit": {"documents": "documents"}},
        "implicit_rag",
        "metacognitive",
    ],
    ids=name_of,
)
async def test_a_call_that_asks_for_thoughts_says_that_the_form_is_that_of_the_answer(
    tmp_path: Path, technique: Any
) -> None:
    bench = Bench(tmp_path, lambda request: "A word.", "boolean", prompt=LONG)

    await perform(technique, bench.step(values=VALUES))

    said = [text for text in bench.texts if "FORMAT 1" in text and "last line of its own that begins with" in text]
    assert said
    assert all("This form is for the answer alone, not for the thoughts before it." in text for text in said)
