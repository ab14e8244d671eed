"""What the steps of one run share: the models, how to run, and who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from promptkit.engine.events import Event, Notice, OnEvent
from promptkit.project import Project, TemplateKind
from promptkit.techniques import Chosen, choose

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Asking
    from promptkit.runtimes import Asker, Model


@dataclass(frozen=True)
class Snapshot(Project):
    """A project as one run sees it: a template that was found once is not looked for again."""

    found: dict[tuple[TemplateKind, str], Path | None] = field(default_factory=dict, compare=False, repr=False)

    def find_template(self, kind: TemplateKind, name: str) -> Path | None:
        """Return the file (of a technique: the folder) of a template."""
        if (kind, name) not in self.found:
            self.found[kind, name] = super().find_template(kind, name)
        return self.found[kind, name]


class Askers(Protocol):
    """Where a session takes its askers from: `runtimes.Models`."""

    async def get(self, reference: str | None = None) -> Asker: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run. `repairs` holds where a step does not say.

    `sample` numbers repeated runs of one row, so that they are different samples. `kind` is the run's in the store.
    """

    strict: bool = False
    repairs: int = 1
    sample: str = "0"
    kind: str = "run"


class Session:
    """One run's models, settings and listener. `answered` are the models used, `notices` what was said, each once."""

    def __init__(self, project: Project, models: Askers, settings: Settings, on_event: OnEvent | None) -> None:
        self.project = Snapshot(project.root, project.settings, project.source)
        self.settings = settings
        self.answered: dict[str | None, Model] = {}
        self.listens = on_event is not None
        self.emit: Callable[[Event], None] = on_event or _nobody
        self.now = asyncio.get_running_loop().time
        self._models = models
        self._askers: dict[str | None, Asker] = {}
        self._techniques: dict[int, tuple[Asking, Chosen]] = {}
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)

    def notice(self, message: str) -> None:
        """Tell a line once in a run."""
        if message not in self._notices:
            self._notices[message] = None
            self.emit(Notice(message))

    async def asker(self, reference: str | None, *, uses_cache: bool = True, timeout: float | None = None) -> Asker:
        """Return what asks a model (None: the run's default), each request within `timeout` seconds where given.

        Raises what the model's absence raises.
        """
        asker = self._askers.get(reference)
        if asker is None:
            asker = await self._models.get(reference)
            self.answered[reference] = await asker.model()
            self._askers[reference] = asker
        asker = asker if uses_cache else asker.uncached()
        return asker if timeout is None else asker.timed(timeout)

    def technique(self, asking: Asking) -> Chosen:
        """Return what a step asks with, found once in a run."""
        found = self._techniques.get(id(asking))
        if found is None:
            # With the step's own object, so that its id stands for no other.
            found = self._techniques[id(asking)] = asking, choose(asking.technique, self.project)
        return found[1]


def _nobody(event: Event) -> None:
    """Listen to nothing."""
