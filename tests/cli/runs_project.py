"""A project with a suite, in which runs are made and looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.command import Done, run_command

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
class Here:
    """A project that commands are run in."""

    root: Path

    def __call__(self, *arguments: str) -> Done:
        return run_command(*arguments, folder=self.root)


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
