"""The pipelines that are served, with the models that answer them; both stay open as long as the server."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from promptkit.api.session import ModelOptions, Session, open_session
from promptkit.engine.dependencies import files_of
from promptkit.engine.pipeline import Pipeline, default_model
from promptkit.engine.results import Result
from promptkit.engine.run import Runner, run
from promptkit.engine.session import OnEvent
from promptkit.errors import InputError, PromptkitError, RuntimeFailure
from promptkit.reports.output import note
from promptkit.reports.progress import Progress
from promptkit.server.http.errors import HttpError
from promptkit.server.pipelines import own_pipelines, served_pipelines

SessionKey = tuple[Path, str, str, Path]


class _UnaskedProgress(Progress):
    """Progress on stderr that asks nothing: a question would keep all requests waiting."""

    def offer(self, question: str) -> bool:
        return False


class Catalog:
    """The served pipelines, by name. A session of models is opened for each default model, and shared.

    `targets` are names or paths; without any, all pipelines of the project in the working folder are served that load.
    With `keep_runs` each run is kept in the store. Raises InputError where nothing can be served.
    """

    def __init__(self, targets: Sequence[str], options: ModelOptions, *, keep_runs: bool = False) -> None:
        self._targets = targets
        self._options = options
        self._keep_runs = keep_runs
        self._progress = _UnaskedProgress()
        self._sessions: dict[SessionKey, Session] = {}
        self._runners: dict[str, Runner] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self.pipelines = load_served(targets, options)

    def __iter__(self) -> Iterator[Pipeline]:
        return iter(self.pipelines.values())

    def find(self, name: str) -> Pipeline:
        """Return the pipeline of a name. Raises HttpError for an unknown one."""
        if name not in self.pipelines:
            known = ", ".join(self.pipelines)
            raise HttpError(404, f"there is no model `{name}` here; there are: {known}", "model_not_found")
        return self.pipelines[name]

    async def warm_up(self) -> None:
        """Open the models of all pipelines, so that the first request does not wait for them.

        A pipeline whose model cannot be reached now is tried again at its first request; any other problem raises what
        `run` raises, or leaves the pipeline out where it was not named.
        """
        for pipeline in tuple(self):
            try:
                await self._runner(pipeline, await self._session(pipeline), None)
            except RuntimeFailure as failure:
                note(f"`{pipeline.name}`: {failure}\n  it is tried again when it is asked for")
            except PromptkitError as error:
                if self._targets:
                    raise
                note(f"`{pipeline.name}` is not served: {error}")
                del self.pipelines[pipeline.name]
        if not self.pipelines:
            raise InputError("no pipeline of this project can be served here", hint="--model REF names another model")

    async def run(self, pipeline: Pipeline, values: Mapping[str, Any], on_event: OnEvent | None = None) -> Result:
        """Run a pipeline on the values of all its inputs. What ends the run is in the result, or raised before it."""
        session = await self._session(pipeline)
        if self._keep_runs:
            models, settings, store = session.models, session.settings, session.store
            result = await run(pipeline, values, models=models, settings=settings, on_event=on_event, store=store)
        else:
            result = await (await self._runner(pipeline, session, on_event)).run(values)
        for notice in result.notices:
            self._progress.notice(notice)
        return result

    async def _runner(self, pipeline: Pipeline, session: Session, on_event: OnEvent | None) -> Runner:
        """Return the runner of a pipeline, which requests without a listener share."""
        shared = self._runners.get(pipeline.name)
        if on_event is None and shared is not None and shared.pipeline is pipeline:
            return shared
        runner = Runner(pipeline, models=session.models, settings=session.settings, on_event=on_event)
        await runner.open()
        if on_event is None:
            self._runners[pipeline.name] = runner
        return runner

    def reload(self) -> None:
        """Read all files again. Requests that run keep the pipelines that they began with. Raises InputError."""
        self.pipelines = load_served(self._targets, self._options)

    def files(self) -> Collection[Path]:
        """Return the files that the served pipelines are made of; without targets, all pipelines and their folder."""
        found = {path for pipeline in self for path in files_of(pipeline)}
        if not self._targets:
            files = own_pipelines()
            found |= {*files, *(file.parent for file in files)}
        return frozenset(found)

    async def _session(self, pipeline: Pipeline) -> Session:
        """Return the session of a pipeline's default model; a change of the project's settings opens another."""
        key = (pipeline.project.root, *default_model(pipeline.project, pipeline, self._options.model))
        async with self._opening:
            session = self._sessions.get(key)
            if session is None or not session.serves(pipeline, self._options):
                session = await self._stack.enter_async_context(open_session(pipeline, self._options, self._progress))
                self._sessions[key] = session
                self._runners.clear()
        return session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def load_served(targets: Sequence[str], options: ModelOptions) -> dict[str, Pipeline]:
    """Return the pipelines to serve, by name. Those of the project that do not load are left out, with a notice.

    Raises InputError for what is wrong in a target that was named.
    """
    served = served_pipelines(targets, options.sets)
    for name, error in served.broken.items():
        if targets:
            raise error
        note(f"{name} is not served: {error}")
    if not served.loaded:
        raise InputError("this project has no pipeline to serve", hint="promptkit serve TARGET names one")
    return dict(served.loaded)
