"""A trace as the store keeps it reads as that of the run did, and gives its prompts exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.results import Result, trace_record
from promptkit.reports.trace import sent_prompts, stored_trace_text, trace_text
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder

PIPELINE = """
name: sums
inputs: {question: {example: 3+4}}
steps:
  solve:
    prompt: {input: "{{ question }}"}
    answer: number
    technique: TECHNIQUE
  twice:
    prompt: "Twice {{ solve }}?"
"""


async def ran(folder: Path, technique: str, replies: list[Any]) -> Result:
    return await Folder(folder).run(PIPELINE.replace("TECHNIQUE", technique), Scripted(replies))


def kept(result: Result) -> Any:
    return json.loads(json.dumps(trace_record(result.trace)))


@pytest.mark.parametrize(
    ("technique", "replies"),
    [
        ("vanilla", ["7", "14"]),
        ("vanilla", ["seven \x1b[2J\nor so", "eight", "14"]),
        ("{self_consistency: {samples: 3}}", [" a", " b", " c", "7", "8", "7", "14"]),
        ("chain_of_thought", ["3 and 4 are 7.", "7", "14"]),
    ],
)
async def test_it_reads_as_that_of_the_run(tmp_path: Path, technique: str, replies: list[str]) -> None:
    result = await ran(tmp_path, technique, replies)
    assert stored_trace_text(kept(result)) == trace_text(result.trace)


async def test_the_prompts_are_what_was_sent_in_order(tmp_path: Path) -> None:
    runtime = Scripted(["7", "14"])
    result = await Folder(tmp_path).run(PIPELINE.replace("TECHNIQUE", "vanilla"), runtime)
    found = list(sent_prompts(kept(result)))

    assert [each.call for each in found] == ["solve/answer", "twice/answer"]
    for prompt, request in zip(found, runtime.requests, strict=True):
        assert [each["content"] for each in prompt.messages] == [each.content for each in request.messages]
        assert prompt.begun == (request.begun or "")
    assert "Twice 7?" in found[1].text
