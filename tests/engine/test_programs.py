"""The step key `programs:`: where it is read, and the backend in which a step's programs run."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine import requirements
from promptkit.engine.requirements import check_requirements
from promptkit.engine.session import RunSettings, Session
from promptkit.errors import Unsupported
from promptkit.runtimes.scripted import Scripted
from promptkit.tools.backends import jail_fault
from tests.engine.helpers import Folder, Given

PIPELINE = """
inputs: {{question: {{}}}}
{defaults}
steps: {{solve: {{prompt: {prompt}, answer: number, technique: pal{settings}}}}}
"""
CPYTHON = "programs: {backend: cpython}"


def written(settings: str = "", *, defaults: str = "", prompt: str = "{input: '{{ question }}'}") -> str:
    return PIPELINE.format(settings=settings and f", {settings}", defaults=defaults, prompt=prompt)


def backend(folder: Folder, text: str, sets: tuple[str, ...] = ()) -> Any:
    call = folder.load(text, sets=sets).steps["solve"].prompt_call
    assert call is not None
    return call.programs


def test_the_nearest_setting_wins(folder: Folder) -> None:
    assert backend(folder, written()) == "monty"
    folder.write("promptkit.yaml", f"defaults: {{{CPYTHON}}}")
    folder.write(
        "templates/prompts/ask.j2", "---\ninputs: {question: {}}\nprograms: {backend: auto}\n---\n{{ question }}\n"
    )
    assert backend(folder, written()) == "cpython"
    assert backend(folder, written(defaults="defaults: {programs: {backend: auto}}")) == "auto"
    assert backend(folder, written(prompt="ask", defaults="defaults: {programs: {backend: monty}}")) == "auto"
    assert backend(folder, written("programs: {backend: monty}", prompt="ask")) == "monty"
    assert backend(folder, written(), sets=("solve.programs.backend=auto",)) == "auto"


def test_an_unknown_backend_is_reported_with_those_that_are_known(folder: Folder) -> None:
    (problem,) = folder.problems(written("programs: {backend: pypy}"))
    assert "must be 'monty', 'cpython' or 'auto', not `pypy`" in problem.message
    assert problem.line == 3


async def test_a_steps_programs_run_in_its_backend(folder: Folder) -> None:
    if why := jail_fault():
        pytest.skip(why)
    runtime = Scripted(["```python\nfrom fractions import Fraction\nresult = Fraction(1, 4) + Fraction(1, 2)\n```"])
    result = await folder.run(written(CPYTHON), runtime, {"question": "a quarter and a half?"})
    assert result.output == 0.75


async def test_a_backend_that_is_not_there_is_an_error_before_the_first_request(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "jail_fault", lambda: "it is no Linux")
    runtime = Scripted(["1"])
    session = Session(folder.project, Given(runtime), RunSettings(), None)
    with pytest.raises(Unsupported, match="step `solve`: CPython cannot run programs here: it is no Linux") as caught:
        await check_requirements(folder.load(written(CPYTHON)), session)
    await check_requirements(folder.load(written("programs: {backend: auto}")), session)
    assert "backend: monty" in (caught.value.hint or "") and runtime.requests == []
