"""What a user wrote in several lines stands without gaps in the prompts of techniques that prepare or compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques import Artifact, perform
from tests.techniques.steps import Bench
from tests.techniques.test_users_sections import LONG, VALUES

CHOICE = {"choice": ["16", "18"]}
CALLS: list[tuple[str, Any, Any, str, list[str]]] = [
    ("pal", {}, "number", "program", ["def solution():\n    return 1"]),
    ("program_of_thoughts", {}, CHOICE, "program option", ["ans = 18", "B"]),
    (
        "program_of_thoughts",
        {"keep_prompting": True},
        "number",
        "program finish",
        ["x = 1\nkeep_prompting = True", "So.\nOutput: 1"],
    ),
    (
        "math_prompter",
        {"rounds": 1, "template": "model"},
        "number",
        "template algebra program",
        ["{}", *["def solution():\n    return 1"] * 12],
    ),
    ("structured_cot", {}, {"code": "python"}, "structure code", ["1: return", "```python\npass\n```"]),
    ("least_to_most", {}, "number", "reduce solve answer", ['"SUB-ONE?"', "It is 1.", "The answer is 1."]),
    ("federated", {"phrasings": 2}, "number", "paraphrase reason extract", ["Is it fast?", "So.", "So.", "1", "1"]),
    ("federated", {"variant": "different"}, "number", "answer", ["So.\nOutput: 1"]),
    ("chain_of_code", {}, "number", "program emulate", ["answer = number_of('x')", "1"]),
    ("decomposed", {}, "number", "decompose handler", ["[ask] How many?", "1", "[EOQ]"]),
    ("auto_cot", {}, "number", "answer", ["So.\nOutput: 1"]),
    ("complex_cot", {}, "number", "reason", ["So.\nOutput: 1"]),
    ("active_prompt", {}, "number", "reason", ["So.\nOutput: 1"]),
    ("synthetic_prompting", {}, "number", "program", ["def solution():\n    return 1"]),
    ("annotation_guideline", {"guideline": "target"}, "number", "annotate", ["1"]),
]
ITEMS = (
    {"input": {**VALUES, "question": "What?"}, "thoughts": "So.", "output": 1, "rule": "A rule."},
    {"input": {**VALUES, "question": "Who?"}, "thoughts": "So.\n\nAnd so.", "output": 2, "rule": "Another."},
)


@pytest.mark.parametrize(("name", "parameters", "answer", "calls", "replies"), CALLS)
async def test_sections_of_several_lines_leave_no_gaps(
    tmp_path: Path, name: str, parameters: Any, answer: Any, calls: str, replies: list[str]
) -> None:
    bench = Bench(tmp_path, replies, answer, prompt=LONG)
    artifacts = {name: Artifact(technique=name, items=ITEMS)}

    await perform({name: parameters}, bench.step(values=VALUES, decide="generate", artifacts=artifacts))

    assert {record.call for record in bench.records} == set(calls.split())
    assert all("\n\n\n" not in text for text in bench.texts)
