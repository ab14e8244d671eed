"""Pipelines whose steps and models call the tools of an MCP server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from promptkit.api.run import arun
from promptkit.api.session import load
from promptkit.errors import InputError
from promptkit.tools.mcp import stdio
from tests.tools.mcp.servers import HERE, children

pytest.importorskip("promptkit.engine.toolsets", reason="steps that name toolsets are read there")

PROMPT = """\
---
inputs: {question: {example: Do it.}}
---
{% block instructions %}Do what is asked.{% endblock %}
{% block input %}{{ question }}{% endblock %}
"""
SCRIPT = """\
rules:
  - {contains: "Observation 1: done", reply: "The tool did it.\\nAction 2: finish[it is done]"}
otherwise: "I should act.\\nAction 1: srv_act[{}]"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a server, whose scripted model calls its tool by ReAct, as the working folder."""
    command = json.dumps([sys.executable, "-ISE", str(HERE / "raw_server.py"), "nothing"])
    files = {
        "promptkit.yaml": f"model: scripted:script.yaml\nmcp: {{srv: {{command: {command}, timeout: 20}}}}\n",
        "script.yaml": SCRIPT,
        "templates/prompts/ask.j2": PROMPT,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stdio, "GRACE_SECONDS", 0.3)
    return tmp_path


async def test_a_model_calls_a_tool_of_a_server(project: Path) -> None:
    (project / "pipelines" / "do.yaml").write_text(
        "inputs: {question: {}}\nallow: [mcp:srv]\n"
        "steps:\n  answer: {prompt: ask, technique: react, tools: [mcp:srv]}\n"
    )
    result = await arun("do", {"question": "Do it."})
    assert result.output == "it is done"
    assert not children()


async def test_a_step_calls_a_tool_of_a_server(project: Path) -> None:
    (project / "pipelines" / "do.yaml").write_text("allow: [mcp:srv/act]\nsteps:\n  act: {tool: mcp:srv/act}\n")
    assert (await arun("do")).output == "done"
    assert not children()


def test_a_server_that_is_not_allowed_is_an_error_of_the_file(project: Path) -> None:
    (project / "pipelines" / "do.yaml").write_text("steps:\n  act: {tool: mcp:srv/act}\n")
    with pytest.raises(InputError, match=r"(?s)is not allowed here.*allow: \[mcp:srv/act\]"):
        load("do")
