"""Function calling: the model calls the step's tools in the form that it was trained to, as often as it needs."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.runtimes.base import FunctionCall, Message
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.function_calls import CallProblem, CallResult, call_key, call_result, shown_arguments
from promptkit.techniques.parameters import Count
from promptkit.techniques.registry import technique
from promptkit.techniques.requests import ToolChoice
from promptkit.techniques.task import Task

MOST_IDLE = 3
"""Rounds in a row in which no tool is called, after which the model answers without tools."""
WRONG = frozenset({"arguments", "unknown"})
"""Problems of calls that a model can repair by writing them otherwise."""


@technique(needs={"tools"}, calls="2 * rounds", requests="2 * rounds + decided")
async def function_calling(
    task: Task, *, rounds: Count = 8, calls: Count = 32, tool_choice: ToolChoice = "auto"
) -> Answer:
    """Let the model call the step's tools by its own function calling, up to an answer (Schick et al. 2023).

    A round is a reply with calls, and `calls` bounds the calls of all rounds. Under the `tool_choice` `required` the
    first reply must call a tool; where the runtime cannot enforce that, one without a call has a warning. Where the
    model does not call functions, `react` calls the tools, in at most `rounds` steps.
    """
    if not await task.can("function_calls"):
        model = await task.model()
        task.notice(f"{model.reference} does not call functions: `react` calls the tools instead")
        answer = await task.run({"react": {"steps": rounds}})
        return answer.with_extra(technique="react")
    made = CallRounds(task, calls)
    exchange = await task.ask("call", functions=task.tools, tool_choice=tool_choice, past_cue=True)
    if tool_choice == "required" and not exchange.calls:
        task.warn("no_call")
    while exchange.calls:
        turns = await made.run(exchange)
        if made.rounds == rounds or made.is_over:
            last = await task.ask("last", after=exchange, turns=turns, past_cue=True)
            return (await task.decide(last, directly=True)).with_extra(rounds=made.rounds, capped=True)
        exchange = await task.follow(exchange, turns, functions=task.tools)
    return (await task.decide(exchange, directly=True)).with_extra(rounds=made.rounds)


class CallRounds:
    """The rounds of calls of one step: which were made, and whether more may be. `is_over` once no more may."""

    def __init__(self, task: Task, most: int) -> None:
        self._task = task
        self._left = most
        self._seen: set[tuple[str, str]] = set()
        self._repaired = False
        self._idle = 0
        self.rounds = 0
        self.is_over = False

    async def run(self, exchange: Exchange) -> list[Message]:
        """Make the calls of a reply concurrently, and return a turn for each, in their order."""
        self.rounds += 1
        refusals = [self._refusal(call) for call in exchange.calls]
        results = await self._task.each(self._run_one, zip(exchange.calls, refusals, strict=True))
        wrong = (
            call_key(call) for call, result in zip(exchange.calls, results, strict=True) if result.problem in WRONG
        )
        self._seen.difference_update(wrong)  # made again, such a call gets its message again
        self._note([result.problem for result in results])
        return [result.turn for result in results]

    def _refusal(self, call: FunctionCall) -> CallProblem | None:
        """Return the reason why a call is not made: it was made before, or there were too many."""
        key = call_key(call)
        if key in self._seen:
            return "repeated"
        self._seen.add(key)
        if self._left == 0:
            return "too_many"
        self._left -= 1
        return None

    async def _run_one(self, planned: tuple[FunctionCall, CallProblem | None]) -> CallResult:
        call, refusal = planned
        if refusal is None:
            return await self._task.run_call(call)
        failure = "was made before" if refusal == "repeated" else "was one call too many"
        name = self._task.functions.get(call.name, call.name)
        self._task.record_tool_call(name, shown_arguments(call), failure=failure, call_id=call.id)
        return call_result(call, refusal)

    def _note(self, problems: Sequence[CallProblem | None]) -> None:
        """Warn of what went wrong in a round. Wrong calls have one round in which the model may repair them."""
        found = set(problems)
        if "failed" in found:
            self._task.warn("tool_failed")
        if "refused" in found:
            self._task.warn("tool_refused")
        if found & WRONG:
            if self._repaired:
                self._task.warn("wrong_arguments")
            self._repaired = True
        self._idle = self._idle + 1 if found <= {"repeated", *WRONG} else 0
        self.is_over = self._idle == MOST_IDLE or "too_many" in found
