"""One sitting of `promptkit try`: the cases once, or again after each save."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.cli.cases import cases_of, pin, try_cases
from promptkit.cli.options import Asking
from promptkit.cli.session import Session, find_project, load, open_session
from promptkit.cli.shipped import refuse_shipped
from promptkit.errors import InputError, Interrupted, PromptkitError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline
    from promptkit.reports import Outcome


class Trial:
    """A target that is tried. `texts` are the typed values, if any."""

    def __init__(self, target: str, texts: Mapping[str, str], asking: Asking, *, json: bool) -> None:
        from promptkit.reports import Progress, TrialScreen

        self._target = target
        self._texts = dict(texts)
        self._asking = asking
        self._progress = Progress()
        self._screen = TrialScreen(target, json=json, clear=isinstance(self, Watch))
        self._stack = AsyncExitStack()
        self._session: Session | None = None

    def pin(self, name: str, expect: str | None) -> None:
        """Add the typed values, or else the examples, to the target's file as a case; all cases are then tried."""
        from promptkit import engine
        from promptkit.reports import note

        pipeline = self._load()
        refuse_shipped(pipeline, "a case cannot be pinned in it", "pin the case there")
        file = pin(pipeline, name, engine.fill(pipeline, texts=self._texts).values, expect)
        self._texts = {}
        note(f"pinned `{name}` in {file}")

    async def once(self) -> None:
        """Try the cases once."""
        pipeline = self._load()
        async with self._stack:
            await self._try(pipeline)

    def _load(self) -> Pipeline:
        return load(self._target, find_project(self._target), self._asking)

    async def _try(self, pipeline: Pipeline) -> None:
        session = await self._open(pipeline)
        outcomes = await try_cases(pipeline, cases_of(pipeline, self._texts), session, self._progress)
        self._screen.show(self._settle(outcomes))

    def _settle(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        return outcomes

    async def _open(self, pipeline: Pipeline) -> Session:
        """Return the open session, opened anew where an edit names another model or changes the project's settings."""
        if self._session is None or not self._session.serves(pipeline, self._asking):
            await self._stack.aclose()
            self._session = await self._stack.enter_async_context(open_session(pipeline, self._asking, self._progress))
        return self._session


class Watch(Trial):
    """A target that is tried again after each save, until ctrl-C while nothing is asked."""

    _files: frozenset[Path] = frozenset()
    _broken = True
    """Whether files may be missing. At first too: what is in the folders before they are read tells what came since."""
    _answering: asyncio.Task[None] | None = None
    _left = False
    _pressed = False
    """Whether a person, not a save, stopped the answers."""
    _shown: tuple[Outcome, ...] = ()
    _asked = ""

    async def follow(self) -> None:
        """Try the cases now and after each save. Raises Interrupted in the end."""
        from promptkit.cli.changes import Changes

        self._files = frozenset([find_project(self._target).target(self._target)])
        changes = Changes(self._watched)
        watching = asyncio.current_task()
        assert watching is not None
        async with self._stack:
            with _on_ctrl_c(lambda: self._press(watching)):
                try:
                    self._begin()
                    async for _ in changes.follow():
                        self._stop()
                        self._begin()
                except asyncio.CancelledError:
                    if not self._left:  # an answer ended the command
                        raise
                    raise Interrupted("left") from None
                finally:
                    self._stop()

    def _begin(self) -> None:
        """Read the files and begin to ask; where they are broken, say so over the last good result."""
        from promptkit import engine
        from promptkit.storage import resolved

        try:
            pipeline = self._load()
        except InputError as error:
            self._broken = True
            self._files |= {resolved(Path(problem.file)) for problem in error.problems if problem.file}
            self._screen.broken(error)
            self._idle()
            return
        self._broken = False
        self._files = frozenset(engine.files(pipeline))
        self._pressed = False
        self._asked = f"{datetime.now():%H:%M:%S}"
        self._screen.asking(self._asked)
        self._answering = asyncio.create_task(self._answer(pipeline, self._answering))

    async def _answer(self, pipeline: Pipeline, before: asyncio.Task[None] | None) -> None:
        """Try the cases once what was asked `before` has stopped; a failure is shown, and the watch goes on."""
        try:
            if before is not None:
                await asyncio.wait([before])
            await self._try(pipeline)
        except PromptkitError as error:
            self._screen.broken(error)
        except asyncio.CancelledError:
            if not self._pressed:  # A save stopped it, and what is asked now is on the screen.
                return
            self._screen.stopped()
        self._idle()

    def _settle(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Keep the last comparison while no answer has changed since it was shown; a failure is no answer."""
        from promptkit.reports import settle

        settled, self._shown = settle(outcomes, self._shown)
        return settled

    def _idle(self) -> None:
        self._screen.idle(len(self._files), self._asked)

    def _press(self, watching: asyncio.Task[None]) -> None:
        """Do what ctrl-C asks for: stop the answers, or leave where there are none."""
        if self._stop():
            self._pressed = True
        else:
            self._leave(watching)

    def _stop(self) -> bool:
        """Stop the answers under way and tell whether there were any."""
        return self._answering is not None and not self._answering.done() and self._answering.cancel()

    def _leave(self, watching: asyncio.Task[None]) -> bool:
        """Stop watching, as a person wants it."""
        self._left = True
        return watching.cancel()

    def _watched(self) -> Collection[Path]:
        """Return the files to follow; while one is broken also the folders where a missing one may come."""
        if not self._broken:
            return self._files
        root = find_project(self._target).root
        folders = {path.parent for path in self._files}
        folders |= {folder for top in ("pipelines", "templates") for folder in (root / top).glob("**")}
        return self._files | folders


@contextmanager
def _on_ctrl_c(act: Callable[[], object]) -> Iterator[None]:
    """Let ctrl-C call `act` instead of ending the tool."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
