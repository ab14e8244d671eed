"""The run of one step: its condition, items, rounds, guard and repairs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import ForEach, Pipeline, PromptCall, Repeat, Step, StepTool
from promptkit.engine.results import Status, Trace
from promptkit.engine.row_examples import row_examples
from promptkit.engine.scope import INDEX, PREVIOUS, RESULT, ROUND, CompiledValue, ItemResults, Scope, with_place
from promptkit.engine.session import CallFinished, ItemFinished, Session, StepStarted, TextArrived, ToolCalled
from promptkit.engine.step_settings import resolve_model
from promptkit.engine.toolsets import open_tools, without_toolsets
from promptkit.errors import (
    CodeFailed,
    InputError,
    Problem,
    PromptkitError,
    RuntimeFailure,
    StrictWarning,
    ToolFailed,
    UnparsedAnswer,
    catching_unexpected,
)
from promptkit.prompts.conversation import messages_fault, read_messages
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.storage.strict_json import plain
from promptkit.techniques.artifacts import read_artifact
from promptkit.techniques.context import Answer, CallRecord, StepContext, ToolCall
from promptkit.techniques.function_calls import making_call
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.warnings import TechniqueWarning, merged_sources, warning_text
from promptkit.tools.arguments import argument_fault, typed_arguments
from promptkit.tools.functions import FunctionTool

RECOVERABLE = (RuntimeFailure, CodeFailed, UnparsedAnswer, StrictWarning, InputError)
MAX_CONCURRENT_ITEMS = 1_000
"""Items or rows that run concurrently: more than any server answers at once, few enough for a task each."""

RunPipeline = Callable[[Pipeline, Mapping[str, Any], "StepRun", "ExecutionContext"], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    status: Status
    value: Any = None


SKIPPED = StepOutcome("skipped")


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """The context in which a step runs: its scope, the names in it without a result, and the trace node of its calls.

    `item` is the index in the list of a `for_each`.
    """

    scope: Scope
    absent: Set[str]
    trace: Trace
    sample: str
    item: int | None = None

    def having(self, **names: Any) -> ExecutionContext:
        """Return a copy with further names in scope."""
        return replace(self, scope={**self.scope, **names})


class StepRun:
    """One run of one step. `path` is its name, preceded by those of the steps around its pipeline."""

    def __init__(
        self, step: Step, session: Session, *, path: str, model: str | None, run_pipeline: RunPipeline
    ) -> None:
        self.step = step
        self.session = session
        self.path = path
        self.model = step.model or model
        self._run_pipeline = run_pipeline

    async def run(self, here: ExecutionContext) -> StepOutcome:
        """Run the step and return its outcome. Raises errors that end the run."""
        step = self.step
        try:
            if step.when is not None and not step.when_by_item and not self._holds(step.when, here, "when"):
                return SKIPPED
            if step.for_each is not None:
                rows = self._rows(step.for_each, here)
                return SKIPPED if rows is None else await self._each(rows, here)
        except InputError as error:
            return self._failed(error, here)
        self.session.emit(StepStarted(step=self.path))
        return await self._item(here)

    def _rows(self, loop: ForEach, here: ExecutionContext) -> list[dict[str, Any]] | None:
        """Return the names of each item with their values; None where a list comes from a step without a result."""
        lists: dict[str, list[Any]] = {}
        for name, value in loop.lists.items():
            found = value.evaluate(here.scope, here.absent)
            if found is None and value.names & here.absent:
                return None
            if not isinstance(found, list | tuple):
                raise self._wrong(f"`for_each` must be a list, not {found!r:.60}")
            lists[name] = list(found)
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            sizes = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise self._wrong(f"the lists of `for_each` are of unequal length: {sizes}")
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]

    async def _each(self, rows: list[dict[str, Any]], here: ExecutionContext) -> StepOutcome:
        """Run the items, at most MAX_CONCURRENT_ITEMS at a time. Results are in the items' order."""
        self.session.emit(StepStarted(step=self.path, items=len(rows)))
        outcomes = [SKIPPED] * len(rows)
        waiting = enumerate(rows)

        async def work() -> None:
            for number, row in waiting:
                trace = Trace(name=f"{self.step.name}[{number}]", kind="item")
                here.trace.children.append(trace)
                outcomes[number] = await self._numbered(number, row, trace, here)

        async with asyncio.TaskGroup() as group:
            for _ in rows[:MAX_CONCURRENT_ITEMS]:
                group.create_task(work())
        here.trace.problem = next((trace.problem for trace in here.trace.children if trace.problem), None)
        loop = self.step.for_each
        items = [next(iter(row.values())) for row in rows] if loop and loop.is_single else rows
        return StepOutcome(_combined_status(outcomes), ItemResults([outcome.value for outcome in outcomes], items))

    async def _numbered(
        self, number: int, row: Mapping[str, Any], trace: Trace, outer: ExecutionContext
    ) -> StepOutcome:
        now = self.session.now
        trace.started = now()
        missing = {name for name, value in row.items() if value is None}
        outcome = await self._item(
            ExecutionContext(
                scope={**outer.scope, **row, INDEX: number},
                absent=outer.absent | missing if missing else outer.absent,
                trace=trace,
                sample=outer.sample,
                item=number,
            )
        )
        trace.seconds = now() - trace.started
        trace.status, trace.value = outcome.status, outcome.value
        self.session.emit(ItemFinished(step=self.path, item=number, value=outcome.value))
        return outcome

    async def _item(self, here: ExecutionContext) -> StepOutcome:
        step = self.step
        try:
            with catching_unexpected():
                if step.when is not None and step.when_by_item and not self._holds(step.when, here, "when"):
                    return SKIPPED
                return await (self._once(here) if step.repeat is None else self._rounds(step.repeat, here))
        except RECOVERABLE as error:
            return self._failed(error, here)

    def _failed(self, error: PromptkitError, here: ExecutionContext) -> StepOutcome:
        """Return the outcome that `on_error` prescribes. Raises the error, with its place, where that ends the run."""
        error = with_step_name(error, self.step, here.item)
        here.trace.problem, here.trace.status = str(error), "failed"
        if self.step.on_error.ends_run:
            raise error
        here.trace.failure = error
        return StepOutcome("failed", self.step.on_error.default)

    async def _rounds(self, repeat: Repeat, here: ExecutionContext) -> StepOutcome:
        now = self.session.now
        outcome = StepOutcome("done", repeat.start.evaluate(here.scope, here.absent))
        for count in range(1, repeat.limit + 1):
            trace = Trace(name=f"round {count}", kind="round", started=now())
            here.trace.children.append(trace)
            # Rounds with equal prompts are different samples; the first is the sample of a step without rounds.
            sample = here.sample if count == 1 else f"{here.sample}.{count}"
            inner = replace(here, trace=trace, sample=sample).having(**{PREVIOUS: outcome.value, ROUND: count})
            outcome = await self._once(inner)
            trace.seconds = now() - trace.started
            trace.status, trace.value = outcome.status, outcome.value
            if outcome.status == "skipped":
                return outcome
            if repeat.until and self._holds(repeat.until, inner.having(**{RESULT: outcome.value}), "until"):
                return outcome
        return StepOutcome("capped" if repeat.until else "done", outcome.value)

    async def _once(self, here: ExecutionContext) -> StepOutcome:
        """Ask, call or run once. Skips the step where an input lacks another step's result."""
        step, scope, absent = self.step, here.scope, here.absent
        values: dict[str, Any] = {}
        for name, argument in step.arguments.items():
            values[name] = argument.evaluate(scope, absent)
            if values[name] is None and argument.names & absent:
                return SKIPPED
        for name in step.filled:
            if name in absent:
                return SKIPPED
            values[name] = scope[name]
        if step.prompt_call is not None:
            return StepOutcome("done", await self._ask(values, here))
        if step.tool is not None:
            value = await self._call_tool(step.tool, values, here)
        else:
            assert step.pipeline is not None, "a step has a prompt, a tool or a pipeline"
            value = await self._run_pipeline(step.pipeline, values, self, here)
        problem = self._guarded(value, here)
        if problem is not None:
            raise ToolFailed(f"the result does not pass the guard: {problem}")
        return StepOutcome("done", value)

    async def _call_tool(self, named: StepTool, values: Mapping[str, Any], here: ExecutionContext) -> Any:
        """Call the step's tool and record the call. Raises ToolFailed, and InputError for arguments that do not fit.

        The arguments of a Python function are its own affair.
        """
        session = self.session
        opened = await open_tools(
            {named.name: named.tool},
            root=session.project.root,
            allow=self.step.allow,
            client_of=session.client,
            notice=session.notice,
        )
        tool = next(iter(opened.values()))
        if not isinstance(tool, FunctionTool):
            values = typed_arguments(tool.parameters, values)
            if fault := argument_fault(tool.parameters, values):
                raise self._wrong(f"arguments of the tool `{named.name}`: {fault}")
        call = ToolCall(name=tool.name, arguments=values)
        here.trace.tool_calls.append(call)
        with making_call(call, tool, self.step.allow):
            call.result = await tool.call(values)
        return call.result

    async def _ask(self, values: dict[str, Any], here: ExecutionContext) -> Any:
        context = await step_context(
            self.step, self.session, path=self.path, model=self.model, values=values, here=here
        )
        if self.step.guard is not None:
            context = replace(context, guard=lambda value: self._guarded(value, here))
        assert self.step.prompt_call is not None, "only a step that asks has a technique"
        answer = await perform(self.session.technique(self.step.prompt_call), context)
        problem = self._problem(answer, here)
        repairs = context.repairs
        while problem is not None and repairs > 0 and answer.last is not None:
            answer = await repair(context, answer, problem)
            context.warn(answer.warnings)
            problem = self._problem(answer, here)
            repairs -= 1
        here.trace.extra = plain(answer.extra)
        here.trace.truncated += answer.flag == "truncated"
        self._refuse_warnings(here.trace)
        if problem is None:
            return answer.value
        here.trace.problem = problem
        cut_only = answer.flag == "truncated" and answer.value is not None
        if cut_only and self._guarded(answer.value, here) is None:
            return answer.value
        here.trace.unparsed += 1
        raise UnparsedAnswer(problem)

    def _refuse_warnings(self, trace: Trace) -> None:
        """Raise StrictWarning where the trace has a warning that is to be an error."""
        assert self.step.prompt_call is not None, "only a step that asks has warnings"
        strict = self.step.prompt_call.strict | self.session.settings.strict_on
        found = [*trace.warnings, *(name for call in trace.calls for name in call.warnings)] if strict else []
        refused = [name for name in dict.fromkeys(found) if name in strict]
        if refused:
            texts = [f"{warning_text(name, trace.warned_by)} (`{name}` is an error here)" for name in refused]
            hint = "--trace shows the calls; try another technique or setting, or allow the warning"
            raise StrictWarning(", ".join(texts), hint=hint)

    def _problem(self, answer: Answer, here: ExecutionContext) -> str | None:
        """Return the problem with an answer that has no value, was cut off or fails the guard; None without one."""
        if answer.flag in ("unparsed", "truncated") or (answer.flag and answer.value is None):
            return answer.problem or f"the answer is {answer.flag}"
        return self._guarded(answer.value, here)

    def _guarded(self, value: Any, here: ExecutionContext) -> str | None:
        """Return the guard's message for a result that fails it, else None."""
        guard = self.step.guard
        if guard is None:
            return None
        seen = here.having(**{RESULT: value})
        return None if self._holds(guard.test, seen, "guard") else str(guard.say.evaluate(seen.scope, seen.absent))

    def _holds(self, test: CompiledValue, here: ExecutionContext, key: str) -> bool:
        """Return the boolean value of a test. A test that lacks a step's result is false."""
        found = test.evaluate(here.scope, here.absent)
        if isinstance(found, bool):
            return found
        if found is None and test.names & here.absent:
            return False
        raise self._wrong(f"`{key}` must be true or false, not {found!r:.60}")

    def _wrong(self, message: str) -> InputError:
        return InputError(replace(self.step.place, message=f"step `{self.step.name}`: {message}"))


def with_step_name(error: PromptkitError, step: Step, number: int | None) -> PromptkitError:
    """Return the error with the step's name, and the item, in its message."""
    if isinstance(error, InputError):
        return with_place(error, step.place)
    where = f"step `{step.name}`" if number is None else f"step `{step.name}`, item {number}"
    if not error.message.startswith(f"{where}: "):
        error.message = f"{where}: {error.message}"
    return error


def _combined_status(outcomes: list[StepOutcome]) -> Status:
    """Return a step's status from its items': the worst of them, and skipped only where all are."""
    statuses = {outcome.status for outcome in outcomes}
    if statuses == {"skipped"}:
        return "skipped"
    return "failed" if "failed" in statuses else "capped" if "capped" in statuses else "done"


async def step_context(
    step: Step, session: Session, *, path: str, model: str | None, values: Mapping[str, Any], here: ExecutionContext
) -> StepContext:
    """Return the technique's context for one prompt call. Raises InputError, placed at the step, for a wrong value."""
    call = step.prompt_call
    assert call is not None, "only a step that asks has a context"
    values = {**call.prompt.defaults, **values}

    def record(call: CallRecord) -> None:
        here.trace.calls.append(call)
        session.emit(CallFinished(step=path, item=here.item, call=call))

    def warn(names: Sequence[str]) -> None:
        found = TechniqueWarning.of(session.technique(call).technique.name, names)
        here.trace.warnings = tuple(dict.fromkeys([*here.trace.warnings, *map(str, found)]))
        sources = ({str(warning): [warning.technique]} for warning in found)
        here.trace.warned_by = merged_sources((here.trace.warned_by, *sources))

    def on_text(request: Request, text: str) -> None:
        session.emit(TextArrived(step=path, item=here.item, request=request, text=text))

    async def client_of(reference: str) -> Client:
        resolved = resolve_model(reference, call.technique_folder, session.project)
        return await session.client(resolved, uses_cache=step.uses_cache, timeout=call.options.timeout)

    # Before the model is loaded, so that it is loaded once.
    adapter = None if call.adapter is None else await session.adapter(call.adapter, model)
    client = await session.client(model, uses_cache=step.uses_cache, timeout=call.options.timeout)
    examples = await row_examples(call.examples, values, client, client_of=session.client, notice=session.notice)
    if call.examples.nearest is not None:
        here.trace.examples = tuple(example.number for example in examples)
    answer, example_answers = _answer_types(step, values, examples, here)
    tools = without_toolsets(call.tools, session.notice) if session.dry else call.tools
    return StepContext(
        prompt=call.prompt,
        values=values,
        answer=answer,
        client=client,
        adapter=adapter,
        project=session.project,
        inputs=call.inputs,
        folder=call.technique_folder,
        home=call.home,
        artifacts={name: made for name, file in call.artifacts.items() if (made := read_artifact(file))},
        decide=call.decide,
        head=None if call.head is None else await session.head(call, await client.model()),
        repairs=session.settings.repairs if step.repairs is None else step.repairs,
        calibrate=call.calibrate,
        layout=call.layout,
        messages=call.messages,
        cue=call.cue,
        examples=examples,
        example_answers=example_answers,
        answer_of=_answer_type_for(step, values, here),
        examples_for=call.examples.shown,
        history=_history(call, values, step.place),
        options=call.options,
        programs=call.programs,
        tools=await open_tools(
            tools, root=session.project.root, allow=step.allow, client_of=client_of, notice=session.notice
        ),
        lacks_toolsets=len(tools) < len(call.tools),
        allow=frozenset() if session.dry else step.allow,
        models=call.models,
        client_of=client_of,
        sample=here.sample,
        strict=session.settings.strict,
        record=record,
        record_tool=here.trace.tool_calls.append,
        tool_finished=lambda made: session.emit(ToolCalled(step=path, item=here.item, call=made)),
        notice=session.notice,
        warn=warn,
        on_text=on_text if session.listens else None,
    )


def _answer_types(
    step: Step, values: Mapping[str, Any], examples: tuple[Example, ...], here: ExecutionContext
) -> tuple[AnswerType, tuple[AnswerType, ...]]:
    """Return the answer type of the row and, where types differ by row, that of each example."""
    assert step.prompt_call is not None
    answer = step.prompt_call.answer
    if isinstance(answer, AnswerType):
        return answer, ()
    scope = values if step.prompt_call.answer_in_prompt else here.scope
    number: int | None = None
    try:
        row_type, example_types = answer.of_row(scope, here.absent), []
        for example in examples:
            number = example.number
            example_types.append(answer.of_example(example, scope, here.absent))
    except InputError as error:
        if number is not None:
            problems = (replace(problem, message=f"example {number}: {problem.message}") for problem in error.problems)
            error = InputError(problems)
        raise with_place(error, step.place) from None
    return row_type, tuple(example_types)


def _answer_type_for(
    step: Step, values: Mapping[str, Any], here: ExecutionContext
) -> Callable[[Mapping[str, Any]], AnswerType] | None:
    """Return a function from inputs to their answer type, where types differ by row."""
    assert step.prompt_call is not None
    answer = step.prompt_call.answer
    if isinstance(answer, AnswerType):
        return None
    scope = values if step.prompt_call.answer_in_prompt else here.scope
    return lambda inputs: answer.of_example(Example(inputs, None), scope, here.absent)


def _history(call: PromptCall, values: Mapping[str, Any], place: Problem) -> tuple[Message, ...]:
    """Return the turns that go before the user's message: those of inputs of the type `messages` that no section
    reads, and of the input `history`, where it is a list. Raises InputError.
    """
    typed = {name for name, spec in call.inputs.items() if spec.type == "messages"}
    sent = [name for name in call.inputs if name in typed and name not in call.prompt.names()]
    if "history" not in typed and isinstance(values.get("history"), list | tuple):
        sent.append("history")
    found: list[Message] = []
    for name in sent:
        if fault := messages_fault(values.get(name, ())):
            raise with_place(InputError(f"the input `{name}` {fault}"), place)
        found += read_messages(values.get(name, ()))
    return tuple(found)
