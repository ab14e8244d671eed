"""What a target is made of, what it would send, and what it is given."""

from __future__ import annotations

import pytest

from promptkit.engine.dependencies import files_of
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.render import render
from promptkit.errors import InputError
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given, said
from tests.engine.test_run import THREE


def test_each_file_is_known_with_the_steps_that_read_it(folder: Folder) -> None:
    base = folder.write("templates/prompts/base.j2", "{% block persona %}P{% endblock %}")
    mine = folder.write("templates/prompts/mine.j2", "{% extends 'base.j2' %}{% block instructions %}I{% endblock %}")
    tool = folder.write("pipelines/tools.py", "def f(): return 1\n")
    inner = folder.write("pipelines/inner.yaml", "steps: {say: {prompt: say it}}")
    pipeline = folder.load(
        """
        tools: {f: "tools.py:f"}
        steps:
          a: {prompt: mine}
          b: {tool: f}
          c: {pipeline: inner}
        """
    )
    found = files_of(pipeline)
    assert found[base.resolve()] == found[mine.resolve()] == {"a"}
    assert found[tool.resolve()] == {"b"}
    assert found[inner.resolve()] == {"c"}
    assert found[pipeline.file] == found[folder.root.resolve() / "promptkit.yaml"] == {"a", "b", "c"}
    assert any(path.name == "xml.j2" and steps == {"a", "c"} for path, steps in found.items())
    assert any(path.parts[-3:-1] == ("techniques", "vanilla") for path in found)


async def test_render_shows_each_step_without_asking(folder: Folder) -> None:
    pipeline = folder.load(THREE)
    model = Scripted([])
    known = {"issues": ["slow line"], "categories": ["pricing"]}
    shown = await render(pipeline, fill_inputs(pipeline).values, models=Given(model), known=known)
    assert model.requests == []
    assert [rendered.step for rendered in shown] == ["issues", "categories", "recommendations"]
    assert "My bill doubled" in said(shown[0].request)
    assert "Classify the issue: slow line" in said(shown[1].request)
    assert "Recommend for pricing about slow line" in said(shown[2].request)
    assert shown[1].assumed == {"issues": "last run"}
    assert shown[1].request.grammar is not None
    assert shown[0].tokens and shown[0].text


async def test_render_makes_up_what_no_run_has_given(folder: Folder) -> None:
    pipeline = folder.load(THREE)
    (shown,) = await render(pipeline, fill_inputs(pipeline).values, models=Given(Scripted([])), step="categories")
    assert shown.assumed == {"issues": "placeholder"}
    assert "Classify the issue: ‹issues›" in said(shown.request)


INPUTS = """
inputs:
  text: {about: what to read, example: Nice.}
  count: {type: number, default: 2}
  tags: {type: list, default: []}
  tone: {choices: [calm, loud], default: calm}
steps: {one: {prompt: "{{ text }}{{ count }}{{ tags }}{{ tone }}"}}
"""


def test_inputs_come_from_values_then_defaults_and_examples_only_where_nothing_is_given(folder: Folder) -> None:
    pipeline = folder.load(INPUTS)
    filled = fill_inputs(pipeline)
    assert (filled.values["text"], filled.values["count"], filled.examples) == ("Nice.", 2, ("text",))
    filled = fill_inputs(pipeline, texts={"text": "1e5", "count": "3", "tags": "[a, 1]"})
    assert filled.values == {"text": "1e5", "count": 3, "tags": ["a", 1], "tone": "calm"}
    assert filled.examples == ()


def test_wrong_inputs_are_named_all_at_once(folder: Folder) -> None:
    pipeline = folder.load(INPUTS)
    with pytest.raises(InputError) as raised:
        fill_inputs(pipeline, {"cuont": 1, "count": "two", "tone": "shrill"})
    message = str(raised.value)
    for words in ("did you mean `count`?", "`text` (what to read) is missing", "must be a number", "one of calm, loud"):
        assert words in message
