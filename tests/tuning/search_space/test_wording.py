"""The axis of the wording: edits by rule."""

from __future__ import annotations

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.search_space.candidate import Choice, Parameter
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.wording import shortened, wording_parameter
from tests.engine.helpers import Folder, asked

PROMPT = """
---
inputs: {text: {}}
answer: {label: [good, bad]}
---
{% block persona %}You are a critic. You are kind.{% endblock %}
{% block instructions %}Say whether it is good. Mind the tone. {{ "Be quick." }}{% endblock %}
{% block constraints %}Do not explain.{% endblock %}
{% block context %}About {{ text }}.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
PIPELINE = "inputs: {text: {example: fine}}\nsteps: {mood: {prompt: mood}}"
ROWS = [
    Demonstration({"text": f"{word} thing {at}"}, label, label=label, row=at)
    for at, (word, label) in enumerate([("splendid", "good"), ("dreadful", "bad")] * 5)
]


def parameter_of(
    folder: Folder, prompt: str = PROMPT, rows: list[Demonstration] | None = None
) -> tuple[Pipeline, Parameter]:
    folder.write("templates/prompts/mood.j2", prompt)
    pipeline = folder.load(PIPELINE)
    return pipeline, wording_parameter(pipeline, pipeline.steps["mood"], rows or [])[0]


def level_of(parameter: Parameter, name: str) -> Choice:
    return next(choice for choice in parameter.choices if choice.name == name)


def sections(pipeline: Pipeline, choice: Choice) -> dict[str, str]:
    prompt = load_target(pipeline.file, pipeline.project, changes=choice.changes).steps["mood"].prompt
    assert prompt is not None
    return prompt.sections({"text": "it"})


def test_a_section_of_plain_text_is_dropped_and_one_that_reads_inputs_is_not(folder: Folder) -> None:
    pipeline, parameter = parameter_of(folder)

    assert [choice.name for choice in parameter.choices] == [
        "as written",
        "persona in one sentence",
        "without persona",
        "without constraints",
    ]
    assert sections(pipeline, level_of(parameter, "without persona")).keys() == {
        "instructions",
        "constraints",
        "context",
        "input",
    }


def test_a_section_is_shortened_to_its_first_sentence(folder: Folder) -> None:
    pipeline, parameter = parameter_of(folder)

    assert sections(pipeline, level_of(parameter, "persona in one sentence"))["persona"] == "You are a critic."


def test_instructions_come_again_at_the_end(folder: Folder) -> None:
    pipeline, parameter = parameter_of(folder, PROMPT.replace(' {{ "Be quick." }}', ""))

    recap = sections(pipeline, level_of(parameter, "instructions again at the end"))["recap"]
    assert recap == "Say whether it is good. Mind the tone."


def test_a_recap_is_dropped_rather_than_doubled(folder: Folder) -> None:
    pipeline, parameter = parameter_of(folder, PROMPT + "{% block recap %}Say it.{% endblock %}")

    assert "recap" not in sections(pipeline, level_of(parameter, "without recap"))
    assert all(choice.name != "instructions again at the end" for choice in parameter.choices)


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ("Say it. Mind the tone.", "Say it."),
        ("Say it.\nMind the tone.", "Say it."),
        ("Say it.", None),
        ("Say it", None),
        ("1. Say it. 2. Mind the tone.", None),
        ("- Say it. And more.", None),
        ("Choose one: a or b. Mind it.", None),
        ("Use 1.5 at most. Mind it.", "Use 1.5 at most."),
        ("Say {{ it }}. Mind the tone.", None),
        ("Say it. Mind {{ tone }}.", None),
        ("", None),
    ],
)
def test_only_plain_prose_of_several_sentences_is_shortened(source: str, short: str | None) -> None:
    assert shortened(source) == short


async def test_labels_are_defined_by_the_words_of_their_rows(folder: Folder) -> None:
    _, parameter = parameter_of(folder, rows=ROWS)
    choice = level_of(parameter, "labels with their typical words")
    runtime = Scripted(["good"])
    pipeline = load_target(folder.root / "pipelines/test.yaml", folder.project, changes=choice.changes)
    from promptkit.engine.run import run
    from tests.engine.helpers import Given

    await run(pipeline, {"text": "it"}, models=Given(runtime))
    assert "- good: often said with splendid" in asked(runtime)[0]
    assert "- bad: often said with dreadful" in asked(runtime)[0]


@pytest.mark.parametrize(
    "change",
    [
        ("[good, bad]", "{good: what pleases, bad: what does not}"),
        ("{label: [good, bad]}", "text"),
        ("{% block input %}", "{% block output_format %}good or bad{% endblock %}{% block input %}"),
    ],
)
def test_labels_that_have_definitions_or_are_not_listed_get_none(folder: Folder, change: tuple[str, str]) -> None:
    _, parameter = parameter_of(folder, PROMPT.replace(*change), rows=ROWS)

    assert all(choice.name != "labels with their typical words" for choice in parameter.choices)


def test_a_prompt_of_the_installed_files_is_not_edited_and_that_is_told(folder: Folder) -> None:
    import promptkit.project as project_module
    from promptkit.project import LIBRARY, Project

    shipped = LIBRARY / "pipelines" / "sentiment_plain.yaml"
    pipeline = load_target(shipped, Project(root=project_module._PACKAGE))
    parameter, notes = wording_parameter(pipeline, pipeline.steps["sentiment"], [])

    assert len(parameter.choices) == 1
    assert "prompts cannot be changed" in notes[0]
