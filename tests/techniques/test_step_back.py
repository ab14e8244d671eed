"""`step_back` (Zheng et al. 2024): a more general question, or the principles, before the question itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order

SEARCHING = """\
---
inputs: {question: {type: text}, documents: {type: list}}
---
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block input %}{{ question }}{% endblock %}
"""
DOCUMENTS = ["The Elbe rises in Bohemia.", "Bread is baked from flour.", "Rivers of Saxony are long."]


def spec(**parameters: Any) -> dict[str, Any]:
    return {"step_back": {"over": "vanilla", **parameters}}


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(**{"decide": "generate", "warn": warned.extend, **settings}))
    return answer, warned


async def test_the_more_general_question_is_asked_answered_and_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["GENERAL-ONE?", "BACKGROUND-ONE", "7"], prompt=MARKED)

    answer, _ = await ask(bench, spec())

    assert answer.value == 7
    assert bench.levels == [("question", 1), ("background", 2), ("answer", 3)]
    assert in_order(bench.texts[0], ["INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "Step-back question:"])
    assert "GENERAL-ONE?" in bench.texts[1] and "QUESTION-MARK" not in bench.texts[1]
    shown = ["INSTRUCTIONS-MARK", "CONTEXT-MARK", "GENERAL-ONE?", "BACKGROUND-ONE", "QUESTION-MARK", "RECAP-MARK"]
    assert in_order(bench.texts[2], shown)
    assert answer.extra == {"step_back": "GENERAL-ONE?", "background": ["BACKGROUND-ONE"]}


async def test_principles_are_named_in_one_call_with_the_task_and_its_labels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["PRINCIPLE-ONE\nPRINCIPLE-TWO", "LABEL-ONE"], {"label": ["LABEL-ONE", "LABEL-TWO"]})

    answer, _ = await ask(bench, spec(variant="principles"))

    assert answer.value == "LABEL-ONE"
    assert in_order(bench.texts[0], ["INSTRUCTIONS-MARK", "LABEL-TWO", "QUESTION-MARK"])
    assert "PRINCIPLE-ONE\nPRINCIPLE-TWO" in bench.texts[1]
    assert "more general question" not in bench.texts[1]


async def test_documents_are_searched_for_both_questions(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["How long are the rivers of Saxony?", "7"], prompt=SEARCHING)
    values = {"question": "Where does the Elbe rise?", "documents": DOCUMENTS}

    answer, warned = await ask(bench, spec(passages=1), values=values)

    assert (answer.value, warned) == (7, [])
    assert answer.extra["background"] == [DOCUMENTS[0], DOCUMENTS[2]]
    assert [record.call for record in bench.records] == ["question", "answer"]
    assert DOCUMENTS[0] in bench.texts[1] and DOCUMENTS[1] not in bench.texts[1]


async def test_without_a_passage_it_answers_directly_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Who bakes?", "7"], prompt=SEARCHING)

    answer, warned = await ask(bench, spec(), values={"question": "Zebras?", "documents": ["Rain."]})

    assert (answer.value, warned) == (7, ["no_passage"])
    assert "Use what is known" not in bench.texts[1]


async def test_without_a_question_it_answers_directly_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["", "7"])

    answer, warned = await ask(bench, spec())

    assert (answer.value, warned) == (7, ["unread_call"])


@pytest.mark.parametrize("over", ["chain_of_thought", {"self_consistency": {"samples": 2}}, "plan_and_solve"])
async def test_the_background_stands_in_every_call_of_the_technique_beneath(tmp_path: Path, over: Any) -> None:
    def script(request: Any) -> str:
        text = request.messages[0].content
        return "BACKGROUND-ONE" if "Answer the question in a few" in text else "GENERAL-ONE? Output: 7"

    bench = Bench(tmp_path, script)

    await ask(bench, spec(over=over), decide="constrain")

    assert all("BACKGROUND-ONE" in text for text in bench.texts[2:])


@pytest.mark.parametrize(("variant", "requests"), [("question", 3), ("principles", 2)])
async def test_it_costs_what_it_says(tmp_path: Path, variant: str, requests: int) -> None:
    bench = Bench(tmp_path, ["G?", "b", "7"][3 - requests :])

    await ask(bench, spec(variant=variant))

    most = cost(configure(spec(variant=variant), bench.project), bench.project, decide="generate")
    assert most.requests == most.depth == len(bench.records) == requests
