"""A small project of two steps, and the command run within it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Done, run_command

PIPELINE = """\
name: mail
about: The topic of a mail and a reply
inputs:
  mail: {example: The parcel came late.}
steps:
  topic: {prompt: sort_mail, answer: {label: [delivery, payment]}}
  reply: {prompt: write_reply}
output: {topic: "{{ topic }}", reply: "{{ reply }}"}
cases:
  - {name: late, inputs: {mail: The parcel came late.}, expect: {topic: delivery}}
  - {name: twice, inputs: {mail: My card was charged twice.}, expect: {topic: payment}}
"""
SORT = """\
---
inputs: {mail: {}}
---
{% block instructions %}Sort the mail.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
REPLY = """\
---
inputs: {mail: {}, topic: {}}
---
{% block instructions %}Reply about {{ topic }}.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
SCRIPT = """\
rules:
  - {contains: Answer about, reply: We will answer.}
  - {contains: Reply about, reply: We are sorry.}
  - {contains: card, reply: payment}
otherwise: delivery
"""
Run = Callable[..., Done]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of two steps with a script that answers for a model."""
    files = {
        "promptkit.yaml": "model: scripted:script.yaml\n",
        "script.yaml": SCRIPT,
        "pipelines/mail.yaml": PIPELINE,
        "templates/prompts/sort_mail.j2": SORT,
        "templates/prompts/write_reply.j2": REPLY,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def promptkit(project: Path) -> Run:
    """Return the command, run within the project."""

    def run(*arguments: str, stdin: str | bytes = "", cwd: Path = project, **variables: str) -> Done:
        return run_command(*arguments, folder=cwd, stdin=stdin, variables=variables)

    return run
