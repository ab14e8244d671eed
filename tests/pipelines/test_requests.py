"""The shipped pipelines' requests, word for word; no model generates here."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from promptkit.engine.load import load_target
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.in_process.embedded import Embedded
from tests.pipelines.asking import GOLDEN, PIPELINES, Given, Script, asked, golden

RENEW = "the requests changed: `python -m tests.pipelines.asking` writes them anew; read the difference"
BLOCK = re.compile(r"{% block instructions %}\s*(?:1\. )?(\w+)")


@pytest.mark.parametrize("name", PIPELINES)
async def test_the_requests_are_those_of_the_golden_file(embedded: Embedded, name: str) -> None:
    script, result = await asked(name, embedded)
    assert result.error is None
    assert result.notices == ()
    assert await golden(script) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), RENEW


@pytest.mark.parametrize("name", PIPELINES)
async def test_one_word_of_a_section_changes_the_requests(embedded: Embedded, name: str, tmp_path: Path) -> None:
    for folder in ("pipelines", "templates"):
        shutil.copytree(LIBRARY / folder, tmp_path / folder)
    (tmp_path / "promptkit.yaml").touch()
    own = Project.find(tmp_path)
    prompts = [
        step.prompt_call.prompt.file
        for step in load_target(tmp_path / "pipelines" / f"{name}.yaml", own).steps.values()
        if step.prompt_call
    ]
    before = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    for file in prompts:
        assert file is not None and file.is_relative_to(tmp_path)
        text = file.read_text(encoding="utf-8")
        [word] = BLOCK.findall(text)
        at = text.index(word, text.index("block instructions"))
        file.write_text(f"{text[:at]}Otherwise{text[at + len(word) :]}", encoding="utf-8")
        script, _ = await asked(name, embedded, root=tmp_path)
        after = await golden(script)
        assert "Otherwise" in after
        assert after != before
        before = after


@pytest.mark.parametrize("name", [*PIPELINES, "assistant", "summarize_parts"])
def test_each_pipeline_is_whole_with_examples_and_named_cases(name: str) -> None:
    path, project = LIBRARY / "pipelines" / f"{name}.yaml", Project.find(LIBRARY)
    pipeline = load_target(path, project)
    assert all(given.has_example and given.about for given in pipeline.inputs.values())
    assert pipeline.cases
    assert all(case.name for case in pipeline.cases)
    assert pipeline.about


def no_more_than_a_hundred_words(request: Request) -> str:
    return " " + "word " * 100


@pytest.mark.parametrize(
    "text",
    ["A sentence of some length stands here. " * 1539, "字" * 20_000, "x" * 60_000, "\n\n".join(["short"] * 10_000)],
    ids=["sentences", "without blanks", "one word", "paragraphs"],
)
async def test_a_text_of_any_length_is_summarized_in_requests_that_fit(embedded: Embedded, text: str) -> None:
    from promptkit.engine.inputs import fill_inputs
    from promptkit.engine.run import run

    assert len(text.encode()) >= 60_000
    script = Script(embedded, no_more_than_a_hundred_words)
    pipeline = load_target(LIBRARY / "pipelines" / "summarize.yaml", Project.find(LIBRARY))
    result = await run(pipeline, fill_inputs(pipeline, {"text": text}).values, models=Given(script))
    assert result.error is None
    assert result.output.startswith("word word")
    assert len(script.requests) > 30
    # The smallest window is that of the default model in its default settings.
    for request in script.requests:
        prompt = await embedded.template(request.messages, request.begun)
        assert len(await embedded.tokenize(prompt)) + request.max_tokens <= 4096
    # All of the text was read in the first round.
    read = "".join(request.messages[-1].content for request in script.requests)
    assert sum(read.count(sign) for sign in set(text)) >= sum(text.count(sign) for sign in set(text.strip())) * 0.95
