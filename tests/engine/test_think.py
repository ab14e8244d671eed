"""The step key `think:`: where it is read, and what a model that cannot take it means."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.requirements import check_requirements
from promptkit.engine.session import RunSettings, Session
from promptkit.errors import Unsupported
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from tests.engine.helpers import Folder, Given

PIPELINE = "inputs: {{mail: {{}}}}\n{defaults}steps: {{topic: {{prompt: {prompt}{settings}}}}}\n"


def thinks(
    folder: Folder, settings: str = "", *, front: str = "", defaults: str = "", sets: tuple[str, ...] = ()
) -> Any:
    """Return what a step's `think` is read as."""
    folder.write("templates/prompts/ask.j2", f"---\ninputs: {{mail: {{}}}}\n{front}\n---\n{{{{ mail }}}}\n")
    text = PIPELINE.format(defaults=defaults, prompt="ask", settings=settings)
    call = folder.load(text, sets=sets).steps["topic"].prompt_call
    assert call is not None
    return call.options.think


@pytest.mark.parametrize(
    ("settings", "think"),
    [
        ("", None),
        (", think: auto", None),
        (", think: off", False),
        (", think: on", True),
        (", think: high", "high"),
        (", think: 3000", 3000),
        (", options: {think: true}", True),
        (", options: {think: false}", False),
        (", options: {think: low}", "low"),
        (", think: off, options: {think: true}", False),
    ],
)
def test_a_step_says_how_its_model_thinks(folder: Folder, settings: str, think: Any) -> None:
    assert thinks(folder, settings) is think or thinks(folder, settings) == think


def test_the_nearest_setting_wins(folder: Folder) -> None:
    defaults = "defaults: {think: high}\n"
    assert thinks(folder, defaults=defaults) == "high"
    assert thinks(folder, front="think: low", defaults=defaults) == "low"
    assert thinks(folder, ", options: {think: false}", front="think: low", defaults=defaults) is False
    assert thinks(folder, ", think: auto", front="think: low", defaults=defaults) is None
    assert thinks(folder, front="think: low", sets=("topic.think=off",)) is False


@pytest.mark.parametrize("place", ["think", "options.think"])
@pytest.mark.parametrize("wrong", ["much", "0", "1.5", "[low]"])
def test_a_wrong_setting_is_reported_with_what_is_known(folder: Folder, place: str, wrong: str) -> None:
    key = f"think: {wrong}" if place == "think" else f"options: {{think: {wrong}}}"
    (problem,) = folder.problems(PIPELINE.format(defaults="", prompt="'{{ mail }}'", settings=f", {key}"))

    assert "must be one of `auto`, `off`, `on`, `minimal`, `low`, `medium`, `high`" in problem.message
    assert problem.line == 2


UNMET = [
    ("think: on", set(), "cannot do what `think` asks: it does not think"),
    ("think: 100", set(), "cannot do what `think` asks: it does not think"),
    ("think: off", {"thinks"}, "cannot do what `think: off` asks: it always thinks"),
    ("think: off", set(), None),
    ("think: auto", set(), None),
    ("think: low", {"think"}, None),
    ("think: on", {"thinks"}, None),
]


@pytest.mark.parametrize(("setting", "able", "refused"), UNMET)
async def test_a_model_that_cannot_is_an_error_before_the_first_request(
    folder: Folder, setting: str, able: set[Any], refused: str | None
) -> None:
    pipeline = folder.load(PIPELINE.format(defaults="", prompt="'{{ mail }}'", settings=f", {setting}"))
    runtime = Scripted(["a"], capabilities=CAPABILITIES | able)
    session = Session(folder.project, Given(runtime), RunSettings(), None)
    if refused is None:
        await check_requirements(pipeline, session)
        return
    with pytest.raises(Unsupported, match=refused):
        await check_requirements(pipeline, session)
    assert runtime.requests == []
