"""`StepTools`: all that a technique can use besides the model, such as the sandbox, a table or the documents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from promptkit.errors import ToolFailed, Unsupported
from promptkit.techniques.context import Exchange, ToolCall
from promptkit.techniques.step_view import StepView

if TYPE_CHECKING:
    from promptkit.tools.python import Execution
    from promptkit.tools.search import Documents, Passage
    from promptkit.tools.tables import Selection, Table


class StepTools(StepView):
    """A step with what its technique can run, query, call and search."""

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

    async def tool(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call one of the step's tools, and record the call. Raises KeyError for an unknown one, and ToolFailed."""
        called = self._step.tools[name]
        try:
            result = called(arguments)
            result = await result if inspect.isawaitable(result) else result
        except ToolFailed as error:
            self.record_tool_call(name, arguments, failure=str(error))
            raise
        self.record_tool_call(name, arguments, result)
        return result

    def record_tool_call(
        self, name: str, arguments: Mapping[str, Any], result: Any = None, *, failure: str | None = None
    ) -> None:
        """Add a call to the trace that `tool` did not make: another action of the model, or one that cannot be made."""
        self._step.record_tool(ToolCall(name=name, arguments=dict(arguments), result=result, failure=failure))

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
