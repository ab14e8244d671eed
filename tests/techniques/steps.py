"""A step on a scripted runtime, for the tests of techniques."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from promptkit.answers.build import build_answer_type
from promptkit.project import Project
from promptkit.prompts.load import Prompts
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.context import CallRecord, StepContext
from promptkit.tools.base import Tool

MARKED = """\
---
inputs: {question: {type: text}}
---
{% block persona %}PERSONA-MARK{% endblock %}
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block constraints %}CONSTRAINTS-MARK{% endblock %}
{% block context %}CONTEXT-MARK{% endblock %}
{% block output_format %}FORMAT-MARK{% endblock %}
{% block input %}{{ question }}{% endblock %}
{% block recap %}RECAP-MARK{% endblock %}
{% block cue %}CUE-MARK:{% endblock %}
"""
"""A prompt with a word of its own in every section."""

MARKS = {
    "PERSONA-MARK": "persona",
    "INSTRUCTIONS-MARK": "instructions",
    "CONSTRAINTS-MARK": "constraints",
    "CONTEXT-MARK": "context",
    "FORMAT-MARK": "output_format",
    "EXAMPLE-MARK": "examples",
    "THOUGHTS-MARK": "thoughts",
    "QUESTION-MARK": "input",
    "RECAP-MARK": "recap",
    "CUE-MARK:": "cue",
}
ALL = " ".join(MARKS.values())
"""What a thinking call shows of MARKED with a MARKED_EXAMPLE."""

PROMPT = """\
{% block persona %}PERSONA-MARK{% endblock %}
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block context %}CONTEXT-MARK{% endblock %}
{% block input %}{{ question }}{% endblock %}
{% block recap %}RECAP-MARK{% endblock %}
"""


class FunctionTool(Tool):
    """A function of a mapping of arguments as a tool. Its attributes `takes`, `types` and `about` describe it."""

    def __init__(self, name: str, function: Callable[[Mapping[str, Any]], Any]) -> None:
        self.name = name
        owner = getattr(function, "__self__", function)
        self.description = getattr(owner, "about", "")
        takes, types = getattr(owner, "takes", None), getattr(owner, "types", {})
        properties = {name: {"type": JSON_TYPES[types[name]]} if name in types else {} for name in takes or ()}
        required = [name for name, needed in (takes or {}).items() if needed]
        self.parameters = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": takes is None,
        }
        self._function = function

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        result = self._function(arguments)
        return await result if inspect.isawaitable(result) else result


JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list[str]": "array"}


def as_tools(given: Mapping[str, Any]) -> dict[str, Tool]:
    """Return functions as the tools of a step, by name; tools stay as they are."""
    return {name: tool if isinstance(tool, Tool) else FunctionTool(name, tool) for name, tool in given.items()}


class Bench:
    """A step whose prompt holds a marker in each section; `records` is its trace, `notices` what it said, `warned` the
    warnings of its techniques.
    """

    def __init__(
        self, folder: Path, answers: Any, answer: Any = "number", *, prompt: str = PROMPT, **runtime: Any
    ) -> None:
        (folder / "promptkit.yaml").touch()
        (folder / "ask.j2").write_text(prompt)
        self.project = Project.find(folder)
        self.runtime = Scripted(answers, **runtime)
        self.records: list[CallRecord] = []
        self.notices: list[str] = []
        self.warned: list[str] = []
        self.answer = build_answer_type(answer)
        self.prompt = Prompts(self.project).load("ask", beside=folder / "here.yaml")

    def step(
        self, *, values: Mapping[str, Any] | None = None, tools: Mapping[str, Any] | None = None, **settings: Any
    ) -> StepContext:
        return StepContext(
            prompt=self.prompt,
            values={"question": "QUESTION-MARK 3+4?"} if values is None else values,
            inputs=self.prompt.inputs,
            answer=self.answer,
            client=Client(self.runtime),
            project=self.project,
            record=self.records.append,
            tools=as_tools(tools or {}),
            **{"notice": self.notices.append, "warn": self.warned.extend, **settings},
        )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Each request in order: its call, and which sections of MARKED its text holds, by name in MARKED's order."""
        return [(record.call, held(flat(record.request))) for record in self.records]

    @property
    def levels(self) -> list[tuple[str, int]]:
        """Each request in order: its call and its level; those of one level may run at once."""
        return [(record.call, record.level) for record in self.records]

    @property
    def texts(self) -> list[str]:
        """The flattened text of each request, the begun turn among it."""
        return [flat(request) for request in self.runtime.requests]


def marked_example(output: Any) -> Example:
    """Return an example whose input and thoughts hold marks."""
    return Example({"question": "EXAMPLE-MARK 1+1?"}, output, "THOUGHTS-MARK")


def held(text: str) -> str:
    """Return the names of the sections of MARKED that a text holds."""
    return " ".join(name for mark, name in MARKS.items() if mark in text)


def flat(request: Request) -> str:
    return "\n".join([*(message.content for message in request.messages), request.begun])


def routed(*routes: tuple[str, str | list[str]]) -> Callable[[Request], str]:
    """Return a script that answers by the first route whose words stand in the request's text.

    A list is used up, one reply after the other; a request that no route takes, or a list used up, is an error.
    """
    queues = [(words, list(reply) if isinstance(reply, list) else reply) for words, reply in routes]

    def script(request: Request) -> str:
        text = flat(request)
        for words, reply in queues:
            if words in text and (isinstance(reply, str) or reply):
                return reply if isinstance(reply, str) else reply.pop(0)
        raise AssertionError(f"no reply is scripted for: {text}")

    return script


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
