"""Runs a pipeline, once or over the rows of a file. Each step starts as soon as its inputs are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.requirements import check_requirements
from promptkit.engine.results import (
    Result,
    StepResult,
    Totals,
    Trace,
    add_totals,
    step_result,
    stored_calls,
    sum_totals,
    tool_call_records,
    totals_record,
    trace_record,
)
from promptkit.engine.scope import STEPS
from promptkit.engine.session import ClientProvider, OnEvent, RunSettings, Session, StepFinished
from promptkit.engine.step_run import ExecutionContext, StepRun
from promptkit.engine.toolsets import sharing_toolsets
from promptkit.errors import PromptkitError, UnexpectedError, catching_unexpected, first_error
from promptkit.runtimes.models import Models
from promptkit.storage.strict_json import plain

if TYPE_CHECKING:
    from promptkit.storage.store import Run, Store


async def run(
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    models: Models,
    settings: RunSettings | None = None,
    on_event: OnEvent | None = None,
    store: Store | None = None,
) -> Result:
    """Run a pipeline once. Independent steps and items run concurrently, as far as the runtimes allow.

    An error that stops the run is in `result.error`, beside everything that was finished. Raised are only InputError,
    Unsupported and the errors of a missing model, before the first request. With a `store`, the run and its calls are
    kept there. Cancelling stops all generation.
    """
    runner = Runner(pipeline, models=models, settings=settings, on_event=on_event)
    values = fill_inputs(pipeline, inputs).values if pipeline.inputs or inputs else {}
    await runner.open()
    session = runner.session
    number = None if store is None else _begin_run(store, pipeline, values, session)
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
            await _store_result(store, number, result)
    except UnexpectedError as error:
        result = replace(result, error=result.error or error)
        store.end_run(number, "failed", error_record(error))
    return result


class Runner:
    """A pipeline prepared to be run on many rows. Make it inside the event loop.

    `model` answers steps that name none; without it, the models' default does.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        models: ClientProvider,
        settings: RunSettings | None = None,
        on_event: OnEvent | None = None,
        model: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.session = Session(pipeline.project, models, settings or RunSettings(), on_event)
        self._model = model

    async def open(self) -> None:
        """Check the requirements and open the models. Raises what `run` raises before its first request."""
        await check_requirements(self.pipeline, self.session, model=self._model)

    async def run(self, values: Mapping[str, Any], *, sample: str = "0") -> Result:
        """Run once. `values` holds a value for each input, as `fill_inputs` returns them. `sample` numbers repeated
        runs of one row.

        Errors are in `result.error`; an unforeseen exception is an UnexpectedError there.
        """
        pipeline, session = self.pipeline, self.session
        pipeline_run = PipelineRun(pipeline, session, sample=sample, model=self._model)
        trace = Trace(name=pipeline.name, kind="run", started=session.now())
        output: Any = None
        error: PromptkitError | None = None
        try:
            with catching_unexpected():
                async with sharing_toolsets():
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
            totals=sum_totals(trace.nodes(), trace.seconds),
            trace=trace,
            answered=session.answered,
            notices=session.notices,
            error=error,
        )


def _begin_run(store: Store, pipeline: Pipeline, values: Mapping[str, Any], session: Session) -> int:
    return store.begin_run(session.settings.kind, pipeline.name, model=model_record(session), inputs=plain(values))


def model_record(session: Session) -> dict[str, Any]:
    """Return the first model of a session as the store keeps it with a run; empty where there is none."""
    models = ({"reference": model.reference, "digest": model.digest} for model in session.answered.values())
    return next(models, {})


async def _store_result(store: Store, number: int, result: Result) -> None:
    """Store the calls, then the end of the run."""
    await store.save_calls(number, stored_calls(result.trace))
    if result.error is None:
        store.end_run(number, "done", result.record())
    else:
        store.end_run(number, "failed", {**result.record(), **error_record(result.error)})


def error_record(error: PromptkitError) -> dict[str, str]:
    """Return an error as the store keeps it with a run."""
    record = {"error": str(error)}
    return {**record, "traceback": error.traceback} if isinstance(error, UnexpectedError) else record


class PipelineRun:
    """One run of a pipeline or sub-pipeline. `prefix` precedes the names of its steps in events."""

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
        """Run and return the output. Raises the error that ends the run; the trace has all that was finished."""
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
        """Return the result of each step that started, in the pipeline's order."""
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
        step_run = StepRun(step, session, path=path, model=self._model, run_pipeline=_run_sub_pipeline)
        try:
            with catching_unexpected():  # here too: SystemExit in a task would end the event loop
                outcome = await step_run.run(ExecutionContext(self._scope, self._absent, trace, self._sample))
        except BaseException as raised:
            error = first_error(raised)
            trace.status = "failed"
            trace.seconds = session.now() - trace.started
            if isinstance(error, PromptkitError):
                trace.problem = str(error)
                self._report(path, trace)
            raise error from None
        trace.seconds = session.now() - trace.started
        trace.status, trace.value = outcome.status, outcome.value
        # The step of a prompt may have an input's name. Its result may replace the input: only the output reads it.
        self._scope[step.name] = outcome.value
        self._scope[STEPS][step.name] = {"status": outcome.status, "tool_calls": tool_call_records(trace.nodes())}
        if outcome.value is None and outcome.status in ("skipped", "failed"):
            self._absent.add(step.name)
        self._report(path, trace)

    def _report(self, path: str, trace: Trace) -> None:
        if self._session.listens:
            self._session.emit(StepFinished(step=path, result=step_result(trace)))


async def _run_sub_pipeline(
    pipeline: Pipeline, values: Mapping[str, Any], step: StepRun, here: ExecutionContext
) -> Any:
    """Run a sub-pipeline as a step."""
    inner = PipelineRun(
        pipeline, step.session, sample=here.sample, prefix=f"{step.path}.", model=pipeline.model or step.model
    )
    trace = Trace(name=pipeline.name, kind="pipeline")
    here.trace.children.append(trace)
    trace.value = await inner.run(fill_inputs(pipeline, values).values if pipeline.inputs else {}, trace)
    return trace.value


def _set_waits(run: Trace, needs: Mapping[str, set[str]], traces: Mapping[str, Trace]) -> None:
    """Set how long each step alone kept other steps, or the end of the run, waiting."""
    ends = {name: trace.started + trace.seconds for name, trace in traces.items()}
    for names in (*(needs[name] for name in traces), set(traces)):
        ordered = sorted((name for name in names if name in ends), key=ends.__getitem__)
        if not ordered:
            continue
        last = ordered[-1]
        before = ends[ordered[-2]] if len(ordered) > 1 else run.started
        traces[last].waited = max(traces[last].waited, ends[last] - max(before, traces[last].started))


BATCH = "batch"
"""The kind of such a run in the store."""


class Batch:
    """One run of a pipeline on the rows of a file. As a context manager it starts and ends the run in the store.

    Entering raises what `run` raises before its first request; then no run is kept. `totals` covers the finished rows.
    """

    def __init__(self, runner: Runner, store: Store, *, file: str, rows: int) -> None:
        self.number = 0
        self.rows = rows
        self.answered = self.failed = 0
        self.totals = Totals()
        self._runner = runner
        self._store = store
        self._file = file
        self._started = monotonic()

    async def __aenter__(self) -> Self:
        await self._runner.open()
        pipeline, model = self._runner.pipeline, model_record(self._runner.session)
        inputs = {"file": self._file, "rows": self.rows, "output_keys": plain(pipeline.output_keys)}
        self.number = self._store.begin_run(BATCH, pipeline.name, model=model, inputs=inputs)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "interrupted" if error else "incomplete" if self.failed else "done"
        self._store.end_run(self.number, status, self.record())

    async def run(self, row: int, values: Mapping[str, Any], fields: Mapping[str, Any]) -> Result:
        """Run on a row and store the result. `values` are its inputs, `fields` all fields of the row.

        Errors are in `result.error`.
        """
        result = replace(await self._runner.run(values), run=self.number)
        record = {"fields": plain(fields), **result.record(), "trace": trace_record(result.trace)}
        if result.error is not None:
            record |= error_record(result.error)
        await self._store.batches.save(self.number, row, record, failed=result.error is not None)
        self.answered += result.error is None
        self.failed += result.error is not None
        self.totals = add_totals(self.totals, totals_record(result.totals))
        return result

    def record(self) -> dict[str, Any]:
        """Return the totals of the batch so far as JSON-able data."""
        return _summary(
            self.rows, self.answered, self.failed, replace(self.totals, seconds=monotonic() - self._started)
        )


def batch_record(run: Run, store: Store) -> Mapping[str, Any]:
    """Return the totals of a batch; those of one that was killed or still runs are computed from its rows."""
    if run.record:
        return run.record
    rows, failed = store.batches.count(run.number)
    totals = Totals()
    for _, row in store.batches.rows(run.number):
        totals = add_totals(totals, row["totals"])
    return _summary(run.inputs["rows"], rows - failed, failed, totals)


def _summary(rows: int, answered: int, failed: int, totals: Totals) -> dict[str, Any]:
    return {"rows": rows, "answered": answered, "failed": failed, "totals": totals_record(totals)}
