"""The files of a tuning: they send the requests that were searched, and keep the person's own text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.render import render
from promptkit.engine.run import run
from promptkit.errors import InputError, StoreFailed
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.output.write import Draft, draft, protected_files, write
from promptkit.tuning.prompt_edits import edit_sections
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.nearest_choices import nearest_choices
from tests.engine.helpers import Folder, Given

PIPELINE = """\
# How customers feel.
name: moods
inputs:
  texts: {type: list, example: [fine, "so so"]}
steps:
  mood:  # one for each
    for_each: "{{ texts }}"
    as: text
    prompt: mood
    layout: markdown   # reads well
  reply:
    prompt: {instructions: "Reply to {{ mood | join(', ') }}.", recap: Be short.}

output: "{{ reply }}"
cases:
  - {name: one, inputs: {texts: [fine]}}
tune: {mood.layout: [xml, markdown]}
"""
PROMPT = """\
---
inputs: {text: {}}
answer: {label: [good, bad]}
decide: generate
---
{% block persona %}You are kind.{% endblock %}
{% block instructions %}Say whether it is good or bad.{% endblock %}
{% block input %}{{ text }}{% endblock %}
{% block cue %}Mood:{% endblock %}
"""
ODD = [
    "{{ text }}",
    "# no: comment",
    "key: value",
    "two\nlines\n",
    " é 日本 \u2028",
    "1e5",
    "no",
    "- 'x' \"y\"",
    "{% if %}",
]
EXAMPLES = [{"input": {"text": text}, "output": "good" if at % 2 else "bad"} for at, text in enumerate(ODD)]

CHANGES: dict[str, dict[str, Any]] = {
    "decide": {"mood.decide": "constrain"},
    "no cue": {"mood.cue": "none"},
    "a cue": {"mood.cue": "Feeling:"},
    "layout": {"mood.layout": "json"},
    "messages": {"mood.messages": "turns", "mood.examples": EXAMPLES[:2]},
    "odd examples": {"mood.examples": EXAMPLES},
    "examples with thoughts": {"mood.examples": [{**EXAMPLES[0], "thoughts": "Well: it is.\nSo."}]},
    "a technique": {"mood.technique": "chain_of_thought"},
    "a technique with parameters": {
        "mood.technique": {"self_consistency": {"samples": 3, "temperature": 0.5, "over": "chain_of_thought"}}
    },
    "definitions": {"mood.answer": {"label": {"good": "liked: a lot", "bad": "# not"}}},
    "score with offsets": {
        "mood.decide": "score",
        "mood.calibrate": {"method": "batch", "offsets": {"good": -0.51234, "bad": 1e-05}},
    },
    "several steps": {"mood.layout": "xml", "reply.layout": "prefix", "reply.options.temperature": 0.3},
    "a key less": {"mood.layout": None},
}


@pytest.fixture
def folder(folder: Folder) -> Folder:
    folder.write("templates/prompts/mood.j2", PROMPT)
    folder.write("pipelines/moods.yaml", PIPELINE)
    return folder


def candidate(changes: Mapping[str, Any]) -> Candidate:
    return Candidate({"axis": Choice("level", changes)})


def target(folder: Folder, name: str = "pipelines/moods.yaml") -> Path:
    return (folder.root / name).resolve()


def drafted(folder: Folder, changes: Mapping[str, Any], name: str = "pipelines/moods.yaml", **how: Any) -> Draft:
    return draft(target(folder, name), candidate(changes), folder.project, **how)


async def sent(pipeline: Pipeline, inputs: Mapping[str, Any]) -> list[Request]:
    """Return all that a pipeline asks, and what scoring would ask first."""
    runtime = Scripted(lambda request: "positive" if "positive" in request.messages[0].content else "good")
    if all(step.prompt_call is None or step.prompt_call.decide != "score" for step in pipeline.steps.values()):
        result = await run(pipeline, inputs, models=Given(runtime))
        assert result.error is None
    rendered = await render(pipeline, inputs, models=Given(runtime))
    return [*runtime.requests, *(each.request for each in rendered)]


async def assert_same(draft: Draft, project: Project, inputs: Mapping[str, Any]) -> None:
    written = load_target(list(draft.files)[-1], project)
    assert await sent(written, inputs) == await sent(draft.searched, inputs)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_tuned_pipeline_sends_what_was_searched(folder: Folder, name: str) -> None:
    found = drafted(folder, CHANGES[name])
    write(found)
    await assert_same(found, folder.project, {"texts": ["fine", "{{ x }}"]})


@pytest.mark.parametrize("name", CHANGES)
async def test_an_original_that_is_changed_in_place_does_too(folder: Folder, name: str) -> None:
    found = drafted(folder, CHANGES[name], in_place=True)
    write(found)
    assert list(found.files) == [target(folder)]
    await assert_same(found, folder.project, {"texts": ["fine", "{{ x }}"]})


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - {"a key less", "several steps"}))
async def test_a_prompt_becomes_a_pipeline_of_one_step(folder: Folder, name: str) -> None:
    found = drafted(folder, CHANGES[name], "templates/prompts/mood.j2")
    write(found)
    assert list(found.files) == [target(folder, "pipelines") / "mood.tuned.yaml"]
    await assert_same(found, folder.project, {"text": "{{ x }}"})


async def test_a_prompt_beside_the_folder_that_the_pipeline_makes_is_named_by_its_path(folder: Folder) -> None:
    rmtree(target(folder, "pipelines"))
    folder.write("feeling.j2", PROMPT)
    found = drafted(folder, {"feeling.layout": "json"}, "feeling.j2")
    write(found)

    assert "prompt: ../feeling.j2" in target(folder, "pipelines/feeling.tuned.yaml").read_text()
    await assert_same(found, folder.project, {"text": "fine"})


async def test_an_input_of_a_prompt_that_need_not_be_given_need_not_be_given_to_the_pipeline(folder: Folder) -> None:
    front = PROMPT.replace("{text: {}}", "{text: {}, more: {default: null}}")
    folder.write("templates/prompts/mood.j2", front)
    found = drafted(folder, {"mood.layout": "json"}, "templates/prompts/mood.j2")
    write(found)

    assert front != PROMPT
    await assert_same(found, folder.project, {"text": "fine", "more": None})


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - {"a key less", "several steps"}))
async def test_a_prompt_that_is_changed_in_place_has_it_in_its_front_matter(folder: Folder, name: str) -> None:
    found = drafted(folder, CHANGES[name], "templates/prompts/mood.j2", in_place=True)
    write(found)
    await assert_same(found, folder.project, {"text": "{{ x }}"})
    assert target(folder, "templates/prompts/mood.j2").read_text().endswith(PROMPT.partition("generate\n---")[2])


def test_what_a_person_wrote_stays_and_the_original_is_not_touched(folder: Folder) -> None:
    write(drafted(folder, {"mood.layout": "json", "mood.decide": "constrain"}, about=["Better."]))

    assert target(folder).read_text() == PIPELINE
    text = target(folder, "pipelines/moods.tuned.yaml").read_text()
    kept = PIPELINE.replace("name: moods", "name: moods.tuned").replace("layout: markdown   #", "layout: json   #")
    kept = kept.replace("# reads well\n", "# reads well\n    decide: constrain\n")
    assert text == f"# Made by promptkit tune of pipelines/moods.yaml.\n# Better.\n{kept}"


def test_nothing_else_is_changed_in_place(folder: Folder) -> None:
    write(drafted(folder, {"mood.layout": "json"}, in_place=True))
    assert target(folder).read_text() == PIPELINE.replace("layout: markdown   #", "layout: json   #")


def test_what_the_command_line_set_is_written_too(folder: Folder) -> None:
    write(drafted(folder, {"mood.cue": "none"}, sets=["mood.layout=xml"]))
    mood = load_target("moods.tuned", folder.project).steps["mood"].prompt_call
    assert mood is not None
    assert (Path(mood.layout).stem, mood.cue) == ("xml", "none")


async def test_a_prompt_of_the_search_becomes_a_file_beside_its_parent(folder: Folder) -> None:
    changes = edit_sections(
        load_target("moods", folder.project), "mood", {"persona": "", "recap": "Only {{ 'one' }} word."}
    )
    found = drafted(folder, changes)
    written = write(found)

    prompt = target(folder, "templates/prompts/mood.tuned.j2")
    assert prompt in written
    assert "prompt: mood.tuned\n" in target(folder, "pipelines/moods.tuned.yaml").read_text()
    await assert_same(found, folder.project, {"texts": ["fine"]})
    shutil.rmtree(folder.root / ".promptkit")
    (request, *_) = await sent(load_target("moods.tuned", folder.project), {"texts": ["fine"]})
    assert "kind" not in request.messages[0].content and "Only one word." in request.messages[0].content


async def test_an_inline_prompt_of_the_search_is_written_inline(folder: Folder) -> None:
    changes = edit_sections(
        load_target("moods", folder.project), "reply", {"recap": "", "persona": "You: {{ mood | first }}"}
    )
    found = drafted(folder, changes)
    write(found)
    await assert_same(found, folder.project, {"texts": ["fine"]})


async def test_a_prompt_tuned_again_never_extends_itself(folder: Folder) -> None:
    for persona in ("You are stern.", "You are calm."):
        pipeline = load_target("moods", folder.project)
        write(drafted(folder, edit_sections(pipeline, "mood", {"persona": persona}), in_place=True))
    assert target(folder, "templates/prompts/mood.tuned-2.j2").is_file()
    (request, *_) = await sent(load_target("moods", folder.project), {"texts": ["fine"]})
    assert "You are calm." in request.messages[0].content


def test_a_second_tuning_writes_over_the_first_and_over_nothing_of_a_persons(folder: Folder) -> None:
    write(drafted(folder, {"mood.cue": "none"}))
    write(drafted(folder, {"mood.layout": "json"}))
    assert not target(folder, "pipelines/moods.tuned-2.yaml").exists()
    mine = folder.write("pipelines/moods.tuned.yaml", "# mine\nsteps: {a: {prompt: mood}}\n")
    write(drafted(folder, {"mood.layout": "xml"}))
    assert mine.read_text() == "# mine\nsteps: {a: {prompt: mood}}\n"
    assert target(folder, "pipelines/moods.tuned-2.yaml").is_file()


def test_the_diff_has_the_pipeline_and_the_sections_that_changed(folder: Folder) -> None:
    pipeline = load_target("moods", folder.project)
    changes = edit_sections(pipeline, "mood", {"persona": "You are stern.", "recap": "One word."})
    diff = drafted(folder, {**changes, "mood.layout": "json"}).diff

    assert "--- pipelines/moods.yaml\n+++ pipelines/moods.tuned.yaml\n" in diff
    assert "-    prompt: mood\n-    layout: markdown   # reads well\n" in diff
    assert "+    prompt: mood.tuned\n+    layout: json   # reads well\n" in diff
    assert "--- templates/prompts/mood.j2\n+++ templates/prompts/mood.tuned.j2\n" in diff
    assert "-You are kind.\n+You are stern.\n" in diff and "+{% block recap %}\n+One word.\n" in diff
    assert "Mood:" not in diff and str(folder.root) not in diff


async def test_what_is_shipped_is_written_into_the_project(folder: Folder) -> None:
    path = LIBRARY / "pipelines" / "sentiment_plain.yaml"
    changes = edit_sections(load_target(path, folder.project), "sentiment", {"instructions": "Judge."})
    found = draft(path, candidate({**changes, "sentiment.layout": "markdown"}), folder.project)
    written = [file.relative_to(folder.root.resolve()).as_posix() for file in write(found)]
    assert written == ["templates/prompts/sentiment_plain.tuned.j2", "pipelines/sentiment_plain.tuned.yaml"]
    assert found.diff.startswith("--- pipelines/sentiment_plain.yaml\n+++ pipelines/sentiment_plain.tuned.yaml\n")
    await assert_same(found, folder.project, {"text": "fine"})
    with pytest.raises(InputError, match="not in this project"):
        draft(path, candidate({"sentiment.layout": "xml"}), folder.project, in_place=True)


def test_what_would_mean_something_else_elsewhere_is_refused_and_leaves_nothing(folder: Folder) -> None:
    path = LIBRARY / "pipelines" / "summarize_parts.yaml"
    step = next(name for name, step in load_target(path, folder.project).steps.items() if step.prompt_call)
    with pytest.raises(InputError, match="cannot be written as `pipelines/summarize_parts") as raised:
        write(draft(path, candidate({f"{step}.layout": "markdown"}), folder.project))
    assert "copy the target" in str(raised.value)
    assert not target(folder, "pipelines/summarize_parts.tuned.yaml").exists()


def test_a_step_inside_another_pipeline_is_refused(folder: Folder) -> None:
    folder.write("pipelines/outer.yaml", "inputs: {texts: {type: list}}\nsteps: {inner: {pipeline: moods}}\n")
    with pytest.raises(InputError, match="which has a file of its own"):
        drafted(folder, {"inner.mood.layout": "json"}, "pipelines/outer.yaml")


def test_a_prompt_that_another_pipeline_uses_is_not_written_over_by_a_later_tuning(folder: Folder) -> None:
    moods = target(folder)
    for persona, number in (("You are stern.", ""), ("You are calm.", "-2")):
        pipeline = load_target("moods", folder.project)
        kept = protected_files(moods, folder.project, improved=True)
        write(drafted(folder, edit_sections(pipeline, "mood", {"persona": persona}), kept=kept))
        assert f"prompt: mood.tuned{number}\n" in target(folder, "pipelines/moods.tuned.yaml").read_text()
        target(folder, "pipelines/moods.tuned.yaml").rename(target(folder, f"pipelines/best{number}.yaml"))

    assert "stern" in target(folder, "templates/prompts/mood.tuned.j2").read_text()


def test_where_a_folder_cannot_be_made_that_is_said(folder: Folder) -> None:
    found = drafted(folder, {"mood.layout": "json"})
    folder.write("taken", "a file")
    elsewhere = replace(found, files={target(folder, "taken/pipelines/x.yaml"): "steps: {}"})

    with pytest.raises(StoreFailed, match=r"the folder .* cannot be made"):
        write(elsewhere)


async def test_what_was_prepared_for_a_step_goes_with_it(folder: Folder) -> None:
    artifact = folder.write(
        "pipelines/moods.mood.auto_cot.yaml",
        "technique: auto_cot\nitems:\n  - {input: {text: fine}, thoughts: It is., output: good}\n",
    )
    found = drafted(folder, {"mood.technique": "auto_cot"})
    write(found)
    assert target(folder, "pipelines/moods.tuned.mood.auto_cot.yaml").read_text() == artifact.read_text()
    await assert_same(found, folder.project, {"texts": ["so"]})


def test_a_prompt_with_other_words_is_not_put_in_its_own_place_but_into_a_pipeline(folder: Folder) -> None:
    path = "templates/prompts/mood.j2"
    before = target(folder, path).read_text()
    found = drafted(
        folder, edit_sections(load_target("mood", folder.project), "mood", {"persona": ""}), path, in_place=True
    )
    write(found)

    assert (found.in_place, target(folder, path).read_text()) == (False, before)
    assert load_target("mood.tuned", folder.project).steps["mood"].prompt is not None


POOL = [{"input": {"text": f"thing {at}"}, "output": "good" if at % 2 else "bad"} for at in range(20)]


def nearest(folder: Folder, name: str = "moods", pool: list[dict[str, Any]] = POOL) -> Mapping[str, Any]:
    """Return the changes of a choice that shows the two nearest of a pool too large for the pipeline itself."""
    pipeline = load_target(name, folder.project)
    demos = [Demonstration(entry["input"], entry["output"]) for entry in pool]
    return nearest_choices(pipeline, "mood", demos)[0].changes


@pytest.mark.parametrize("in_place", [False, True])
async def test_the_pool_of_nearest_examples_becomes_a_file_beside_the_pipeline(folder: Folder, in_place: bool) -> None:
    found = drafted(folder, nearest(folder), in_place=in_place)
    written = write(found)

    stem = "moods" if in_place else "moods.tuned"
    assert target(folder, f"pipelines/{stem}.mood.jsonl") in written
    assert f"examples: {{nearest: 2, by: words, from: {stem}.mood.jsonl}}\n" in written[-1].read_text()
    await assert_same(found, folder.project, {"texts": ["thing 3?"]})
    shutil.rmtree(folder.root / ".promptkit")
    (request, *_) = await sent(load_target(stem, folder.project), {"texts": ["thing 3?"]})
    assert "thing 3" in request.messages[0].content


async def test_the_pool_of_a_prompt_stands_beside_its_tuned_pipeline(folder: Folder) -> None:
    found = drafted(folder, nearest(folder, "mood"), "templates/prompts/mood.j2")
    write(found)
    assert target(folder, "pipelines/mood.tuned.mood.jsonl").is_file()
    await assert_same(found, folder.project, {"text": "thing 3?"})


def test_a_pool_is_written_over_nothing_of_a_persons(folder: Folder) -> None:
    mine = folder.write("pipelines/moods.mood.jsonl", "{}\n")
    write(drafted(folder, nearest(folder), in_place=True))
    assert mine.read_text() == "{}\n"
    assert "from: moods.mood-2.jsonl" in target(folder).read_text()


def test_a_later_tuning_writes_its_pool_over_the_one_before(folder: Folder) -> None:
    write(drafted(folder, nearest(folder)))
    write(drafted(folder, nearest(folder, pool=POOL[:18])))
    assert len(target(folder, "pipelines/moods.tuned.mood.jsonl").read_text().splitlines()) == 18
    assert not target(folder, "pipelines/moods.tuned.mood-2.jsonl").exists()
