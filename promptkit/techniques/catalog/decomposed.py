"""Decomposed prompting: a decomposer asks one simple question after the other, each answered by a handler."""

from typing import Any, Final

from promptkit.errors import ToolFailed
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.actions import arguments, takes
from promptkit.techniques.methods.programs import value_answer
from promptkit.techniques.methods.sub_questions import (
    DEFAULT,
    END,
    InvalidSubQuestion,
    SubQuestion,
    read_reply,
    read_sub_question,
)
from promptkit.techniques.parameters import Count
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

ITSELF: Final = "decompose"
OWN: Final = "handler."


@technique(needs={"stop"}, roles=["question"], calls="limit", requests="limit")
async def decomposed(task: Task, *, steps: Count = 10, depth: Count = 3, limit: Count = 20) -> Answer:
    """Ask one simple question after the other, each of a handler; the last answer is the answer (Khot et al. 2023).

    Handlers are the step's tools, those with demonstrations `handler.NAME`, `ask`, and `decompose`, which is this
    again, `depth` deep at most, and is offered where the demonstrations show it. `steps` bounds the questions of each,
    `limit` the requests in all.
    """
    asking, answers, problem = Decomposition(task, steps, limit), list[Any](), "no question was asked"
    try:
        await asking.solve(task, answers, depth)
    except InvalidSubQuestion as error:
        problem = str(error)
        if not asking.capped:
            answers.clear()
    if asking.capped:
        task.warn("capped")
    elif not asking.done:
        task.warn("no_sub_question")
    answer = value_answer(task, answers[-1]) if answers else task.no_answer(problem)
    answer = answer.with_extra(questions=asking.done)
    return answer.with_extra(capped=True) if asking.capped else answer


class Decomposition:
    """The questions of one answer. `done` are those that were answered; `capped` says that a bound ended them."""

    def __init__(self, task: Task, steps: int, limit: int) -> None:
        given = [name.removeprefix(OWN) for name in task.own_demo_names if name.startswith(OWN)]
        self._handlers = [*dict.fromkeys([*task.tools, *given, DEFAULT])]
        shown = f"[{ITSELF}]" in str(task.demonstrations("decompose"))
        self._offered = [*self._handlers, *([ITSELF] if shown else [])]
        self._steps = steps
        self._left = limit
        self.done: list[dict[str, Any]] = []
        self.capped = False

    async def solve(self, task: Task, answers: list[Any], depth: int) -> None:
        """Ask and answer the questions of a task's question, in order, into `answers`. Raises InvalidSubQuestion."""
        transcript: list[dict[str, Any]] = []
        context = {"C": [text for text in task.section("context").split("\n\n") if text]}
        for number in range(self._steps + 1):
            self._spend()
            reply = await task.ask("decompose", transcript=transcript, handlers=self._offered)
            step = await task.read(reply, read_sub_question) or read_sub_question(reply.said)
            if step.handler == END:
                return
            if number == self._steps:
                self.capped = True
                return
            numbered = {str(place): answer for place, answer in enumerate(answers, start=1)}
            answers.append(await self._answer(task, step, {**context, **numbered}, depth))
            transcript.append({"asked": step.line, "answer": answers[-1]})
            self.done.append(transcript[-1])

    async def _answer(self, task: Task, step: SubQuestion, answers: dict[str, Any], depth: int) -> Any:
        parts = step.parts(answers)
        found = await task.each(lambda part: self._handle(task, step.handler, part.question, depth), parts)
        return step.merged(parts, found)

    async def _handle(self, task: Task, handler: str, question: str, depth: int) -> Any:
        """Return a handler's answer to one question. Raises InvalidSubQuestion for an unknown or failing handler."""
        if handler in task.tools:
            return await _use(task, handler, question)
        if handler == ITSELF:
            return await self._again(task, question, depth)
        if handler not in self._handlers:
            raise InvalidSubQuestion(f"there is no handler `{handler}`")
        self._spend()
        demos = None if handler == DEFAULT else task.own_demos(f"{OWN}{handler}")
        return read_reply((await task.ask("handler", asked=question, demos=demos)).said)

    async def _again(self, task: Task, question: str, depth: int) -> Any:
        if depth == 1:
            self.capped = True
            raise InvalidSubQuestion("the questions are taken apart too deeply")
        inner: list[Any] = []
        await self.solve(task.replacing(question=question), inner, depth - 1)
        if not inner:
            raise InvalidSubQuestion(f"`{question}` was taken apart into nothing")
        return inner[-1]

    def _spend(self) -> None:
        if not self._left:
            self.capped = True
            raise InvalidSubQuestion("the questions take too many requests")
        self._left -= 1


async def _use(task: Task, name: str, question: str) -> Any:
    given = arguments(takes(task.tools[name]), question)
    try:
        return await task.tool(name, {"question": question} if given is None else given)
    except ToolFailed as error:
        raise InvalidSubQuestion(str(error)) from None
