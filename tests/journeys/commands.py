"""The command line called inside the tests' process: fast enough for a table of cases."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from promptkit.cli.main import main

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
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Place:
    """A project that is the working folder; each request to its model leaves a mark."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capture = capture
        for name in ("PROMPTKIT_MODEL", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"OLLAMA_HOST": "http://127.0.0.1:9", "NO_COLOR": "1", "TERM": "dumb"}.items():
            monkeypatch.setenv(name, value)
        # The streams of these tests are in memory.
        monkeypatch.setattr("promptkit.cli.main.open_streams", lambda: None)
        monkeypatch.chdir(folder)
        self.write(FILES)

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    def run(self, *arguments: str) -> Done:
        """Return how a command ended. What is no mistake of ours is raised as it is."""
        self._monkeypatch.setattr(sys, "argv", ["promptkit", *arguments])
        self._capture.readouterr()
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0
        return Done(code, *self._capture.readouterr())

    @property
    def asked(self) -> int:
        """How often the model was asked."""
        marks = self.folder / "asked"
        return len(marks.read_text()) if marks.exists() else 0
