"""A project on disk and the command line, as a process of its own where it is killed, for the journeys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.command import Done, run_command

PIPELINE = """\
name: shout
inputs:
  words: {type: list, example: [one, two]}
steps:
  shouts:
    for_each: "{{ words }}"
    as: word
    prompt: shout
output: "{{ shouts }}"
"""
PROMPT = """\
---
inputs: {word: {example: one}}
---
{% block instructions %}Shout the word.{% endblock %}
{% block input %}{{ word }}{% endblock %}
"""
COMMAND = [sys.executable, "-m", "promptkit"]


def make_project(folder: Path) -> Path:
    """Write a project with one pipeline of as many calls as there are words, and return its folder."""
    (folder / "promptkit.yaml").touch()
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "shout.yaml").write_text(PIPELINE)
    (folder / "templates" / "prompts").mkdir(parents=True)
    (folder / "templates" / "prompts" / "shout.j2").write_text(PROMPT)
    return folder


def environment(server: str, **more: str) -> dict[str, str]:
    """Return an environment in which an Ollama server at that address is the only one."""
    return {**os.environ, "OLLAMA_HOST": server, "NO_COLOR": "1", **more}


def start(folder: Path, server: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start promptkit in a project."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(server, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, server: str, *arguments: str, **more: str) -> Done:
    """Run promptkit in a project to its end, in the tests' own process."""
    return run_command(*arguments, folder=folder, variables={"OLLAMA_HOST": server, **more})
