"""An inline prompt has no front matter, so that what only its technique reads is found by the technique's roles."""

from pathlib import Path

from promptkit.engine import fill, load_target, run
from promptkit.project import Project
from promptkit.runtimes import Scripted
from tests.pipelines.asking import Given

PIPELINE = """\
name: note
inputs:
  note: {{type: text, example: "PA came back."}}
  {name}: {{type: json, example: {{PA: prior authorization}}}}
steps:
  outcome:
    prompt: {{instructions: What came back?, input: "{{{{ note }}}}"}}
    technique: {technique}
    {extra}
"""


async def texts(folder: Path, name: str, technique: str, extra: str = "") -> str:
    (folder / "promptkit.yaml").touch()
    (folder / "note.yaml").write_text(PIPELINE.format(name=name, technique=technique, extra=extra))
    pipeline = load_target(folder / "note.yaml", Project.find(folder))
    runtime = Scripted(["it"])
    await run(pipeline, fill(pipeline).values, models=Given(runtime))
    return "\n".join(message.content for request in runtime.requests for message in request.messages)


async def test_a_pipelines_input_of_the_roles_name_plays_it(tmp_path: Path) -> None:
    assert "prior authorization" in await texts(tmp_path, "glossary", "term_definitions")


async def test_a_role_may_be_given_by_with(tmp_path: Path) -> None:
    given = await texts(tmp_path, "words", "term_definitions", 'with: {glossary: "{{ words }}"}')

    assert "prior authorization" in given


async def test_a_role_may_be_bound_to_an_input_of_another_name(tmp_path: Path) -> None:
    assert "prior authorization" in await texts(tmp_path, "words", "{term_definitions: {glossary: words}}")


async def test_the_roles_of_a_technique_beneath_another_are_found_too(tmp_path: Path) -> None:
    nested = "{instructed: {over: {term_definitions: {glossary: words}}}}"

    assert "prior authorization" in await texts(tmp_path, "words", nested)
