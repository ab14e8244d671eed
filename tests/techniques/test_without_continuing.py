"""A runtime that cannot go on from a begun turn is told its words, and repeats them: they are no part of a reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.techniques.artifacts import Row
from promptkit.techniques.catalog.annotation_guideline import prepare
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import Bench, flat, routed, without
from tests.techniques.test_annotation_guideline import GUIDED, LABEL


async def ask(folder: Path, spec: Any, replies: Any, answer: Any = "number") -> tuple[Any, Bench]:
    bench = Bench(folder, replies, answer, capabilities=without("continue"))
    return await perform(spec, bench.step(decide="generate")), bench


async def test_the_answers_to_easier_questions_begin_once(tmp_path: Path) -> None:
    replies = ['To answer the question, we need to know: "SUB-ONE?"', "A: MARK1 it is 4.", "A: The answer is 7."]

    answer, bench = await ask(tmp_path, "least_to_most", replies)

    assert (answer.value, answer.extra["questions"][0]["answer"]) == (7, "MARK1 it is 4.")
    assert "\nA: MARK1" in bench.texts[2]


async def test_a_solving_process_begins_once(tmp_path: Path) -> None:
    replies = ["Solving process:\nInput: n: int\n1: return n", "```python\ndef f(n):\n    return n\n```"]

    answer, bench = await ask(tmp_path, "structured_cot", replies, {"code": "python"})

    assert answer.extra["structure"] == "Input: n: int\n1: return n"
    assert "Solving process:\nInput: n: int" in bench.texts[1]


async def test_a_handlers_answer_is_the_value_after_its_head(tmp_path: Path) -> None:
    replies = ["QS: [ask] Which eggs are there?", 'A: ["red", "blue"]', "QS: [EOQ]"]

    answer, _ = await ask(tmp_path, "decomposed", replies, "list")

    assert answer.value == ["red", "blue"]


@pytest.mark.parametrize(("variant", "reply"), [("function", "Value: 3"), ("step", 'Changes: {"eaten": 3}')])
async def test_what_a_line_comes_to_is_the_value_after_its_head(tmp_path: Path, variant: str, reply: str) -> None:
    replies = ["eaten = eggs_eaten('Tom')\nanswer = 12 - eaten", reply]

    answer, _ = await ask(tmp_path, {"chain_of_code": {"variant": variant}}, replies)

    assert answer.value == 9


async def test_the_head_of_drafted_rules_is_no_rule(tmp_path: Path) -> None:
    script = routed(("most frequent mistakes", "Rules:\n- R1."), ("", "bad"))
    bench = Bench(tmp_path, script, LABEL, prompt=GUIDED, capabilities=without("continue"))
    values = {"question": "T", "guideline": "G"}
    step = bench.step(decide="generate", values=values, home="notes.mark")
    rows = [Row(inputs=values, expect="good", answer=build_answer_type(LABEL))]

    prepared = await prepare(task_for(configure("annotation_guideline", bench.project), step), rows, rounds=2)

    assert [each["rule"] for each in prepared.uncertain if "rule" in each] == ["R1."]
    assert any(flat(request).rstrip().endswith("Rules:") for request in bench.runtime.requests)


async def test_what_is_said_for_and_against_a_step_begins_once(tmp_path: Path) -> None:
    replies = [
        "Let's think step by step.\n#1. ONE\n#2. TWO",
        "Step #1 is true because IT-IS.",
        "Step #1 is false because IT-IS-NOT.",
        "Verdict: FALSE",
        "Let's think step by step.\n#1. ONE-NEW",
        "Let's think step by step.\n#1. ONE-NEW\n#2. TWO-NEW",
        *("yes", "no", "Verdict: TRUE"),
        "7",
    ]

    answer, bench = await ask(tmp_path, "logical_thoughts", replies)

    assert (answer.value, answer.extra["chain"]) == (7, ["ONE-NEW", "TWO-NEW"])
    assert "First review: step #1 is true because IT-IS." in bench.texts[3]
    assert "It is false because IT-IS-NOT." in bench.texts[4]


async def test_explanations_to_refine_begin_once(tmp_path: Path) -> None:
    script = routed(("Several students", "Explanation: So.\nOutput: 7"), ("", "Explanation: WHY."))

    answer, bench = await ask(tmp_path, {"ensemble_refinement": {"first": 1, "samples": 1}}, script)

    assert answer.value == 7
    assert "Reasoning 1: WHY." in bench.texts[1]
