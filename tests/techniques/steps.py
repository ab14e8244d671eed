"""A step on a scripted runtime, for the tests of techniques."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from promptkit.answers import build
from promptkit.project import Project
from promptkit.prompts import Prompts
from promptkit.runtimes import Asker, Request, Scripted
from promptkit.techniques import CallRecord, StepContext

PROMPT = """\
{% block persona %}PERSONA-MARK{% endblock %}
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block context %}CONTEXT-MARK{% endblock %}
{% block input %}{{ question }}{% endblock %}
{% block recap %}RECAP-MARK{% endblock %}
"""


class Bench:
    """A step whose prompt holds a marker in each section; `records` is its trace, `notices` what it said."""

    def __init__(
        self, folder: Path, answers: Any, answer: Any = "number", *, prompt: str = PROMPT, **runtime: Any
    ) -> None:
        (folder / "promptkit.yaml").touch()
        (folder / "ask.j2").write_text(prompt)
        self.project = Project.find(folder)
        self.runtime = Scripted(answers, **runtime)
        self.records: list[CallRecord] = []
        self.notices: list[str] = []
        self.answer = build(answer)
        self.prompt = Prompts(self.project).load("ask", beside=folder / "here.yaml")

    def step(self, **settings: Any) -> StepContext:
        return StepContext(
            prompt=self.prompt,
            values={"question": "QUESTION-MARK 3+4?"},
            answer=self.answer,
            asker=Asker(self.runtime),
            project=self.project,
            record=self.records.append,
            notice=self.notices.append,
            **settings,
        )

    @property
    def texts(self) -> list[str]:
        """The flattened text of each request, the begun turn among it."""
        return [flat(request) for request in self.runtime.requests]


def flat(request: Request) -> str:
    return "\n".join([*(message.content for message in request.messages), request.begun])


def without(*missing: str) -> frozenset[Any]:
    """Return all that a scripted runtime can do but these."""
    from promptkit.runtimes.scripted import CAPABILITIES

    return frozenset(CAPABILITIES - set(missing))


def in_order(text: str, parts: Iterable[str]) -> bool:
    """Tell whether the parts stand in the text, one after the other."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
