"""The state that the steps of one run share, and the events that a run reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from promptkit.answers.head import Head
from promptkit.engine.heads import head_fallback, matching_head
from promptkit.engine.pipeline import PromptCall
from promptkit.engine.results import StepResult
from promptkit.errors import Unsupported, place
from promptkit.project import Project, TemplateKind
from promptkit.runtimes.base import Adapter, Model, Request
from promptkit.runtimes.client import Client
from promptkit.storage.file_digests import stamped_digest
from promptkit.storage.files import file_stamp
from promptkit.techniques.context import CallRecord, ToolCall
from promptkit.techniques.spec import ConfiguredTechnique, configure


@dataclass(frozen=True)
class ProjectSnapshot(Project):
    """A project as one run sees it. Each template is looked up once."""

    found: dict[tuple[TemplateKind, str], Path | None] = field(default_factory=dict, compare=False, repr=False)

    def find_template(self, kind: TemplateKind, name: str) -> Path | None:
        """Return the file (of a technique: the folder) of a template."""
        if (kind, name) not in self.found:
            self.found[kind, name] = super().find_template(kind, name)
        return self.found[kind, name]


class ClientProvider(Protocol):
    """The source of a session's clients, such as `runtimes.models.Models`."""

    async def get(self, reference: str | None = None) -> Client: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of a run. `repairs` is the number for steps that give none.

    `strict` makes what a model cannot enforce an error, `strict_on` makes these warnings of every step errors.
    `sample` numbers repeated runs of one row, so that they are different samples. `kind` is the kind of run in the
    store.
    """

    strict: bool = False
    strict_on: frozenset[str] = frozenset()
    repairs: int = 1
    sample: str = "0"
    kind: str = "run"


class Session:
    """The models, settings and listener of one run. `answered` are the models used, `notices` its distinct notices.

    A session that is `dry` only shows requests: it opens no toolset and allows no tool with effects.
    """

    def __init__(
        self,
        project: Project,
        models: ClientProvider,
        settings: RunSettings,
        on_event: OnEvent | None,
        *,
        dry: bool = False,
    ) -> None:
        self.dry = dry
        self.project = ProjectSnapshot(project.root, project.settings, project.source)
        self.settings = settings
        self.answered: dict[str | None, Model] = {}
        self.listens = on_event is not None
        self.emit: Callable[[Event], None] = on_event or _ignore_event
        self.now = asyncio.get_running_loop().time
        self._models = models
        self._clients: dict[str | None, Client] = {}
        self._techniques: dict[int, tuple[PromptCall, ConfiguredTechnique]] = {}
        self._heads: dict[tuple[int, str], tuple[PromptCall, Head | None]] = {}
        self._adapters: dict[tuple[Path, str | None], Adapter] = {}
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)

    def notice(self, message: str) -> None:
        """Emit a notice, unless the run has emitted it before."""
        if message not in self._notices:
            self._notices[message] = None
            self.emit(Notice(message))

    async def client(self, reference: str | None, *, uses_cache: bool = True, timeout: float | None = None) -> Client:
        """Return the client of a model (None for the run's default), with a `timeout` in seconds for each request.

        Raises the errors of a missing model.
        """
        client = self._clients.get(reference)
        if client is None:
            client = await self._models.get(reference)
            self.answered[reference] = await client.model()
            self._clients[reference] = client
        client = client if uses_cache else client.uncached()
        return client if timeout is None else client.timed(timeout)

    async def adapter(self, file: Path, reference: str | None) -> Adapter:
        """Return the adapter in a file, once the runtime of a model is ready for it; the model need not be loaded.

        Raises InputError for a file that holds none or does not fit the model, Unsupported where it takes none.
        """
        from promptkit.runtimes.in_process.adapter_file import read_adapter

        known = self._adapters.get((file, reference))
        if known is None:
            client = await self._models.get(reference)
            found = await asyncio.to_thread(read_adapter, file)
            known = Adapter(file, await asyncio.to_thread(stamped_digest, file, file_stamp(file)))
            await client.add_adapter(known)
            self._adapters[file, reference] = known
            if found.training is None:
                self.notice(
                    f"{place(file)} was not made by promptkit: the weights that it was trained on are not known"
                )
        return known

    def technique(self, call: PromptCall) -> ConfiguredTechnique:
        """Return a step's configured technique, looked up once in a run."""
        found = self._techniques.get(id(call))
        if found is None:
            # Kept with the object, so that no other object can get its id.
            found = self._techniques[id(call)] = call, configure(call.technique, self.project)
        return found[1]

    async def head(self, call: PromptCall, model: Model) -> Head | None:
        """Return a step's head; None, which is reported, where it cannot decide what the model is asked.

        Raises InputError where there is no head, or one of other labels or another model, and Unsupported in place of
        the report under `strict`.
        """
        found = self._heads.get((id(call), model.digest))
        if found is None:
            head = await asyncio.to_thread(matching_head, call, model)
            fallback = head_fallback(call, model, self.project)
            if fallback is not None and self.settings.strict:
                raise Unsupported(fallback, hint=f"set `decide: {call.decide}`, or leave out --strict")
            if fallback is not None:
                self.notice(f"{fallback}; the step runs as `decide: {call.decide}`")
            found = self._heads[id(call), model.digest] = call, None if fallback else head
        return found[1]


def _ignore_event(event: Event) -> None:
    """Ignore an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step starts. `step` is `outer.inner` inside a sub-pipeline, `items` the number of items of a `for_each`."""

    step: str
    items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """A piece of a streamed reply, a `Thought` where it belongs to the thoughts. `item` is the index in the list of a
    `for_each`.
    """

    step: str
    item: int | None
    request: Request
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """A request has its reply."""

    step: str
    item: int | None
    call: CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A call of a tool that a model asked for has its result or its failure."""

    step: str
    item: int | None
    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFinished:
    """One item of a step is finished. Items finish in any order."""

    step: str
    item: int
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step has its result."""

    step: str
    result: StepResult


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that a person should see once, for example that a technique falls back."""

    message: str


Event = StepStarted | TextArrived | CallFinished | ToolCalled | ItemFinished | StepFinished | Notice
OnEvent = Callable[[Event], None]
