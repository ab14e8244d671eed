"""A small project in the working folder, and the official client of a server over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Unpack

import pytest
from mcp import Client

from promptkit.api.session import ModelArguments, ModelOptions
from promptkit.server.mcp.server import ProjectServer

FILES = {
    "promptkit.yaml": "model: scripted:script.yaml\n",
    "script.yaml": "rules:\n  - {contains: card, reply: payment}\notherwise: delivery\n",
    "templates/prompts/sort.j2": (
        "---\nabout: The topic of a mail\ninputs: {mail: {about: the mail, example: It came late.}}\n"
        "answer: {label: [delivery, payment]}\n---\n"
        "{% block instructions %}Sort the mail.{% endblock %}\n{% block input %}{{ mail }}{% endblock %}\n"
    ),
    "pipelines/mail.yaml": (
        "about: The topic of a mail, and its length\ninputs:\n  mail: {example: It came late.}\n"
        "  tone: {choices: [kind, dry], default: kind}\nsteps:\n  topic: {prompt: sort}\n"
        'output: {topic: "{{ topic }}", length: "{{ mail | length }}"}\n'
    ),
    "pipelines/topic.yaml": "inputs: {mail: {example: late}}\nsteps:\n  topic: {prompt: sort}\n",
    "pipelines/check.yaml": "inputs: {mail: {example: late}}\nsteps:\n  topic: {prompt: sort}\n",
    "evals/sort.yaml": (
        'data: rows.jsonl\ntarget: sort\ninputs: {mail: "{{ row.mail }}"}\nexpect: "{{ row.topic }}"\n'
        "metrics: {accuracy: label}\n"
    ),
    "evals/rows.jsonl": (
        '{"mail": "It came late.", "topic": "delivery"}\n{"mail": "My card was charged twice.", "topic": "payment"}\n'
        '{"mail": "My refund is missing.", "topic": "payment"}\n'
    ),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with two pipelines, a suite and a script that answers for a model, as the working folder."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def connected(
    *targets: str, mode: str = "auto", **options: Unpack[ModelArguments]
) -> AbstractAsyncContextManager[Client]:
    """Connect the official client with the server in this process."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        async with Client(ProjectServer(targets, ModelOptions(**options)).protocol(), mode=mode) as client:
            yield client

    return connect()
