"""The session in which models are asked: a target, its models and the store, opened and closed together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar

from promptkit.api.stores import open_store
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline, default_model
from promptkit.engine.results import Totals
from promptkit.engine.session import RunSettings
from promptkit.engine.toolsets import sharing_toolsets
from promptkit.errors import InputError
from promptkit.project import Project, is_suite
from promptkit.reports.progress import Progress
from promptkit.runtimes.base import Model
from promptkit.runtimes.client import Cache
from promptkit.runtimes.models import Models, default_reference
from promptkit.runtimes.replay import Recorder
from promptkit.storage.store import Store
from promptkit.techniques.warning_names import wrong_names

T = TypeVar("T")


class ModelArguments(TypedDict, total=False):
    """Keyword arguments of every function that asks models, as the options of the command line.

    `model` is a reference such as "ollama/qwen2.5:1.5b"; `sets` changes settings, as "STEP.KEY=VALUE"; `record` names a
    file that keeps every request and reply; `no_cache` asks again what is cached; `strict` makes what the model cannot
    enforce an error, and `strict_on` names warnings that are errors; `timeout` is the seconds for a request, all
    attempts included.
    """

    model: str | None
    sets: Sequence[str]
    record: str | Path | None
    no_cache: bool
    strict: bool
    strict_on: Sequence[str]
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The `ModelArguments` of a call, with their defaults. `timeout` goes before what files say."""

    model: str | None = None
    sets: Sequence[str] = ()
    record: str | Path | None = None
    no_cache: bool = False
    strict: bool = False
    strict_on: Sequence[str] = ()
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Raise InputError for a timeout that is not one."""
        if self.timeout is not None and not 0 < self.timeout < inf:
            raise InputError(f"--timeout is a number of seconds above 0, not {self.timeout:g}")


class ModelResult(Protocol):
    """The result of something that asked models: a run, a preparation, a comparison."""

    @property
    def totals(self) -> Totals: ...

    @property
    def answered(self) -> Mapping[str | None, Model]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedModel:
    """A model that was used for a result.

    `why` says who named it, `replay` names the recording that answered in its place, and `announced` tells that a
    notice has said so already.
    """

    reference: str
    digest: str | None
    why: str
    replay: str | None = None
    announced: bool = False

    def record(self) -> dict[str, str | None]:
        """Return the model as the documented JSON object."""
        return {"reference": self.reference, "digest": self.digest, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open project with what answers in it. `reference` is the default model's as it was named."""

    project: Project
    models: Models
    store: Store
    settings: RunSettings
    reference: str

    def serves(self, pipeline: Pipeline, options: ModelOptions) -> bool:
        """Tell whether a pipeline, read anew, would open the same session."""
        settings = pipeline.project.settings
        reference, _ = default_reference(options.model, pipeline.model, settings.model)
        return reference == self.reference and settings == self.project.settings

    def models_of(self, result: ModelResult) -> tuple[UsedModel, ...]:
        """Return the models that were used for a result, the default first."""
        models = self.models
        return tuple(
            UsedModel(
                reference=model.reference,
                digest=model.digest,
                why=models.why(name),
                replay=models.replayed(name),
                announced=models.announced(name),
            )
            for name, model in result.answered.items()
        ) or (UsedModel(reference=self.reference, digest=None, why=models.why()),)


def load(target: str | Path, *, sets: Sequence[str] = ()) -> Pipeline:
    """Read a pipeline or a prompt, by name or path, with all the files that it uses; `sets` as "STEP.KEY=VALUE".

    A path belongs to the project that it lies in, a name to that of the working folder. Raises InputError with
    everything that is wrong.
    """
    if is_suite(Path(target)):
        raise InputError(f"`{target}` is a suite, which is measured", hint=f"promptkit eval {target}")
    return load_target(str(target), find_project(target), sets=as_list(sets))


def as_list(texts: Sequence[str]) -> Sequence[str]:
    """Return texts of which one alone may have been given."""
    return [texts] if isinstance(texts, str) else texts


def find_project(target: str | Path) -> Project:
    """Return the project of a target: that of its file where it is a path, else of the working folder."""
    return Project.find(Path(target) if os.path.exists(target) else Path.cwd())


@asynccontextmanager
async def open_session(
    pipeline: Pipeline,
    options: ModelOptions,
    progress: Progress | None = None,
    *,
    concurrency: int | None = None,
    replies: Callable[[Store], AbstractContextManager[Cache]] | None = None,
    apart: Collection[str] = (),
) -> AsyncIterator[Session]:
    """Open the store and the models that a pipeline runs on; close them at the end of the block.

    `concurrency` stands for the project's; `replies` gives what keeps replies in place of the store itself;
    `apart` are models that `--model` does not stand for.
    """
    project = pipeline.project
    if wrong := wrong_names(options.strict_on, project):
        raise InputError(replace(problem, message=f"--strict-on: {problem.message}") for problem in wrong)
    reference, why, base = default_model(project, pipeline, options.model)
    recorder = Recorder(Path(options.record)) if options.record else None
    try:
        with ExitStack() as stack:
            store = stack.enter_context(open_store(project, partial(notify, progress)))
            models = Models(
                reference,
                why=why,
                store=stack.enter_context(replies(store)) if replies else store,
                concurrency=concurrency or project.settings.concurrency,
                timeout=options.timeout or project.settings.timeout,
                firm=options.timeout is not None,
                no_cache=options.no_cache,
                recorder=recorder,
                progress=progress.fetching if progress else None,
                notice=progress.notice if progress else None,
                offer=progress.offer if progress else None,
                base=base,
                apart=apart,
            )
            async with models, sharing_toolsets():
                settings = RunSettings(strict=options.strict, strict_on=frozenset(options.strict_on))
                yield Session(project=project, models=models, store=store, settings=settings, reference=reference)
    finally:
        if recorder:
            recorder.close()


def notify(progress: Progress | None, message: str) -> None:
    """Show a notice where progress is shown."""
    if progress is not None:
        progress.notice(message)


def showing(progress: Progress | None, *, rows: int | None = None) -> AbstractContextManager[None]:
    """Return a block within which progress is shown, if it is to be."""
    return nullcontext() if progress is None else progress.showing(rows=rows)


def run_sync(name: str, work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine of a public function to its end in an event loop of its own.

    Raises InputError where a loop runs already, as in a notebook.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    instead = f"await asyncio.to_thread(promptkit.{name}, …)" if name == "render" else f"await promptkit.a{name}(…)"
    raise InputError(f"promptkit.{name} starts an event loop, and one is already running here", hint=instead)
