"""A step as a pipeline of its own: what feeds it, and what runs before it."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.pipeline import Pipeline
from promptkit.engine.run import run
from promptkit.engine.single_step import pipeline_up_to, single_step_pipeline
from promptkit.errors import InputError
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given

PIPELINE = """
inputs: {text: {example: one two}, tone: {default: plain}}
steps:
  words:
    prompt: "List the words of {{ text }} ({{ tone }})."
    answer: {list: {separator: ";"}}
  moods:
    for_each: "{{ words }}"
    as: word
    prompt: "How is {{ word }}?"
  sum:
    prompt: "Sum up {{ lines }}."
    with: {lines: "{{ moods | join(', ') }}"}
"""


def said(request: Request) -> str:
    return request.messages[-1].content


async def result(pipeline: Pipeline, inputs: dict[str, Any]) -> tuple[Any, list[str]]:
    runtime = Scripted(lambda request: "a; b" if "List" in said(request) else "fine")
    ran = await run(pipeline, inputs, models=Given(runtime))
    assert ran.error is None
    return ran.output, [said(request) for request in runtime.requests]


async def test_a_step_alone_takes_what_its_prompt_reads(folder: Folder) -> None:
    pipeline = single_step_pipeline(folder.load(PIPELINE), "words", {"text"})

    output, asked = await result(pipeline, {"text": "x y"})

    assert output == ["a", "b"]
    assert len(asked) == 1 and "x y (plain)" in asked[0]


async def test_a_step_over_items_runs_on_the_list_where_the_data_gives_the_list(folder: Folder) -> None:
    output, asked = await result(single_step_pipeline(folder.load(PIPELINE), "moods", {"words"}), {"words": ["x", "y"]})

    assert output == ["fine", "fine"]
    assert len(asked) == 2


async def test_a_step_over_items_runs_on_one_where_the_data_gives_the_item(folder: Folder) -> None:
    output, asked = await result(single_step_pipeline(folder.load(PIPELINE), "moods", {"word"}), {"word": "x"})

    assert output == "fine"
    assert len(asked) == 1


@pytest.mark.parametrize(("given", "value"), [("moods", ["x", "y"]), ("lines", "x, y")])
async def test_a_prompts_input_comes_from_what_its_with_reads_or_as_it_is(
    folder: Folder, given: str, value: Any
) -> None:
    _, asked = await result(single_step_pipeline(folder.load(PIPELINE), "sum", {given}), {given: value})

    assert "Sum up x, y." in asked[0]


async def test_the_steps_before_run_as_they_are_written_and_the_step_as_it_was_changed(folder: Folder) -> None:
    before = folder.load(PIPELINE)
    changed = folder.load(PIPELINE, sets=["words.layout=markdown", "moods.layout=prefix"])

    output, asked = await result(pipeline_up_to(changed, "moods", before), {"text": "x y"})

    assert output == ["fine", "fine"]
    assert len(asked) == 3
    assert asked[0].startswith("<INSTRUCTIONS>")
    assert asked[1].startswith("TASK:")


def test_an_unknown_step_is_told_with_the_nearest(folder: Folder) -> None:
    with pytest.raises(InputError, match="has no step `mods`"):
        single_step_pipeline(folder.load(PIPELINE), "mods", set())
