"""`StepTools`: all that a technique sees of its step and can use besides the model, such as the sandbox or a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers.base import AnswerType
from promptkit.errors import InputError, ToolFailed, ToolRefused, Unsupported, WrongArguments, nearest
from promptkit.prompts.prompt import Example, WrittenExample
from promptkit.runtimes.base import FunctionCall, Model
from promptkit.storage.strict_json import compact
from promptkit.techniques.artifacts import Artifact
from promptkit.techniques.calls import CallSpec, read_call
from promptkit.techniques.context import Exchange, StepContext, ToolCall
from promptkit.techniques.function_calls import (
    LONGEST_NAME,
    CallResult,
    call_result,
    function_name,
    making_call,
    read_arguments,
    shown_arguments,
)
from promptkit.techniques.levels import level
from promptkit.techniques.requests import cue_of, example_types, is_sample, written_examples
from promptkit.techniques.roles import SECTION, bind
from promptkit.techniques.spec import ConfiguredTechnique, read_demos
from promptkit.techniques.warnings import TechniqueWarning
from promptkit.tools.arguments import argument_fault, typed_arguments
from promptkit.tools.backends import Backend
from promptkit.tools.base import Tool
from promptkit.tools.results import bounded_result

if TYPE_CHECKING:
    from promptkit.tools.python import Execution
    from promptkit.tools.search import Documents, Passage
    from promptkit.tools.tables import Selection, Table

TOOL_SECONDS: Final = 60.0
"""The time that a call of a tool may take where the step has no `timeout`."""


class StepTools:
    """A technique's view of one execution of a step, with what the technique can run, query, call and search.

    `inputs` are the prompt's values, `answer_type` is the type of the answer, `examples` are the user's, `params` the
    parameters that the step gave.
    """

    def __init__(self, step: StepContext, chosen: ConfiguredTechnique) -> None:
        self._chosen = chosen
        self._technique = chosen.technique.name
        self._bound = bind(chosen.technique.roles, chosen.roles, step.inputs)
        given = {name: step.replaced[role] for role, name in self._bound.items() if name and role in step.replaced}
        self._step = replace(step, values={**step.values, **given}, warn=self._warn_of(step))
        self.params = chosen.parameters

    def _warn_of(self, step: StepContext) -> Callable[[Sequence[str]], None]:
        """Return the step's `warn`, with this technique's name on each warning that has none yet."""
        return lambda names: step.warn(TechniqueWarning.of(self._technique, names))

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self._step.values

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the prompt's inputs, including those left out."""
        return tuple(dict.fromkeys((*self._step.inputs, *self._step.values)))

    @property
    def answer_type(self) -> AnswerType:
        return self._step.answer

    @property
    def programs(self) -> Backend:
        """The backend of the sandbox in which the step's programs run."""
        return self._step.programs

    @property
    def examples(self) -> tuple[Example, ...]:
        return self._step.examples

    @property
    def examples_think(self) -> bool:
        """True if the user's examples show thoughts, so that a call that thinks needs no trigger."""
        return any(example.thoughts for example in self._step.examples)

    @property
    def written_examples(self) -> tuple[WrittenExample, ...]:
        """The user's examples as a model reads them: the input section, the thoughts, and the written answer."""
        return written_examples(self._step)

    @property
    def example_types(self) -> tuple[AnswerType, ...]:
        """The answer type of each of the user's examples; it may differ by row."""
        return example_types(self._step)

    @property
    def decides(self) -> bool:
        """True if a request of its own decides the answer after thoughts: `decide` is not `generate`."""
        return self._step.decide != "generate"

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The step's tools by name."""
        return self._step.tools

    @property
    def has_guard(self) -> bool:
        """True if the step has a guard for `check`."""
        return self._step.guard is not None

    @property
    def has_documents(self) -> bool:
        """True if there are documents for `retrieve` to search."""
        return bool(self.role("documents") or self._chosen.documents)

    @property
    def artifact(self) -> Artifact | None:
        """The artifact that this technique prepared for this step, if any."""
        return self._step.artifacts.get(self._technique)

    @property
    def artifact_name(self) -> str:
        """`PIPELINE.STEP.TECHNIQUE`: the name of the artifact's file without its ending."""
        return f"{self._step.home}.{self._technique}"

    async def can(self, capability: str) -> bool:
        """Tell whether the runtime has a capability (`logprobs`, `embeddings`)."""
        return capability in (await self.model()).capabilities

    async def model(self) -> Model:
        """Return the model that answers the step."""
        return await self._step.client.model()

    def notice(self, text: str) -> None:
        """Show a line to the person who runs the step, once in a run."""
        self._step.notice(text)

    def role(self, name: str) -> Any:
        """Return the value of the input that plays a role, for `question` else the input section; None without one."""
        bound = self._bound.get(name)
        if bound is not None:
            return self._step.values.get(bound)
        return self.section("input") if name == SECTION and name in self._bound else None

    def section(self, name: str) -> str:
        """Return one of the user's sections, rendered; an empty text if there is none."""
        sections = self._step.prompt.sections(self._step.values, layers=self._step.layers, only=(name,))
        return sections.get(name, "")

    def cue(self, call: str) -> str:
        """Return a call's cue, the words that its answer follows; in the template of a thinking call `call.cue`."""
        return cue_of(self._step, self._call(call))

    def _role_values(self) -> dict[str, Any]:
        return {name: self.role(name) for name in self._bound}

    def demonstrations(self, call: str) -> tuple[Mapping[str, Any], ...]:
        """Return a call's demonstrations: the step's, else the technique's where they suit the step's answer type."""
        if self._chosen.demos.get(call) is not None:
            return self.own_demos(call)
        return self._call(call).demos_of(self.answer_type.name)

    @property
    def own_demo_names(self) -> tuple[str, ...]:
        """The names under which the step gives demonstrations: calls, and parts of one (`handler.NAME`)."""
        return tuple(self._chosen.demos)

    def own_demos(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """Return the demonstrations that the step gives under a name, if any. Raises InputError."""
        given = self._chosen.demos.get(name)
        return () if given is None else read_demos(given, self._step.folder)

    @property
    def _sampled(self) -> bool:
        """True if this execution is a sample of an enclosing technique."""
        return is_sample(self._step)

    def _call(self, name: str) -> CallSpec:
        files = self._chosen.technique.calls_by_name
        if name not in files:
            raise InputError(f"technique `{self._technique}` has no template `{name}.j2`", hint=nearest(name, files))
        return read_call(files[name])

    async def code(
        self,
        program: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        of: Exchange | None = None,
    ) -> Execution:
        """Run a program in the sandbox; its last expression is its value. A failure is noted at `of` in the trace."""
        from promptkit.tools.python import run_python

        execution = await run_python(program, inputs=inputs, functions=functions, backend=self.programs)
        if of is not None and execution.failure:
            self.note(of, f"the program failed ({execution.failure.kind}): {execution.failure.message}")
        return execution

    async def sql(self, table: Table, query: str, *, of: Exchange | None = None) -> Selection:
        """Query a table, called `w` and with a `row_id`, by read-only SQL. Raises QueryFailed, noted at `of`."""
        from promptkit.tools.tables import QueryFailed, run_query

        try:
            return await run_query(table, query)
        except QueryFailed as error:
            if of is not None:
                self.note(of, f"the query failed: {error}")
            raise

    async def tool(self, name: str, arguments: Mapping[str, Any], *, call_id: str = "") -> Any:
        """Call one of the step's tools, and record the call. Returns its result as JSON data.

        A call ends at the step's `timeout`, or after TOOL_SECONDS. The result has no control characters. One of more
        than LONGEST_RESULT characters is returned as a text that is cut, and says so. `call_id` is the model's for the
        call.

        Raises KeyError for an unknown tool, WrongArguments for arguments that do not fit its parameters, ToolRefused
        for a tool that the pipeline does not allow, and ToolFailed.
        """
        called = self._step.tools[name]
        call = ToolCall(name=name, arguments=dict(arguments), id=call_id, level=level())
        self._step.record_tool(call)
        try:
            with making_call(call, called, self._step.allow):
                call.result = await self._result_of(called, arguments)
        finally:
            self._step.tool_finished(call)
        return call.result

    async def _result_of(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        """Return a tool's result, bounded in time and size. Raises WrongArguments for those that do not fit."""
        if fault := argument_fault(tool.parameters, arguments):
            raise WrongArguments(fault)
        seconds = self._step.options.timeout or TOOL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                result = await tool.call(arguments)
        except TimeoutError:
            raise ToolFailed(f"`{tool.name}` gave no result within {seconds:g} seconds") from None
        if isinstance(result, str | int | float):
            return bounded_result(result, tool.name)
        return await asyncio.to_thread(bounded_result, result, tool.name)  # large data takes long to write as JSON

    @cached_property
    def functions(self) -> Mapping[str, str]:
        """The step's tools by the names under which a model is offered them: `mcp_github_find` for `mcp:github/find`.

        A function's name has only letters, digits, `_` and `-`, at most 64 of them.
        """
        found: dict[str, str] = {}
        for name in self.tools:
            function, number = function_name(name), 1
            while function in found:
                number += 1
                function = f"{function[: LONGEST_NAME - 4]}_{number}"
            found[function] = name
        return found

    async def run_call(self, call: FunctionCall) -> CallResult:
        """Call the tool that a reply calls, and return the turn with its result, or with the reason why it has none.

        Never raises for what the model or the tool did wrong: the turn says it, and the result its `problem`.
        """
        name = self.functions.get(call.name)
        if name is None:
            written = shown_arguments(call)
            self.record_tool_call(call.name, written, failure="there is no such tool", call_id=call.id)
            return call_result(call, "unknown", tool=call.name[:LONGEST_NAME], tools=list(self.functions))
        parameters = self.tools[name].parameters
        try:
            arguments = typed_arguments(parameters, read_arguments(call.arguments))
        except ValueError as error:
            self.record_tool_call(name, {}, failure=f"these are not its arguments: {error}", call_id=call.id)
            return call_result(call, "arguments", reason=str(error), schema=compact(parameters))
        try:
            return call_result(call, None, await self.tool(name, arguments, call_id=call.id))
        except WrongArguments as error:
            return call_result(call, "arguments", reason=str(error), schema=compact(parameters))
        except ToolRefused as error:
            return call_result(call, "refused", reason=str(error))
        except ToolFailed as error:
            return call_result(call, "failed", reason=str(error))

    def record_tool_call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        result: Any = None,
        *,
        failure: str | None = None,
        call_id: str = "",
    ) -> None:
        """Add a call to the trace that `tool` did not make: another action of the model, or one that cannot be made."""
        call = ToolCall(name=name, arguments=dict(arguments), result=result, failure=failure, id=call_id, level=level())
        self._step.record_tool(call)
        self._step.tool_finished(call)

    async def retrieve(self, query: str, count: int = 3) -> list[Passage]:
        """Return the passages of the step's documents that match a query best. Raises Unsupported without documents."""
        return self._documents.retrieve(query, count)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector of each text: the model's embedding where these are good, else by TF-IDF, with a notice."""
        model = await self._step.client.model()
        if model.embeds_well:
            return await self._step.client.embed(texts)
        self._step.notice(f"{model.reference} has no good embeddings: texts are compared by their words (TF-IDF)")
        from promptkit.prompts.tfidf import word_vectors

        return word_vectors(texts)

    def note(self, exchange: Exchange, text: str) -> None:
        """Add a note about a reply to the trace."""
        exchange.record.notes = (*exchange.record.notes, text)

    @cached_property
    def _documents(self) -> Documents:
        from promptkit.tools.search import Documents

        given = self.role("documents")
        if given:
            return Documents.of(given)
        if self._chosen.documents:
            return Documents.read(self._step.folder / self._chosen.documents)
        raise Unsupported(f"technique `{self._technique}` has no documents to search")
