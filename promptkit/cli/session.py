"""The session of a verb that asks models: the target, the models and the store, opened and closed together."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from promptkit.cli.options import ModelOptions
from promptkit.errors import InputError, Interrupted, StoreFailed

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline
    from promptkit.engine.session import RunSettings
    from promptkit.project import Project
    from promptkit.reports.progress import Progress
    from promptkit.runtimes.client import Cache
    from promptkit.runtimes.models import Models
    from promptkit.storage.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open project with what answers in it. `reference` is the default model's as it was named."""

    project: Project
    models: Models
    store: Store
    settings: RunSettings
    reference: str

    def serves(self, pipeline: Pipeline, asking: ModelOptions) -> bool:
        """Tell whether a pipeline, read anew, would open the same session."""
        from promptkit.runtimes.models import default_reference

        settings = pipeline.project.settings
        reference, _ = default_reference(asking.model, pipeline.model, settings.model)
        return reference == self.reference and settings == self.project.settings


def find_project(target: str) -> Project:
    """Return the project of a target: that of its file where it is a path, else of the working folder."""
    from promptkit.project import Project

    path = Path(target)
    return Project.find(path if os.path.exists(path) else Path.cwd())


def load(target: str, project: Project, asking: ModelOptions) -> Pipeline:
    """Return the target with the command line's `--set` applied. Raises InputError with all that is wrong."""
    from promptkit.engine.load import load_target
    from promptkit.project import is_suite

    if is_suite(Path(target)):
        raise InputError(f"`{target}` is a suite, which is measured", hint=f"promptkit eval {target}")
    return load_target(target, project, sets=asking.sets)


@asynccontextmanager
async def open_session(
    pipeline: Pipeline,
    asking: ModelOptions,
    progress: Progress,
    *,
    concurrency: int | None = None,
    replies: Callable[[Store], AbstractContextManager[Cache]] | None = None,
    apart: Collection[str] = (),
) -> AsyncIterator[Session]:
    """Open the store and the models that a pipeline runs on; close them at the end of the block.

    `concurrency` stands for the project's; `replies` gives what keeps replies in place of the store itself,
    `apart` are models that `--model` does not stand for.
    """
    from promptkit.engine.pipeline import default_model
    from promptkit.engine.session import RunSettings
    from promptkit.reports.output import results_alone
    from promptkit.runtimes.models import Models
    from promptkit.runtimes.replay import Recorder

    project = pipeline.project
    reference, why, base = default_model(project, pipeline, asking.model)
    recorder = Recorder(asking.record) if asking.record else None
    try:
        with ExitStack() as stack:
            stack.enter_context(results_alone())
            store = stack.enter_context(open_store(project, progress))
            models = Models(
                reference,
                why=why,
                store=stack.enter_context(replies(store)) if replies else store,
                concurrency=concurrency or project.settings.concurrency,
                timeout=asking.timeout or project.settings.timeout,
                firm=asking.timeout is not None,
                no_cache=asking.no_cache,
                recorder=recorder,
                progress=progress.fetching,
                notice=progress.notice,
                base=base,
                apart=apart,
            )
            async with models:
                settings = RunSettings(strict=asking.strict)
                gc.freeze()  # what is loaded now stays: looking through it again costs a tenth of what a call does
                gc.set_threshold(10_000)  # so does what is in flight: looking through it often costs as much again
                yield Session(project=project, models=models, store=store, settings=settings, reference=reference)
    finally:
        if recorder:
            recorder.close()


@contextmanager
def open_store(project: Project, progress: Progress) -> Iterator[Store]:
    """Open the project's store; where the folder cannot be written, one that is gone after the block, and say so."""
    from promptkit.storage.store import Store

    size = project.settings.cache.size
    with ExitStack() as stack:
        try:
            store = Store.open(project.store_folder, cache_size=size)
        except StoreFailed as error:
            if not error.read_only:
                raise
            progress.notice(f"{error.message}; nothing of this is kept")
            folder = stack.enter_context(TemporaryDirectory(prefix="promptkit-"))
            store = Store.open(Path(folder), cache_size=size)
        stack.enter_context(store)
        try:
            yield store
        finally:
            if store.damage.notice:
                progress.notice(store.damage.notice)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until ctrl-C. Raises Interrupted."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        hint = "the same command asks only what is missing"
        raise Interrupted("interrupted; what was answered is kept", hint=hint) from None


def refuse_shipped(pipeline: Pipeline, cannot: str, then: str) -> None:
    """Raise InputError where a command would write into or beside a shipped file; the hint says what to copy first."""
    from promptkit.project import LIBRARY

    file, root = pipeline.file, pipeline.project.root
    shipped = [LIBRARY / folder for folder in ("pipelines", "templates")]
    if root == LIBRARY or not any(map(file.is_relative_to, shipped)):
        return
    own = Path.cwd() if any(map(root.is_relative_to, shipped)) else root
    hint = f"copy {file} to {own / file.relative_to(LIBRARY)}, then {then}"
    raise InputError(f"`{pipeline.name}` is shipped with promptkit; {cannot}", hint=hint)
