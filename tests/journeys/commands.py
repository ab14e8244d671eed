"""A small project that is the working folder, and the command run in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

import pytest

from tests.command import Done, run_command

PROMPT = """\
---
inputs: {mail: {example: hi}}
answer: {label: [delivery, payment]}
---
{% block instructions %}Sort the mail.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
PIPELINE = "inputs: {mail: {example: hi}}\nsteps:\n  a:\n    prompt: sort\n"
FUNCTION = """\
import os
from pathlib import Path
from typing import TextIO

def answer(request):
    with Path("asked").open("a") as file:
        file.write("x")
    return "delivery"
"""
FILES: dict[str, str | bytes] = {
    "promptkit.yaml": "model: scripted:script.py:answer\n",
    "script.py": FUNCTION,
    "templates/prompts/sort.j2": PROMPT,
    "pipelines/test.yaml": PIPELINE,
}


class Place:
    """A project that is the working folder; each request to its model leaves a mark."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        for name in ("PROMPTKIT_MODEL", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
        monkeypatch.chdir(folder)
        self.write(FILES)

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    def run(self, *arguments: str, stdin: str | TextIO = "") -> Done:
        """Return how a command ended. What is no mistake of ours is raised as it is."""
        return run_command(*arguments, folder=self.folder, stdin=stdin, variables=os.environ)

    @property
    def asked(self) -> int:
        """How often the model was asked."""
        marks = self.folder / "asked"
        return len(marks.read_text()) if marks.exists() else 0
