"""Needs of techniques and of those beneath them: reported before the first request, with what would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.requirements import unmet_requirements
from promptkit.engine.run import run
from promptkit.errors import InputError, Unsupported
from promptkit.prompts.front_matter import PromptInput
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.needs import Available
from promptkit.techniques.spec import configure
from tests.engine.helpers import Folder, Given
from tests.techniques.steps import without
from tests.techniques.test_catalog import PROJECT

PIPELINE = """
name: sums
inputs: {question: {example: 1+1}}
steps:
  solve:
    prompt: {input: "{{ question }}"}
    answer: number
    technique: TECHNIQUE
"""
DEFAULTING = """
from promptkit.techniques import Answer, Spec, Task, technique


@technique()
async def defaulting(task: Task, *, over: Spec = "auto_cot") -> Answer:
    return await task.run(over)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("techniques/defaulting.py", DEFAULTING)
    return folder


async def refused(folder: Folder, technique: str, *lacks: str, text: str = PIPELINE) -> str:
    """Run the pipeline on a model that lacks something; return what is told instead of the first request."""
    runtime = Scripted(lambda request: "2", capabilities=without(*lacks))

    with pytest.raises((Unsupported, InputError)) as raised:
        await folder.run(text.replace("TECHNIQUE", technique), runtime)

    assert runtime.requests == []
    return str(raised.value)


@pytest.mark.parametrize(
    "technique",
    [
        "self_consistency",
        "{instructed: {over: self_consistency}}",
        "{instructed: {over: {system_2_attention: {over: self_consistency}}}}",
        "{system_2_attention: {over: {instructed: {over: {self_consistency: {samples: 2}}}}}}",
    ],
)
async def test_what_any_nested_technique_lacks_is_told_before_the_first_request(folder: Folder, technique: str) -> None:
    said = await refused(folder, technique, "sampling")

    assert "step `solve`" in said and "technique `self_consistency` needs: sampling" in said
    assert "promptkit models show" in said


async def test_what_every_step_lacks_is_told_at_once(folder: Folder) -> None:
    text = PIPELINE + '  again:\n    prompt: {input: "{{ question }}"}\n    technique: pal\n'
    text = text.replace("technique: pal", "technique: {pal: {samples: 3, temperature: 1}}")

    said = await refused(folder, "self_consistency", "sampling", text=text)

    assert "technique `self_consistency` needs: sampling" in said
    assert "technique `pal` needs: sampling" in said


async def test_what_no_model_can_give_is_told_with_how_to_give_it(folder: Folder) -> None:
    said = await refused(folder, "react")

    assert "step `solve`: technique `react` needs tools" in said
    assert "`tools: [NAME]` on the step" in said


def test_check_tells_what_no_model_can_give(folder: Folder) -> None:
    (problem,) = unmet_requirements(folder.load(PIPELINE.replace("TECHNIQUE", "chain_of_knowledge")))

    assert "technique `chain_of_knowledge` needs documents" in problem.message
    assert problem.line


def test_check_tells_what_is_wrong_in_what_was_prepared(folder: Folder) -> None:
    folder.write("pipelines/test.solve.auto_cot.yaml", "technique: auto_cot\nitms: []\n")

    (problem,) = unmet_requirements(folder.load(PIPELINE.replace("TECHNIQUE", "auto_cot")))

    assert "itms" in problem.message
    assert (Path(problem.file or "").name, problem.line) == ("test.solve.auto_cot.yaml", 2)


async def test_documents_that_cannot_be_read_are_told_before_the_first_call(folder: Folder) -> None:
    folder.write("pipelines/texts/none.bin", "")

    said = await refused(folder, "{react: {folder: texts}}")

    assert "technique `react`" in said and "texts" in said


@pytest.mark.parametrize(
    ("technique", "named"),
    [
        ("auto_cot", "auto_cot"),
        ("{instructed: {over: auto_cot}}", "auto_cot"),
        ("{self_consistency: {over: {instructed: {over: complex_cot}}}}", "complex_cot"),
        ("defaulting", "auto_cot"),
    ],
)
async def test_what_is_not_prepared_is_told_with_the_line_that_prepares_it(
    folder: Folder, technique: str, named: str
) -> None:
    said = await refused(folder, technique)

    assert f"technique `{named}` has nothing prepared for this step" in said
    assert f"promptkit techniques prepare {named} test --step solve --data FILE" in said


async def test_a_pipeline_that_its_name_does_not_lead_to_is_told_by_its_path(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root)
    file = folder.write("pipelines/deep/sums.yaml", PIPELINE.replace("TECHNIQUE", "auto_cot"))
    pipeline = load_target(file, folder.project)

    with pytest.raises(InputError, match=r"prepare auto_cot pipelines/deep/sums\.yaml --step solve --data FILE"):
        await run(pipeline, fill_inputs(pipeline).values, models=Given(Scripted([])))


async def test_what_was_prepared_for_a_technique_beneath_is_found(folder: Folder) -> None:
    item = "{input: {question: 2+2}, thoughts: PREPARED-THOUGHT, output: 4}"
    folder.write("pipelines/test.solve.auto_cot.yaml", f"technique: auto_cot\nitems: [{item}]\n")
    runtime = Scripted(lambda request: "2")

    result = await folder.run(PIPELINE.replace("TECHNIQUE", "defaulting"), runtime)

    assert result.output == 2
    assert "PREPARED-THOUGHT" in runtime.requests[0].messages[0].content


async def test_a_step_of_a_pipeline_within_a_pipeline_is_seen_too(folder: Folder) -> None:
    folder.write("pipelines/inner.yaml", PIPELINE.replace("TECHNIQUE", "self_consistency"))

    said = await refused(
        folder, "", "sampling", text="inputs: {question: {example: 1+1}}\nsteps: {outer: {pipeline: inner}}\n"
    )

    assert "technique `self_consistency` needs: sampling" in said


def hand(**settings: Any) -> Available:
    inputs = {name: PromptInput(type=kind) for name, kind in settings.pop("inputs", {"question": "text"}).items()}
    return Available(**{"capabilities": without(), "inputs": inputs, **settings})


@pytest.mark.parametrize(
    ("spec", "settings", "lacks"),
    [
        ("vanilla", {"capabilities": ()}, []),
        ("self_consistency", {"capabilities": ()}, ["sampling"]),
        ("pal", {}, []),
        ("pal", {"capabilities": ()}, []),
        ({"pal": {"samples": 3, "temperature": 0.7}}, {"capabilities": ()}, ["sampling"]),
        ({"react": {"fallback": "after"}}, {"capabilities": {"stop"}, "has_tools": True}, ["sampling"]),
        ("auto_cot", {}, ["rows"]),
        ("auto_cot", {"prepared": ["complex_cot"]}, ["rows"]),
        ("auto_cot", {"prepared": ["auto_cot"]}, []),
        ("react", {}, ["tools"]),
        ("react", {"has_tools": True}, []),
        ({"react": {"folder": "docs"}}, {}, []),
        ("react", {"inputs": {"question": "text", "documents": "list"}}, []),
    ],
)
def test_a_need_is_met_by_the_model_the_inputs_the_tools_a_folder_or_what_was_prepared(
    spec: Any, settings: dict[str, Any], lacks: list[str]
) -> None:
    assert hand(**settings).unmet(configure(spec, PROJECT)) == lacks


def test_a_role_that_stays_unbound_is_an_error() -> None:
    with pytest.raises(InputError, match="no input plays the role `table`"):
        hand().unmet(configure("binder", PROJECT))
