"""A project in a folder, run on a scripted model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.engine.session import Event, RunSettings
from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.runtimes.base import Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store


class Given(Models):
    """Models that are given: one for all references, or one each."""

    def __init__(self, runtime: Runtime, **others: Runtime) -> None:
        super().__init__("scripted:given.yaml")
        self.asked_for: list[str | None] = []
        self._default_client = Client(runtime)
        self._others = {name: Client(other) for name, other in others.items()}

    async def get(self, reference: str | None = None) -> Client:
        self.asked_for.append(reference)
        return self._others.get(reference or "", self._default_client)


class Folder:
    """A project folder that tests write files into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("promptkit.yaml", "model: auto\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    @property
    def project(self) -> Project:
        return Project.find(self.root)

    def load(self, text: str, sets: Sequence[str] = ()) -> Pipeline:
        return load_target(self.write("pipelines/test.yaml", text), self.project, sets=sets)

    def problems(self, text: str, sets: Sequence[str] = ()) -> list[Problem]:
        """Return what is wrong with a pipeline."""
        try:
            self.load(text, sets)
        except InputError as error:
            return list(error.problems)
        return []

    def problems_in(self, path: Path) -> list[Problem]:
        """Return what is wrong with the target in a file."""
        try:
            load_target(path, self.project)
        except InputError as error:
            return list(error.problems)
        return []

    async def run(
        self,
        text: str,
        runtime: Runtime,
        inputs: dict[str, Any] | None = None,
        *,
        sets: Sequence[str] = (),
        settings: RunSettings | None = None,
        events: list[Event] | None = None,
        store: Store | None = None,
        models: Models | None = None,
    ) -> Result:
        pipeline = self.load(text, sets)
        return await run(
            pipeline,
            fill_inputs(pipeline, inputs).values,
            models=models or Given(runtime),
            settings=settings,
            on_event=None if events is None else events.append,
            store=store,
        )


def said(request: Request) -> str:
    """Return all that a request says."""
    return "\n".join([*(message.content for message in request.messages), request.begun])


def asked(runtime: Scripted) -> list[str]:
    return [said(request) for request in runtime.requests]


def by_word(**replies: str) -> Scripted:
    """Return a model that answers by the first word found in what it is asked (later words win)."""

    def answer(request: Request) -> str:
        text = said(request)
        found = [reply for word, reply in replies.items() if word in text]
        if not found:
            raise AssertionError(f"nothing is scripted for: {text}")
        return found[-1]

    return Scripted(answer)


def messages(problems: Iterable[Problem]) -> str:
    return "\n".join(map(str, problems))
