"""An inline prompt has no front matter, so that what only its technique reads is found by the technique's roles."""

from pathlib import Path

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.scripted import Scripted
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
    await run(pipeline, fill_inputs(pipeline).values, models=Given(runtime))
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


async def test_what_the_prompt_shows_is_asked_and_not_an_input_that_happens_to_be_called_question(
    tmp_path: Path,
) -> None:
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "parts.yaml").write_text(
        "name: parts\ninputs:\n  question: {example: THE WHOLE}\n  part: {example: THE PART}\nsteps:\n  each:\n"
        '    prompt: {instructions: Answer., input: "{{ part }}"}\n    technique: chain_of_verification\n'
    )
    pipeline = load_target(tmp_path / "parts.yaml", Project.find(tmp_path))
    runtime = Scripted(lambda request: "1. Is it so?")
    await run(pipeline, fill_inputs(pipeline).values, models=Given(runtime))

    sent = "\n".join(message.content for request in runtime.requests for message in request.messages)
    assert "THE PART" in sent and "THE WHOLE" not in sent
