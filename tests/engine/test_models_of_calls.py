"""The step key `models:`, and models that a technique's parameter names: read, checked, opened and part of the key."""

from __future__ import annotations

import pytest

from promptkit.engine.requirements import check_requirements
from promptkit.engine.session import RunSettings, Session
from promptkit.reports.trace import trace_text
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given

PIPELINE = """\
inputs: {{question: {{}}}}
steps:
  sum: {{prompt: "Add. {{{{ question }}}}", answer: number, technique: {technique}, models: {models}}}
"""
ASKING = '''
from promptkit.techniques import Answer, ModelReference, Task, technique


@technique()
async def asking(task: Task, *, others: list[ModelReference] = []) -> Answer:
    """Ask each other model once."""
    return await task.decide([await task.ask("ask", model=name) for name in others][-1])
'''


def pipeline(models: str, technique: str = "chain_of_thought") -> str:
    return PIPELINE.format(models=models, technique=technique)


async def test_a_call_is_answered_by_the_model_that_the_step_names_for_it(folder: Folder) -> None:
    usual, strong = Scripted([]), Scripted(["3 + 4 = 7", "7"])
    models = Given(usual, **{"ollama/strong": strong})

    result = await folder.run(pipeline("{reason: ollama/strong}"), usual, {"question": "3 + 4?"}, models=models)

    assert result.output == 7
    assert len(strong.requests) == 2, "the extraction goes on from its reply"
    assert not usual.requests
    assert "call reason · ollama/strong" in trace_text(result.trace)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("{reson: ollama/strong}", "the step's technique has no call `reson`"),
        ("{reason: nothing/strong}", "nothing/strong"),
        ("{reason: 'gguf:../../strong.gguf'}", "leaves the project's root"),
    ],
)
def test_a_wrong_call_or_model_is_a_problem_of_its_line(folder: Folder, models: str, said: str) -> None:
    [problem] = folder.problems(pipeline(models))

    assert said in problem.message
    assert problem.line == 3


async def test_the_models_of_calls_and_of_parameters_are_opened_before_the_first_request(folder: Folder) -> None:
    folder.write("techniques/asking.py", ASKING)
    folder.write("templates/techniques/asking/ask.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    loaded = folder.load(pipeline("{ask: ollama/strong}", "{asking: {others: [ollama/a, ollama/b]}}"))
    models = Given(Scripted([]))
    session = Session(folder.project, models, RunSettings(), None)

    await check_requirements(loaded, session)

    assert set(session.answered) == {None, "ollama/strong", "ollama/a", "ollama/b"}, "their digests are in the keys"
