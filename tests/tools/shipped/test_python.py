"""The tool `python`: what a program gives back, how its failures read, and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.tools.backends import Backend
from promptkit.tools.shipped.python import PythonTool


def tool_of(folder: Path, settings: Any = None) -> PythonTool:
    return PythonTool.of("python", settings, folder, Project(folder))


@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("sum(range(5))", {"value": 10}),
        ("print('a')\nprint('b')", {"printed": "a\nb\n"}),
        ("x = [1, 2]\nprint(len(x))\nx", {"value": [1, 2], "printed": "2\n"}),
        ("```python\n2 ** 8\n```", {"value": 256}),
    ],
)
async def test_the_value_and_the_output_of_a_program_come_back(
    program: str, result: dict[str, Any], tmp_path: Path, backend: Backend
) -> None:
    assert await tool_of(tmp_path, {"backend": backend}).call({"program": program}) == result


async def test_a_program_without_a_result_is_told_what_to_do(tmp_path: Path) -> None:
    assert "print it" in (await tool_of(tmp_path).call({"program": "x = 1"}))["note"]


async def test_a_call_knows_nothing_of_the_one_before(tmp_path: Path) -> None:
    tool = tool_of(tmp_path)
    await tool.call({"program": "x = 1"})
    with pytest.raises(ToolFailed, match="name 'x' is not defined"):
        await tool.call({"program": "x"})


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "print('first')\n1 / 0",
            "failed in line 2: ZeroDivisionError: division by zero; before that it printed:\nfirst",
        ),
        ("def f(:", "failed in line 1: "),
        ("'a' * 30_000", "failed: the value is too large"),
        ("import requests", "ModuleNotFoundError"),
    ],
)
async def test_a_failure_says_its_kind_its_line_and_what_was_printed(
    program: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolFailed, match=message):
        await tool_of(tmp_path).call({"program": program})


@pytest.mark.attack("python")
@pytest.mark.parametrize(
    "program", ["open('secret.txt').read()", "import socket", "[0] * 10**10", "print('x' * 10**6)"]
)
async def test_a_hostile_program_reaches_nothing(program: str, tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "secret.txt").write_text("swordfish")
    with pytest.raises(ToolFailed) as caught:
        await tool_of(tmp_path, {"backend": backend}).call({"program": program})
    assert "swordfish" not in str(caught.value)


def test_the_backend_is_a_setting_and_part_of_the_key(tmp_path: Path, jail: None) -> None:
    assert tool_of(tmp_path).identity == {"backend": "monty"}
    tool = tool_of(tmp_path, {"backend": "cpython"})
    assert tool.identity == {"backend": "cpython"}
    assert "statistics" in tool.description and "statistics" not in tool_of(tmp_path).description


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("cpython", "takes a mapping"),
        ({"backends": "monty"}, "no setting `backends`.*\n.*did you mean `backend`"),
        ({"backend": "pypy"}, "no backend `pypy`"),
        ({"backend": ["monty"]}, "no backend"),
    ],
)
def test_wrong_settings_are_refused(settings: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        tool_of(tmp_path, settings)
