"""`promptkit try`: run the pinned cases once or after each save, and compare each answer with the previous one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from promptkit.api.session import ModelOptions, Session, find_project, load, open_session
from promptkit.cli.better_model import suggest_better_model
from promptkit.cli.inputs import read_texts
from promptkit.cli.options import Json, Model, NoCache, Record, Sets, Strict, StrictOn, Target, Timeout, Values
from promptkit.cli.results import announced_models, answered_by, in_order
from promptkit.cli.session import keeping_partial_text, refuse_shipped, run_to_end
from promptkit.engine.dependencies import files_of
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Case, Pipeline
from promptkit.engine.run import run
from promptkit.errors import InputError, Interrupted, Problem, PromptkitError, place
from promptkit.reports.cases import CaseOutcome, TryScreen, answer_record, update_baselines
from promptkit.reports.output import note
from promptkit.reports.progress import Progress
from promptkit.storage.files import read_text, resolved, write_atomic
from promptkit.storage.records import check_shape
from promptkit.storage.shapes import CaseShape
from promptkit.storage.store import Store
from promptkit.storage.yaml import load as load_yaml
from promptkit.storage.yaml_edit import append_item

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("try")
def try_(
    target: Target,
    values: Values = None,
    pin: Annotated[str | None, typer.Option("--pin", metavar="NAME", help="Add these values as a case.")] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="VALUE", help="The expected answer of the pinned case.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the files; try again after each save.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    strict_on: StrictOn = None,
    timeout: Timeout = None,
) -> None:
    """Run the pinned cases and compare each answer with the previous one, word by word.

    NAME=VALUE tries these values alone. Only what changed is asked again.
    """
    if expect is not None and pin is None:
        raise InputError("--expect belongs to a pinned case", hint="add --pin NAME")
    options = ModelOptions(
        model=model,
        sets=tuple(sets or ()),
        record=record,
        no_cache=no_cache,
        strict=strict,
        strict_on=tuple(strict_on or ()),
        timeout=timeout,
    )
    cases = (WatchRun if watch else TryRun)(target, read_texts(values or ()), options, json=json)
    if pin is not None:
        cases.pin(pin, expect)
    if isinstance(cases, WatchRun):
        return run_to_end(cases.follow())
    outcomes = run_to_end(cases.once())
    if not json:
        suggest_better_model({reference for outcome in outcomes for reference in outcome.why})


class TryRun:
    """One run of a target's cases. `texts` are the typed values, if any."""

    def __init__(self, target: str, texts: Mapping[str, str], options: ModelOptions, *, json: bool) -> None:
        self._target = target
        self._texts = dict(texts)
        self._options = options
        self._progress = Progress()
        self._screen = TryScreen(target, json=json, clear=isinstance(self, WatchRun))
        self._stack = AsyncExitStack()
        self._session: Session | None = None

    def pin(self, name: str, expect: str | None) -> None:
        """Add the typed values, or else the examples, to the target's file as a case. All cases are then tried."""
        pipeline = self._load()
        refuse_shipped(pipeline, "a case cannot be pinned in it", "pin the case there")
        file = pin_case(pipeline, name, fill_inputs(pipeline, texts=self._texts).values, expect)
        self._texts = {}
        note(f"pinned `{name}` in {file}")

    async def once(self) -> tuple[CaseOutcome, ...]:
        """Try the cases once and return what they gave."""
        pipeline = self._load()
        with keeping_partial_text(self._progress):
            async with self._stack:
                return await self._try(pipeline)

    def _load(self) -> Pipeline:
        return load(self._target, sets=self._options.sets)

    async def _try(self, pipeline: Pipeline) -> tuple[CaseOutcome, ...]:
        session = await self._open(pipeline)
        outcomes = self._settle(await try_cases(pipeline, cases_to_try(pipeline, self._texts), session, self._progress))
        self._screen.show(outcomes)
        return outcomes

    def _settle(self, outcomes: tuple[CaseOutcome, ...]) -> tuple[CaseOutcome, ...]:
        return outcomes

    async def _open(self, pipeline: Pipeline) -> Session:
        """Return the open session; reopen it where an edit names another model or changes the project's settings."""
        if self._session is None or not self._session.serves(pipeline, self._options):
            await self._stack.aclose()
            self._session = await self._stack.enter_async_context(open_session(pipeline, self._options, self._progress))
        return self._session


class WatchRun(TryRun):
    """Runs of a target's cases after each save, until ctrl-C while no answer is awaited."""

    _files: frozenset[Path] = frozenset()
    _broken = True
    """Whether files may be missing. True at first, so that files that appear before the first read are noticed."""
    _answering: asyncio.Task[None] | None = None
    _left = False
    _pressed = False
    """Whether ctrl-C, and not a save, stopped the answers."""
    _shown: tuple[CaseOutcome, ...] = ()
    _asked = ""

    async def follow(self) -> None:
        """Try the cases now and after each save. Raises Interrupted in the end."""
        self._files = frozenset([find_project(self._target).target(self._target)])
        changes = FileWatcher(self._watched)
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
        """Read the files and start asking; where they are broken, show the mistakes above the last good result."""
        try:
            pipeline = self._load()
        except InputError as error:
            self._broken = True
            self._files |= {resolved(Path(problem.file)) for problem in error.problems if problem.file}
            self._screen.broken(error)
            self._idle()
            return
        self._broken = False
        self._files = frozenset(files_of(pipeline))
        self._pressed = False
        self._asked = f"{datetime.now():%H:%M:%S}"
        self._screen.asking(self._asked)
        self._answering = asyncio.create_task(self._answer(pipeline, self._answering))

    async def _answer(self, pipeline: Pipeline, before: asyncio.Task[None] | None) -> None:
        """Try the cases after the answers of `before` have stopped. A failure is shown, and the watch continues."""
        try:
            if before is not None:
                await asyncio.wait([before])
            await self._try(pipeline)
        except PromptkitError as error:
            self._screen.broken(error)
        except asyncio.CancelledError:
            if not self._pressed:  # A save stopped it, and the new answers are on the screen.
                return
            self._screen.stopped()
        self._idle()

    def _settle(self, outcomes: tuple[CaseOutcome, ...]) -> tuple[CaseOutcome, ...]:
        """Keep the last comparison while no answer has changed since it was shown. A failure is not an answer."""
        settled, self._shown = update_baselines(outcomes, self._shown)
        return settled

    def _idle(self) -> None:
        self._screen.idle(len(self._files), self._asked)

    def _press(self, watching: asyncio.Task[None]) -> None:
        """Handle ctrl-C: stop the answers, or leave where none are awaited."""
        if self._stop():
            self._pressed = True
        else:
            self._leave(watching)

    def _stop(self) -> bool:
        """Stop awaited answers. Return whether there were any."""
        return self._answering is not None and not self._answering.done() and self._answering.cancel()

    def _leave(self, watching: asyncio.Task[None]) -> bool:
        """Stop watching."""
        self._left = True
        return watching.cancel()

    def _watched(self) -> Collection[Path]:
        """Return the files to watch; while one is broken, also the folders where a missing one may appear."""
        if not self._broken:
            return self._files
        root = find_project(self._target).root
        folders = {path.parent for path in self._files}
        folders |= {folder for top in ("pipelines", "templates") for folder in (root / top).glob("**")}
        return self._files | folders


@contextmanager
def _on_ctrl_c(act: Callable[[], object]) -> Iterator[None]:
    """Let ctrl-C call `act` instead of ending the command."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


EXAMPLE_CASE = "example"
TYPED_CASE = "values"


def cases_to_try(pipeline: Pipeline, texts: Mapping[str, str]) -> tuple[Case, ...]:
    """Return the cases to try: the typed values, else the pinned cases, else the examples. Raises InputError."""
    if texts or not pipeline.cases:
        filled = fill_inputs(pipeline, texts=texts)
        return (Case(name=TYPED_CASE if texts else EXAMPLE_CASE, inputs=filled.values),)
    return pipeline.cases


async def try_cases(
    pipeline: Pipeline, cases: Sequence[Case], session: Session, progress: Progress
) -> tuple[CaseOutcome, ...]:
    """Run the cases concurrently, return each with its previous answer, and remember the new answers in the store."""
    target = os.path.relpath(pipeline.file, pipeline.project.root)

    async def answer(case: Case) -> CaseOutcome:
        result = await run(
            pipeline,
            case.inputs,
            models=session.models,
            settings=session.settings,
            on_event=progress.listener(prefix=f"{case.name}/", steps=False),
        )
        before = previous_answer(session.store, target, case)
        models = session.models_of(result)
        return CaseOutcome(
            case=case,
            answer=answer_record(result),
            before=before,
            why=answered_by(models, result.totals),
            noticed=announced_models(models),
        )

    with progress.showing():
        outcomes = [outcome async for outcome in in_order(answer, cases)]
    # Only now, and only answers: a stopped or failed run must not become the previous answer.
    for outcome in (outcome for outcome in outcomes if outcome.answer["error"] is None):
        record = {"inputs": dict(outcome.case.inputs), "answer": outcome.answer}
        session.store.remember(target, outcome.case.name, record)
    return tuple(outcomes)


def previous_answer(store: Store, target: str, case: Case) -> Mapping[str, Any] | None:
    """Return the previous answer to a case with the same inputs; a damaged one counts as none."""
    remembered = store.remembered(target, case.name)
    if remembered is not None:
        with store.damage.skipping():
            found = check_shape(remembered, CaseShape, f"cases {target} {case.name}")
            return found["answer"] if found["inputs"] == case.inputs else None
    return None


def pin_case(pipeline: Pipeline, name: str, inputs: Mapping[str, Any], expect: str | None) -> Path:
    """Add a case to the target's file, change nothing else in it, and return the file. Raises InputError."""
    if any(case.name == name for case in pipeline.cases):
        problem = Problem(f"there is a case `{name}` already", place(pipeline.file), hint="pin it under another name")
        raise InputError(problem)
    case: dict[str, Any] = {"name": name, "inputs": dict(inputs)}
    if expect is not None:
        case["expect"] = _expected_value(expect)
    text = read_text(pipeline.file)
    write_atomic(pipeline.file, append_item(text, ("cases",), case, file=str(place(pipeline.file))))
    return pipeline.file


def _expected_value(text: str) -> Any:
    """Read a typed expected answer as YAML; invalid YAML is text."""
    try:
        return load_yaml(text, file="--expect").value
    except InputError:
        return text


DEBOUNCE_MS = 60
"""Longest time over which the changes of one save are gathered."""
QUIET_MS = 15
"""Time without a further change after which a save counts as finished."""
POLL_MS = 500
"""Interval at which the files are read in any case: a save while the watch starts gives no event."""
WATCHED_SUFFIXES = {".csv", ".j2", ".json", ".jsonl", ".py", ".tsv", ".txt", ".yaml", ".yml"}
"""Suffixes of files whose creation and removal counts; editors put others beside the file they save."""
RENAME_SECONDS = 0.05
"""Time that a file may be missing while an editor renames another over it."""


class FileWatcher:
    """Watches the content of files, and the list of files in folders.

    `watched` is called after each change, since edits add and remove files.
    """

    def __init__(self, watched: Callable[[], Collection[Path]]) -> None:
        self._watched = watched
        self._digests: dict[Path, tuple[tuple[int, int, int], str]] = {}
        self._seen = self._contents()

    async def follow(self) -> AsyncIterator[frozenset[Path]]:
        """Yield the files whose content has changed since the last yield."""
        from watchfiles import awatch

        while True:
            self._take_in()
            folders = self._folders()
            saves = awatch(
                *folders,
                debounce=DEBOUNCE_MS,
                step=QUIET_MS,
                rust_timeout=POLL_MS,
                yield_on_timeout=True,
                recursive=False,
            )
            async with aclosing(saves):
                async for _ in saves:
                    if changed := await self._changed():
                        yield changed
                        self._take_in()
                    if self._folders() != folders:
                        break

    async def _changed(self) -> frozenset[Path]:
        """Return the changes since the last call; a file watched for the first time has not changed."""
        now = self._contents()
        if any(digest is None and self._seen.get(path) for path, digest in now.items()):
            await asyncio.sleep(RENAME_SECONDS)
            now = self._contents()
        changed = frozenset(path for path in now.keys() & self._seen.keys() if now[path] != self._seen[path])
        self._seen = now
        return changed

    def _take_in(self) -> None:
        """Take the present content of files that are watched for the first time."""
        self._seen = {**self._contents(), **self._seen}

    def _folders(self) -> frozenset[Path]:
        folders = (path if path.is_dir() else path.parent for path in self._watched())
        return frozenset(folder for folder in folders if folder.is_dir())

    def _contents(self) -> dict[Path, str | None]:
        """Return a digest of each file and folder, None where it does not exist."""
        return {path: self._digest(path) for path in self._watched()}

    def _digest(self, path: Path) -> str | None:
        """Return a digest of the content; a file with the same inode, time and size is not read again."""
        try:
            if path.is_dir():
                return "\n".join(sorted(child.name for child in path.iterdir() if child.suffix in WATCHED_SUFFIXES))
            if not path.is_file():
                return None
            status = path.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if path not in self._digests or self._digests[path][0] != mark:
                self._digests[path] = (mark, hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError:
            return None
        return self._digests[path][1]
