"""The requests of each step, without sending them, and a technique's example on scripted replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

from promptkit.engine.dependencies import steps_with_code
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.results import Result, Trace
from promptkit.engine.run import run
from promptkit.engine.scope import STEPS, ItemResults
from promptkit.engine.session import RunSettings, Session
from promptkit.engine.step_run import ExecutionContext, StepRun
from promptkit.errors import InputError, Problem, PromptkitError, nearest
from promptkit.project import LIBRARY, TECHNIQUE_PIPELINES, Project
from promptkit.runtimes.base import Alternative, Message, Model, OnText, Reply, Request, Runtime, Token, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.techniques.registry import Technique
from promptkit.tools.backends import DEFAULT_BACKEND

TYPED, LAST_RUN, EXAMPLE, PLACEHOLDER = "command line", "last run", "example", "placeholder"
REHEARSED_REQUESTS = 32
"""The most requests that one rehearsal of a step makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The first request of a step. `text` is the prompt after the chat template and `tokens` its length, where known.

    `assumed` maps each step whose result is needed to where that comes from (`command line`, `last run`, `example`,
    `placeholder`).
    """

    step: str
    request: Request
    text: str | None
    tokens: int | None
    assumed: Mapping[str, str]
    notices: tuple[str, ...] = ()


async def render(
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    models: Models,
    step: str | None = None,
    typed: Mapping[str, Any] | None = None,
    known: Mapping[str, Any] | None = None,
    settings: RunSettings | None = None,
) -> list[Rendered]:
    """Return the first request of each step (or of `step`), in the pipeline's order. Tool steps send none.

    Runs none of the project's own Python: the steps of `steps_with_code` are left out. `typed` holds results of steps
    given as NAME=VALUE, `known` those of the last run. Raises InputError.
    """
    if step is not None and step not in pipeline.steps:
        raise InputError(Problem(f"`{pipeline.name}` has no step `{step}`", hint=nearest(step, pipeline.steps)))
    scope, sources = _assumed_scope(pipeline, inputs, typed or {}, known or {})
    rendered: list[Rendered] = []
    by_code = steps_with_code(pipeline)
    for name, current in pipeline.steps.items():
        if current.prompt_call is None or name in by_code or step not in (None, name):
            continue
        needs = {edge.needs for edge in pipeline.edges if edge.step == name}
        assumed = {need: sources[need] for need in sorted(needs & sources.keys())}
        found = await _first_request(current, scope, pipeline, models, settings or RunSettings(), assumed)
        if found is not None:
            rendered.append(found)
    return rendered


def _assumed_scope(
    pipeline: Pipeline, inputs: Mapping[str, Any], typed: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a scope with a result for each step, and the source of each result."""
    scope: dict[str, Any] = {STEPS: {name: {"status": "done", "tool_calls": []} for name in pipeline.steps}}
    sources: dict[str, str] = {}
    for name in pipeline.steps:
        examples = _examples_for(name, pipeline)
        if name in typed:
            scope[name], sources[name] = typed[name], TYPED
        elif name in known:
            scope[name], sources[name] = known[name], LAST_RUN
        elif examples:
            scope[name], sources[name] = examples[0], EXAMPLE
        else:
            scope[name], sources[name] = f"‹{name}›", PLACEHOLDER
        if pipeline.steps[name].for_each is not None:
            results = scope[name] if isinstance(scope[name], list) else [scope[name]]
            scope[name] = ItemResults(results, [f"‹item {number}›" for number in range(len(results))])
        elif name in _looped_over(pipeline) and not isinstance(scope[name], list):
            scope[name] = [scope[name]]
    return {**scope, **inputs}, sources


def _examples_for(name: str, pipeline: Pipeline) -> list[Any]:
    """Return the prompts' examples for inputs that a step's result, or an item of it, fills."""
    found: list[Any] = []
    for step in pipeline.steps.values():
        if step.prompt is None:
            continue
        fills = {name: name}
        for item, value in step.for_each.lists.items() if step.for_each else ():
            if name in value.names:
                fills[item] = name
        fills |= {key: name for key, value in step.arguments.items() if name in value.names}
        found += [spec.example for key, spec in step.prompt.inputs.items() if key in fills and spec.has_example]
    return found


def _looped_over(pipeline: Pipeline) -> set[str]:
    loops = [step.for_each for step in pipeline.steps.values() if step.for_each]
    return {name for loop in loops for value in loop.lists.values() for name in value.names}


async def _first_request(
    step: Step,
    scope: Mapping[str, Any],
    pipeline: Pipeline,
    models: Models,
    settings: RunSettings,
    assumed: Mapping[str, str],
) -> Rendered | None:
    """Run a step up to its first request, on a runtime that sends nothing."""
    client = await models.get(step.model)
    dry = DryRuntime(await client.model(), client)
    session = Session(pipeline.project, DryModels(dry, models, embedder_of(step)), settings, None, dry=True)
    await _dry_run(step, scope, session)
    if not dry.requests:
        return None
    request = dry.requests[0]
    text = await client.template(request.messages, request.begun, request.tools)
    return Rendered(
        step=step.name,
        request=request,
        text=text,
        tokens=await client.count(request.messages, request.begun, request.tools),
        assumed=assumed,
        notices=session.notices,
    )


def embedder_of(step: Step) -> str | None:
    """Return the model that embeds a step's examples, if it is not the step's own."""
    nearest = step.prompt_call.examples.nearest if step.prompt_call else None
    return nearest.model if nearest is not None and nearest.model != step.model else None


async def _dry_run(step: Step, scope: Mapping[str, Any], session: Session) -> None:
    """Run a step until its runtime gives no further reply, whatever its condition."""
    rounds = replace(step, when=None, on_error=replace(step.on_error, ends_run=True))
    run = StepRun(rounds, session, path=step.name, model=None, run_pipeline=_no_pipeline)
    trace = Trace(name=step.name, kind="step")
    try:
        await run.run(ExecutionContext(scope, frozenset(), trace, session.settings.sample))
    except* RequestCaptured:
        pass


async def rehearse(
    pipeline: Pipeline, inputs: Mapping[str, Any], *, models: Models, step: str, reply: str
) -> list[Request]:
    """Return the requests of one step where each gets the same reply, at most REHEARSED_REQUESTS. Sends none.

    Earlier steps' results are assumed as in `render`. Empty for a step that runs the project's own Python. Raises
    InputError if the first request cannot be made; a later failure ends the step, as an unreadable reply does.
    """
    current = pipeline.steps[step]
    if current.prompt_call is None or step in steps_with_code(pipeline):
        return []
    # The reply may be run as a program: in the sandbox that needs no process.
    current = replace(current, prompt_call=replace(current.prompt_call, programs=DEFAULT_BACKEND))
    scope, _ = _assumed_scope(pipeline, inputs, {}, {})
    client = await models.get(current.model)
    dry = DryRuntime(await client.model(), client, repeat(reply))
    failure: BaseException | None = None
    try:
        dry_models = DryModels(dry, models, embedder_of(current))
        await _dry_run(current, scope, Session(pipeline.project, dry_models, RunSettings(), None, dry=True))
    except* PromptkitError as failures:
        failure = failures
    if failure is not None and not dry.requests:
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure
    return dry.requests


async def _no_pipeline(*_: Any) -> Any:
    raise AssertionError("a step that asks runs no pipeline")


class RequestCaptured(BaseException):
    """Signals that enough requests are known. Not an Exception, so that no handler on the way catches it."""


class DryModels:
    """A client provider with one client, and that of the model that embeds examples, if it is another one."""

    def __init__(self, dry: DryRuntime, models: Models, embedder: str | None) -> None:
        self._client = Client(dry)
        self._models = models
        self._embedder = embedder

    async def get(self, reference: str | None = None) -> Client:
        is_embedder = reference is not None and reference == self._embedder
        return await self._models.get(reference) if is_embedder else self._client


class DryRuntime(Runtime):
    """A runtime that imitates another one. It keeps the requests and answers with `replies`, one after the other.

    Raises RequestCaptured for a request after the last of them, and for that of the number REHEARSED_REQUESTS.
    """

    def __init__(self, model: Model, real: Client, replies: Iterable[str] = ()) -> None:
        self.requests: list[Request] = []
        self._model = model
        self._real = real
        self._replies = iter(replies)

    async def model(self) -> Model:
        return self._model

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        if len(self.requests) < REHEARSED_REQUESTS:
            self.requests.append(request)
        reply = next(self._replies, None)
        if reply is None or len(self.requests) == REHEARSED_REQUESTS:
            raise RequestCaptured
        piece = reply.encode()
        tokens = (Token(piece, 0.0, (Alternative(piece, 0.0),)),) if request.alternatives else ()
        return Reply(text=reply, tokens_in=1, tokens_out=1, tokens=tokens)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._real.embed(texts)

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self._real.tokenize(text)

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        return await self._real.template(messages, begun, tools)

    async def close(self) -> None:
        """Leave the real runtime open; its owner closes it."""


REPLIES_FILE = "replies.yaml"


def example_file(name: str, project: Project) -> Path | None:
    """Return the example pipeline of a technique, `pipelines/techniques/NAME.yaml`, None where there is none."""
    files = (folder / TECHNIQUE_PIPELINES / f"{name}.yaml" for folder in (project.root, LIBRARY))
    return next((file for file in files if file.is_file()), None)


async def run_example(technique: Technique, project: Project) -> Result | None:
    """Run a technique's example on the replies beside its templates. None where it has no example.

    Raises InputError where the example is wrong.
    """
    file = example_file(technique.name, project)
    folder = project.find_template("techniques", technique.name)
    replies = folder / REPLIES_FILE if folder else None
    if file is None or replies is None or not replies.is_file():
        return None
    is_own = any(path.is_relative_to(project.root) for path in technique.files)  # It may replace a shipped one.
    pipeline = load_target(file, project if is_own else Project.find(file))
    async with Models(f"scripted:{replies}", why="the example") as models:
        return await run(pipeline, fill_inputs(pipeline).values, models=models, settings=RunSettings(repairs=0))
