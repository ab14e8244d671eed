"""How long a request may take: the command line's word goes before the step's, and that before the project's."""

from __future__ import annotations

import pytest

from tests.journeys.commands import Place

SLOW = """\
import asyncio

async def answer(request):
    await asyncio.sleep(30)
"""
CASES = [
    ("0.02", 8, 9, "0.02"),
    ("0.02", None, None, "0.02"),
    (None, 0.03, 9, "0.03"),
    (None, 0.03, None, "0.03"),
    (None, None, 0.04, "0.04"),
]


def timed(step: float | None, settings: float | None) -> dict[str, str | bytes]:
    options = "" if step is None else f"    options: {{timeout: {step}}}\n"
    project = "" if settings is None else f"timeout: {settings}\n"
    return {
        "script.py": SLOW,
        "promptkit.yaml": f"model: scripted:script.py:answer\n{project}",
        "pipelines/test.yaml": f"inputs: {{mail: {{example: hi}}}}\nsteps:\n  a:\n    prompt: sort\n{options}",
    }


@pytest.mark.attack("server")
@pytest.mark.parametrize(("typed", "step", "settings", "seconds"), CASES)
def test_a_request_ends_at_the_nearest_deadline(
    project: Place, typed: str | None, step: float | None, settings: float | None, seconds: str
) -> None:
    project.write(timed(step, settings))

    done = project.run("run", "test", *(["--timeout", typed] if typed else []))

    assert done.code == 3
    assert f"did not answer within {seconds} seconds" in done.err
    assert "--timeout SECONDS" in done.err


@pytest.mark.parametrize("verb", ["run", "try", "render", "eval", "tune"])
@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_timeout_that_is_none_is_a_mistake_of_the_command_line(project: Place, verb: str, seconds: str) -> None:
    done = project.run(verb, "test", "--timeout", seconds)

    assert done.code == 2 and "--timeout is a number of seconds above 0" in done.err


@pytest.mark.parametrize("seconds", ["0", "-1", ".nan", ".inf", "soon", "true"])
def test_a_timeout_that_is_none_is_a_mistake_in_a_file(project: Place, seconds: str) -> None:
    project.write({"pipelines/test.yaml": timed(None, None)["pipelines/test.yaml"]})
    project.write({"promptkit.yaml": f"timeout: {seconds}\n"})

    done = project.run("check", "test")

    assert done.code == 1 and "promptkit.yaml:1" in done.out + done.err
