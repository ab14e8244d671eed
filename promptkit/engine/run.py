"""Running a pipeline: each step as soon as what it needs is there, and what became of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptkit.engine.events import OnEvent, StepFinished
from promptkit.engine.inputs import fill
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.requirements import require
from promptkit.engine.results import Result, StepResult, Trace, count, step_result
from promptkit.engine.scope import STEPS
from promptkit.engine.session import Askers, Session, Settings
from promptkit.engine.steprun import Here, StepRun
from promptkit.engine.traces import stored_calls
from promptkit.errors import PromptkitError, UnexpectedError, catching_unexpected, first_error
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.runtimes import Models
    from promptkit.storage import Store


async def run(
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    models: Models,
    settings: Settings | None = None,
    on_event: OnEvent | None = None,
    store: Store | None = None,
) -> Result:
    """Run a pipeline once; independent steps and items at once, up to what the runtimes take.

    What stops the run is in `result.error` with all that was finished; raised are only InputError, Unsupported and
    what the absence of a model raises, before the first request. With a `store`, the run and its calls are kept
    there. Cancelling stops all generation.
    """
    runner = Runner(pipeline, models=models, settings=settings, on_event=on_event)
    values = fill(pipeline, inputs).values if pipeline.inputs or inputs else {}
    await runner.open()
    session = runner.session
    number = None if store is None else _begin(store, pipeline, values, session)
    try:
        result = await runner.run(values, sample=session.settings.sample)
    except asyncio.CancelledError:
        if store is not None and number is not None:
            store.end_run(number, "interrupted", {})
        raise
    if store is None or number is None:
        return result
    result = replace(result, run=number)
    try:
        with catching_unexpected():
            await _keep(store, number, result)
    except UnexpectedError as error:
        result = replace(result, error=result.error or error)
        store.end_run(number, "failed", error_record(error))
    return result


class Runner:
    """A pipeline made ready once, to be run on many rows. Make it where the event loop runs.

    `model` is what answers steps that name none, left out the models' default.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        models: Askers,
        settings: Settings | None = None,
        on_event: OnEvent | None = None,
        model: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.session = Session(pipeline.project, models, settings or Settings(), on_event)
        self._model = model

    async def open(self) -> None:
        """See that nothing is unmet and open the models. Raises what `run` raises before its first request."""
        await require(self.pipeline, self.session, model=self._model)

    async def run(self, values: Mapping[str, Any], *, sample: str = "0") -> Result:
        """Run once, on a value for each input, as `fill` gives them. `sample` numbers repeated runs on one row.

        What fails is in `result.error`; an exception that nothing foresaw is an UnexpectedError there.
        """
        pipeline, session = self.pipeline, self.session
        pipeline_run = PipelineRun(pipeline, session, sample=sample, model=self._model)
        trace = Trace(name=pipeline.name, kind="run", started=session.now())
        output: Any = None
        error: PromptkitError | None = None
        try:
            with catching_unexpected():
                output = plain(await pipeline_run.run(values, trace))
        except PromptkitError as failure:
            error = failure
        steps: Mapping[str, StepResult] = {}
        try:
            with catching_unexpected():
                steps = pipeline_run.results()
        except UnexpectedError as failure:
            output, error = None, error or failure
        trace.value, trace.status = output, "failed" if error else "done"
        return Result(
            target=pipeline.name,
            output=output,
            steps=steps,
            totals=count(trace.nodes(), trace.seconds),
            trace=trace,
            answered=session.answered,
            notices=session.notices,
            error=error,
        )


def _begin(store: Store, pipeline: Pipeline, values: Mapping[str, Any], session: Session) -> int:
    return store.begin_run(session.settings.kind, pipeline.name, model=model_record(session), inputs=plain(values))


def model_record(session: Session) -> dict[str, Any]:
    """Return the first model of a session as the store keeps it with a run; nothing where there is none."""
    models = ({"reference": model.reference, "digest": model.digest} for model in session.answered.values())
    return next(models, {})


async def _keep(store: Store, number: int, result: Result) -> None:
    """Keep the calls, then how the run ended."""
    await store.save_calls(number, stored_calls(result.trace))
    if result.error is None:
        store.end_run(number, "done", result.record())
    else:
        store.end_run(number, "failed", {**result.record(), **error_record(result.error)})


def error_record(error: PromptkitError) -> dict[str, str]:
    """Return an error as the store keeps it of a run."""
    told = {"error": str(error)}
    return {**told, "traceback": error.traceback} if isinstance(error, UnexpectedError) else told


class PipelineRun:
    """One run of a pipeline or sub-pipeline. `prefix` stands before its steps' names in events."""

    def __init__(
        self, pipeline: Pipeline, session: Session, *, sample: str, prefix: str = "", model: str | None = None
    ) -> None:
        self._pipeline = pipeline
        self._session = session
        self._sample = sample
        self._prefix = prefix
        self._model = model
        self._traces: dict[str, Trace] = {}
        self._scope: dict[str, Any] = {}
        self._absent: set[str] = set()

    async def run(self, inputs: Mapping[str, Any], trace: Trace) -> Any:
        """Return the output. Raises what ends the run; what was finished is in the trace."""
        session, pipeline = self._session, self._pipeline
        started = trace.started = session.now()
        self._scope = {**inputs, STEPS: {}}
        needs: dict[str, set[str]] = {name: set() for name in pipeline.steps}
        for edge in pipeline.edges:
            needs[edge.step].add(edge.needs)
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            if len(pipeline.steps) == 1:
                await self._step(next(iter(pipeline.steps.values())), (), trace)
            else:
                async with asyncio.TaskGroup() as group:
                    for name, step in pipeline.steps.items():
                        waits = [tasks[need] for need in needs[name]]
                        tasks[name] = group.create_task(self._step(step, waits, trace))
            return pipeline.output.evaluate(self._scope, self._absent)
        except BaseExceptionGroup as raised:
            raise first_error(raised) from None
        finally:
            trace.seconds = session.now() - started
            _set_waits(trace, needs, self._traces)

    def results(self) -> dict[str, StepResult]:
        """Return the result of each step that was begun, in the pipeline's order."""
        return {name: step_result(self._traces[name]) for name in self._pipeline.steps if name in self._traces}

    async def _step(self, step: Step, waits: list[asyncio.Task[None]] | tuple[()], parent: Trace) -> None:
        for task in waits:
            await asyncio.wait((task,))
            if task.cancelled() or task.exception() is not None:
                return  # the run is ending
        session = self._session
        path = f"{self._prefix}{step.name}"
        trace = Trace(name=step.name, kind="step", started=session.now())
        parent.children.append(trace)
        self._traces[step.name] = trace
        step_run = StepRun(step, session, path=path, model=self._model, run_pipeline=_run_inner)
        try:
            with catching_unexpected():  # here too: SystemExit in a task of its own would end the event loop
                outcome = await step_run.run(Here(self._scope, self._absent, trace, self._sample))
        except BaseException as raised:
            error = first_error(raised)
            trace.status = "failed"
            trace.seconds = session.now() - trace.started
            if isinstance(error, PromptkitError):
                trace.problem = str(error)
                self._tell(path, trace)
            raise error from None
        trace.seconds = session.now() - trace.started
        trace.status, trace.value = outcome.status, outcome.value
        # An input of the same name as a prompt's own step stays: nothing but the output reads the step.
        self._scope[step.name] = outcome.value
        self._scope[STEPS][step.name] = {"status": outcome.status}
        if outcome.value is None and outcome.status in ("skipped", "failed"):
            self._absent.add(step.name)
        self._tell(path, trace)

    def _tell(self, path: str, trace: Trace) -> None:
        if self._session.listens:
            self._session.emit(StepFinished(step=path, result=step_result(trace)))


async def _run_inner(pipeline: Pipeline, values: Mapping[str, Any], step: StepRun, here: Here) -> Any:
    """Run a sub-pipeline as a step."""
    inner = PipelineRun(
        pipeline, step.session, sample=here.sample, prefix=f"{step.path}.", model=pipeline.model or step.model
    )
    trace = Trace(name=pipeline.name, kind="pipeline")
    here.trace.children.append(trace)
    trace.value = await inner.run(fill(pipeline, values).values if pipeline.inputs else {}, trace)
    return trace.value


def _set_waits(run: Trace, needs: Mapping[str, set[str]], traces: Mapping[str, Trace]) -> None:
    """Set how long each step kept others (and the end of the run) waiting when nothing else did."""
    ends = {name: trace.started + trace.seconds for name, trace in traces.items()}
    for names in (*(needs[name] for name in traces), set(traces)):
        ordered = sorted((name for name in names if name in ends), key=ends.__getitem__)
        if not ordered:
            continue
        last = ordered[-1]
        before = ends[ordered[-2]] if len(ordered) > 1 else run.started
        traces[last].waited = max(traces[last].waited, ends[last] - max(before, traces[last].started))
