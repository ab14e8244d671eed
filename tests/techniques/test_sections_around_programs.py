"""A user's sections of several lines stand without gaps in the prompts of techniques that prepare or compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.sections import SECTIONS
from promptkit.techniques.artifacts import Artifact
from promptkit.techniques.calls import read_call
from promptkit.techniques.description import hidden_sections
from promptkit.techniques.perform import perform
from promptkit.techniques.registry import find_technique
from tests.techniques.steps import Bench
from tests.techniques.test_catalog import CATALOG, PROJECT
from tests.techniques.test_users_sections import LONG, VALUES

CHOICE = {"choice": ["16", "18"]}
CALLS: list[tuple[str, Any, Any, str, list[str]]] = [
    ("pal", {}, "number", "program", ["def solution():\n    return 1"]),
    ("program_of_thoughts", {}, CHOICE, "program option", ["ans = 17", "B"]),
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


@pytest.mark.parametrize("name", CATALOG)
def test_a_call_that_writes_a_users_section_anew_says_so(name: str) -> None:
    technique = find_technique(name, PROJECT)
    assert technique

    for call in map(read_call, technique.call_files):
        body = split_front_matter(call.file.read_text(), call.name)[1]
        anew = {section for section in SECTIONS if section in call.writes and call.keeps(section)}
        for section in anew - set(call.replaces):
            block = body.partition(f"block {section} %}}")[2].partition("endblock")[0]
            assert "super()" in block, f"{call.name} writes {section} anew"


@pytest.mark.parametrize(
    "name", ["pal", "synthetic_prompting", "math_prompter", "chain_of_code", "binder", "decomposed"]
)
def test_a_card_says_which_of_the_users_sections_are_in_no_call(name: str) -> None:
    technique = find_technique(name, PROJECT)
    assert technique

    calls = [read_call(file) for file in technique.call_files]
    nowhere = set(SECTIONS).intersection(*(hidden_sections(call) for call in calls))
    assert all(section in " ".join(technique.card.leaves_out) for section in nowhere)
