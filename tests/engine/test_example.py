"""A technique's own example: its pipeline, run on the replies written for it; without either there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.engine.render import example_file, run_example
from promptkit.engine.results import Result
from promptkit.errors import InputError
from promptkit.techniques.registry import find_technique
from tests.engine.helpers import Folder, messages

ANSWER = "---\nproduces: answer\n---\n{% extends prompt %}\n{% block recap %}OWN-MARK{% endblock %}\n"
PIPELINE = """
name: mine
inputs: {question: {example: 3+4}}
steps:
  solve:
    prompt: {input: "{{ question }}"}
    answer: number
    technique: mine
"""
REPLIES = 'rules: [{contains: 3+4, reply: "7"}]\notherwise: none\n'


@pytest.fixture
def folder(folder: Folder) -> Folder:
    """A project with a technique `mine`, its example and replies."""
    folder.write("templates/techniques/mine/answer.j2", ANSWER)
    folder.write("templates/techniques/mine/replies.yaml", REPLIES)
    folder.write("pipelines/techniques/mine.yaml", PIPELINE)
    return folder


async def shown(folder: Folder, name: str = "mine") -> Result | None:
    technique = find_technique(name, folder.project)
    assert technique
    return await run_example(technique, folder.project)


async def test_an_example_is_run_on_its_replies(folder: Folder) -> None:
    result = await shown(folder)

    assert result and result.output == 7
    (call,) = [call for node in result.trace.nodes() for call in node.calls]
    assert "OWN-MARK" in call.request.messages[0].content


async def test_an_example_says_nothing_of_the_projects_own_model(folder: Folder) -> None:
    folder.write("promptkit.yaml", "model: ollama/nowhere\n")

    result = await shown(folder)

    assert result and result.output == 7


@pytest.mark.parametrize("missing", ["templates/techniques/mine/replies.yaml", "pipelines/techniques/mine.yaml"])
async def test_without_a_pipeline_or_replies_there_is_no_example(folder: Folder, missing: str) -> None:
    (folder.root / missing).unlink()

    assert await shown(folder) is None


async def test_a_technique_without_templates_has_no_example(folder: Folder) -> None:
    folder.write("techniques/bare.py", MODULE)
    folder.write("pipelines/techniques/bare.yaml", PIPELINE.replace("mine", "bare"))

    assert await shown(folder, "bare") is None


MODULE = """
from promptkit.techniques import Answer, Task, technique


@technique()
async def bare(task: Task) -> Answer:
    return task.answer(7)
"""


async def test_a_reply_that_does_not_parse_is_shown_as_it_is_and_not_repaired(folder: Folder) -> None:
    folder.write("templates/techniques/mine/replies.yaml", "otherwise: no idea\n")
    folder.write("pipelines/techniques/mine.yaml", PIPELINE + "    decide: generate\n")

    result = await shown(folder)

    assert result and result.error is not None
    assert "no idea" in str(result.error)
    assert result.totals.calls == 1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("pipelines/techniques/mine.yaml", PIPELINE + "    cue: [1]\n", "cue"),
        ("pipelines/techniques/mine.yaml", PIPELINE.replace("{example: 3+4}", "{}"), "the input `question` is missing"),
        ("templates/techniques/mine/replies.yaml", "rulez: []\n", "unknown key `rulez`"),
    ],
)
async def test_an_example_that_is_wrong_is_told(folder: Folder, file: str, text: str, message: str) -> None:
    folder.write(file, text)

    with pytest.raises(InputError) as raised:
        await shown(folder)

    assert message in messages(raised.value.problems)


def test_a_projects_own_example_comes_before_a_shipped_one(folder: Folder, tmp_path: Path) -> None:
    shipped = example_file("vanilla", folder.project)
    file = folder.write("pipelines/techniques/vanilla.yaml", PIPELINE)

    assert shipped is not None and shipped != file
    assert example_file("vanilla", folder.project) == file
    assert example_file("nowhere", folder.project) is None


async def test_a_projects_own_technique_is_shown_on_the_example_of_the_shipped_one_that_it_stands_before(
    folder: Folder,
) -> None:
    folder.write("templates/techniques/vanilla/answer.j2", ANSWER)
    folder.write("templates/techniques/vanilla/replies.yaml", "otherwise: thanks\n")

    result = await shown(folder, "vanilla")

    assert result and result.output == "thanks"
    (call,) = [call for node in result.trace.nodes() for call in node.calls]
    assert "OWN-MARK" in call.request.messages[0].content
