"""A project in which runs were made, looked at in this process: a command costs no new interpreter."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

from promptkit.cli.main import app
from promptkit.errors import PromptkitError
from tests.cli.conftest import environment

PROMPT = """\
---
inputs: {text: {}}
answer: {label: [good, bad]}
decide: generate
---
{% block instructions %}Say whether it is good or bad.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
SUITE = """\
data: rows.jsonl
target: mood
metrics: {accuracy: label, tokens: tokens}
variants: {plain: {}, prefix: {mood.layout: prefix}}
"""
ROWS = [
    {"text": "It is broken", "expect": "bad"},
    {"text": "It came late", "expect": "bad"},
    {"text": "So nice", "expect": "good"},
    {"text": "So odd", "expect": "bad"},
    {"text": "=1+1", "expect": "good"},
    {"text": "fine", "expect": "good"},
]
SCRIPT = """\
rules:
  - {contains: broken, reply: bad}
  - {contains: odd, reply: "\\e[2J ]]> <b>"}
otherwise: good
"""
OTHER = """\
rules:
  - {contains: broken, reply: bad}
  - {contains: late, reply: bad}
  - {contains: nice, reply: bad}
  - {contains: odd, reply: bad}
otherwise: good
"""
FAILING = """\
rules:
  - {contains: nice, reply: {error: the server is tired}}
otherwise: good
"""
FILES = {
    "promptkit.yaml": "model: scripted:script.yaml\n",
    "script.yaml": SCRIPT,
    "other.yaml": OTHER,
    "failing.yaml": FAILING,
    "pipelines/mood.yaml": "name: mood\ninputs: {text: {example: fine}}\nsteps: {mood: {prompt: mood}}\n",
    "templates/prompts/mood.j2": PROMPT,
    "evals/mood.yaml": SUITE,
    "evals/rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
}


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Here:
    """A project that commands are run in."""

    root: Path

    def __call__(self, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, environment(), clear=True),
            chdir(self.root),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = _run(arguments, err)
        return Done(code, out.getvalue(), err.getvalue())


def _run(arguments: Sequence[str], err: io.StringIO) -> int:
    try:
        typer.main.get_command(app)(list(arguments), standalone_mode=False)
    except PromptkitError as error:
        err.write(f"error: {error}\n")
        return error.exit_code
    return 0


def make_project(root: Path, more: Mapping[str, str] | None = None) -> Here:
    """Write the project's files and return it."""
    for name, text in {**FILES, **(more or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Here(root)


def lines_with(text: str, *parts: str) -> Iterator[str]:
    """Yield the lines in which all parts stand."""
    return (line for line in text.splitlines() if all(part in line for part in parts))
