"""Edits of prompts: a child extends its parent, says something else in some sections, and inherits the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError
from promptkit.project import LIBRARY, Project
from promptkit.prompts.prompt import Prompt
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.prompt_edits import edit_sections, section_source
from tests.engine.helpers import Folder, asked

PROMPT = """
---
inputs: {text: {}}
answer: {label: [good, bad]}
decide: generate
examples: [{input: {text: fine}, output: good}]
---
{% block persona %}You are {{ "kind" if true }}.{% endblock %}
{% block instructions %}
Say whether {{ text }} is good.
{% if text %}Mind it.{% endif %}
{% endblock %}
{% block input %}{{ text }}{% endblock %}
{% block cue %}Mood:{% endblock %}
"""
PIPELINE = "inputs: {text: {example: fine}}\nsteps: {mood: {prompt: mood}}"


@pytest.fixture
def pipeline(folder: Folder) -> Pipeline:
    folder.write("templates/prompts/mood.j2", PROMPT)
    return folder.load(PIPELINE)


def prompt_of(pipeline: Pipeline, step: str = "mood") -> Prompt:
    found = pipeline.steps[step].prompt
    assert found is not None
    return found


def changed(pipeline: Pipeline, changes: Mapping[str, Any]) -> Pipeline:
    return load_target(pipeline.file, pipeline.project, changes=changes)


def test_the_source_of_a_section_is_what_stands_in_its_block(pipeline: Pipeline) -> None:
    prompt = prompt_of(pipeline)

    assert section_source(prompt, "persona") == 'You are {{ "kind" if true }}.'
    expected = "Say whether {{ text }} is good.\n{% if text %}Mind it.{% endif %}"
    assert section_source(prompt, "instructions") == expected
    assert section_source(prompt, "recap") is None


def test_the_source_of_a_section_that_a_parent_writes_is_the_parents(folder: Folder, pipeline: Pipeline) -> None:
    folder.write("templates/prompts/child.j2", '{% extends "mood.j2" %}{% block recap %}Again.{% endblock %}')
    prompt = prompt_of(folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: child}}"))

    assert section_source(prompt, "persona") == 'You are {{ "kind" if true }}.'
    assert section_source(prompt, "recap") == "Again."


def test_what_super_stands_for_is_in_the_source(folder: Folder, pipeline: Pipeline) -> None:
    text = '{% extends "mood.j2" %}{% block persona %}Hello. {{ super() }}{% endblock %}'
    folder.write("templates/prompts/child.j2", text)
    prompt = prompt_of(folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: child}}"))

    assert section_source(prompt, "persona") == 'Hello. You are {{ "kind" if true }}.'


@pytest.mark.parametrize("section", ['{% include "part.j2" %}', "{{ super() | upper }}"])
def test_a_section_that_cannot_be_moved_has_no_source(folder: Folder, pipeline: Pipeline, section: str) -> None:
    folder.write("templates/prompts/part.j2", "part")
    folder.write(
        "templates/prompts/child.j2", f'{{% extends "mood.j2" %}}{{% block persona %}}{section}{{% endblock %}}'
    )
    prompt = prompt_of(folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: child}}"))

    assert section_source(prompt, "persona") is None


def test_a_prompt_without_blocks_is_its_instructions(folder: Folder) -> None:
    folder.write("templates/prompts/mood.j2", "---\ninputs: {text: {}}\n---\nSay how {{ text }} is.\n")

    assert section_source(prompt_of(folder.load(PIPELINE)), "instructions") == "Say how {{ text }} is."


@pytest.mark.parametrize("name", ["sentiment", "table_questions", "arithmetic", "summarize"])
def test_shipped_prompts_have_sources_that_render_to_the_same(folder: Folder, name: str) -> None:
    pipeline = load_target(LIBRARY / "templates" / "prompts" / f"{name}.j2", folder.project)
    (step,) = pipeline.steps
    prompt = prompt_of(pipeline, step)
    values = {key: spec.example for key, spec in prompt.inputs.items()}
    sections = {key: source for key in prompt.blocks if (source := section_source(prompt, key))}
    child = changed(pipeline, edit_sections(pipeline, step, sections))

    assert sections
    assert prompt_of(child, step).sections(values) == prompt.sections(values)


def test_a_child_says_something_else_and_inherits_the_rest(pipeline: Pipeline) -> None:
    child = changed(pipeline, edit_sections(pipeline, "mood", {"instructions": "Judge {{ text }}.", "persona": ""}))
    sections = prompt_of(child).sections({"text": "it"})

    assert sections == {"instructions": "Judge it.", "input": "it", "cue": "Mood:"}
    asking, start = child.steps["mood"].prompt_call, pipeline.steps["mood"].prompt_call
    assert asking is not None
    assert start is not None
    assert (asking.decide, asking.answer.__class__, asking.examples.all) == (
        "generate",
        start.answer.__class__,
        start.examples.all,
    )


def test_the_same_edit_is_the_same_file_and_another_one_another(pipeline: Pipeline) -> None:
    first = edit_sections(pipeline, "mood", {"persona": ""})

    assert edit_sections(pipeline, "mood", {"persona": ""}) == first
    assert edit_sections(pipeline, "mood", {"persona": "You."}) != first
    assert first["mood.prompt"].startswith("../.promptkit/tuning/prompts/mood.")


def test_a_child_is_edited_further_without_a_chain_of_children(pipeline: Pipeline) -> None:
    child = changed(pipeline, edit_sections(pipeline, "mood", {"persona": ""}))
    further = changed(pipeline, edit_sections(child, "mood", {"instructions": "Judge."}))

    assert prompt_of(further).sections({"text": "it"}) == {"instructions": "Judge.", "input": "it", "cue": "Mood:"}
    assert [file.name for file in prompt_of(further).files][1:] == ["mood.j2", "sections.j2"]
    assert edit_sections(child, "mood", {"instructions": "Judge."}) == edit_sections(
        pipeline, "mood", {"persona": "", "instructions": "Judge."}
    )


@pytest.mark.parametrize("written", ['"Judge {{ text }}."', '{instructions: "Judge {{ text }}.", recap: Now.}'])
def test_a_prompt_in_the_pipeline_is_changed_there(folder: Folder, written: str) -> None:
    pipeline = folder.load(f"inputs: {{text: {{}}}}\nsteps: {{mood: {{prompt: {written}}}}}")
    changes = edit_sections(pipeline, "mood", {"persona": "You.", "recap": ""})

    child = changed(pipeline, changes)
    assert prompt_of(child).sections({"text": "it"}) == {"persona": "You.", "instructions": "Judge it."}
    again = changed(pipeline, edit_sections(child, "mood", {"persona": ""}))
    assert prompt_of(again).sections({"text": "it"}) == {"instructions": "Judge it."}


def test_a_prompt_that_is_the_target_gets_a_child_too(folder: Folder) -> None:
    pipeline = load_target(folder.write("templates/prompts/mood.j2", PROMPT), folder.project)
    child = changed(pipeline, edit_sections(pipeline, "mood", {"instructions": "Judge."}))

    assert prompt_of(child).sections({"text": "it"}, only=["instructions"]) == {"instructions": "Judge."}
    assert (child.name, list(child.inputs)) == ("mood", ["text"])


def test_a_parent_outside_of_the_prompts_folder_is_extended_by_its_path(folder: Folder) -> None:
    folder.write("pipelines/own/mood.j2", PROMPT)
    pipeline = folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: own/mood.j2}}")
    child = changed(pipeline, edit_sections(pipeline, "mood", {"persona": ""}))

    assert "persona" not in prompt_of(child).sections({"text": "it"})


def test_a_shipped_prompt_is_extended_from_the_project(folder: Folder) -> None:
    pipeline = folder.load("inputs: {text: {}}\nsteps: {mood: {prompt: sentiment_plain}}")
    child = changed(pipeline, edit_sections(pipeline, "mood", {"instructions": "Judge."}))

    assert prompt_of(child).sections({"text": "it"}) == {"instructions": "Judge.", "input": "it"}


def test_a_target_that_is_no_project_of_ones_own_is_not_edited(tmp_path_factory: pytest.TempPathFactory) -> None:
    import promptkit.project as project_module

    shipped = LIBRARY / "pipelines" / "sentiment_plain.yaml"
    pipeline = load_target(shipped, Project(root=project_module._PACKAGE))

    with pytest.raises(InputError, match="cannot be changed"):
        edit_sections(pipeline, "sentiment", {"instructions": "Judge."})


async def test_what_an_edit_says_is_asked(folder: Folder, pipeline: Pipeline) -> None:
    changes = edit_sections(pipeline, "mood", {"instructions": "Judge {{ '{{ text }}' }} in {{ text }}."})
    runtime = Scripted(["good"])
    sets = [f"{key}={value}" for key, value in changes.items()]
    await folder.run(PIPELINE, runtime, {"text": "it"}, sets=sets)

    assert "Judge {{ text }} in it." in asked(runtime)[0]
