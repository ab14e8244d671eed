"""Decomposed prompting: a decomposer asks one simple question after the other, each answered by a handler."""

from dataclasses import dataclass
from typing import Any, Final

from promptkit.errors import ToolFailed
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.programs import value_answer
from promptkit.techniques.methods.sub_questions import (
    DEFAULT,
    END,
    InvalidSubQuestion,
    SubQuestion,
    read_reply,
    read_sub_question,
)
from promptkit.techniques.methods.tool_calls import ToolSignature
from promptkit.techniques.parameters import Count
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

ITSELF: Final = "decompose"
OWN: Final = "handler."


@technique(needs={"stop"}, roles=["question"], calls="limit", requests="limit")
async def decomposed(task: Task, *, steps: Count = 10, depth: Count = 3, limit: Count = 20) -> Answer:
    """Ask one simple question after the other, each of a handler; the last answer is the answer (Khot et al. 2023).

    Handlers are the step's tools, those with demonstrations `handler.NAME`, `ask`, and `decompose`, which is this
    again, `depth` deep at most, and is offered where the demonstrations show it. A question that a handler cannot
    answer gets the reason in place of an answer. `steps` bounds the questions of each, `limit` the requests in all.
    """
    asking, answers, problem = Decomposition(task, steps, limit), list[Any](), "no question was asked"
    try:
        await asking.solve(task, answers, depth)
    except InvalidSubQuestion as error:
        problem = str(error)
        answers.clear()
    except LimitReached as error:
        problem = str(error)
        answers = [answer for answer in answers if not isinstance(answer, Failure)]
    if not asking.done and not asking.capped:
        task.warn("no_sub_question")
    if answers and isinstance(answers[-1], Failure):
        problem, answers = answers[-1].reason, []
    answer = value_answer(task, answers[-1]) if answers else task.no_answer(problem)
    answer = answer.with_extra(questions=asking.done)
    if not asking.capped:
        return answer
    task.warn("capped")
    return answer.with_extra(capped=True)


class LimitReached(Exception):
    """A bound of the technique ends the questions; the message says which."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a question has no answer, which stands in the place of one."""

    reason: str


class Decomposition:
    """The questions of one answer. `done` are those that were asked; `capped` says that a bound ended them."""

    def __init__(self, task: Task, steps: int, limit: int) -> None:
        given = [name.removeprefix(OWN) for name in task.own_demo_names if name.startswith(OWN)]
        self._tools = {name: ToolSignature.of(name, tool) for name, tool in task.tools.items()}
        self._handlers = [*dict.fromkeys([*self._tools, *given, DEFAULT])]
        shown = f"[{ITSELF}]" in str(task.demonstrations("decompose"))
        offered = [*self._handlers, *([ITSELF] if shown else [])]
        self._offered = [self._tools.get(name, ToolSignature(name, "", {}, {})).shown for name in offered]
        self._steps = steps
        self._left = limit
        self.done: list[dict[str, Any]] = []
        self.capped = False

    async def solve(self, task: Task, answers: list[Any], depth: int) -> None:
        """Ask and answer the questions of a task's question, in order, into `answers`.

        Raises InvalidSubQuestion for a reply without a question, and LimitReached.
        """
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
            numbered = {
                str(place): answer for place, answer in enumerate(answers, start=1) if not isinstance(answer, Failure)
            }
            answers.append(await self._answer(task, step, {**context, **numbered}, depth))
            transcript.append({"asked": step.line, **_shown(answers[-1])})
            self.done.append(transcript[-1])

    async def _answer(self, task: Task, step: SubQuestion, answers: dict[str, Any], depth: int) -> Any:
        """Return the answer to a question, or the Failure of one that cannot be asked or answered."""
        try:
            parts = step.parts(answers)
            found = await task.each(lambda part: self._handle(task, step.handler, part.question, depth), parts)
            return step.merged(parts, found)
        except InvalidSubQuestion as error:
            return Failure(one_line(str(error)))

    async def _handle(self, task: Task, handler: str, question: str, depth: int) -> Any:
        """Return a handler's answer to one question. Raises InvalidSubQuestion for an unknown or failing handler."""
        if handler in self._tools:
            return await _use(task, self._tools[handler], question)
        if handler == ITSELF:
            return await self._again(task, question, depth)
        if handler not in self._handlers:
            raise InvalidSubQuestion(f"there is no handler `{handler}`")
        self._spend()
        demos = None if handler == DEFAULT else task.own_demos(f"{OWN}{handler}")
        # An item of a list may have lines of its own, which would read as further questions.
        return read_reply((await task.ask("handler", asked=one_line(question), demos=demos)).said)

    async def _again(self, task: Task, question: str, depth: int) -> Any:
        if depth == 1:
            self._cap("the questions are taken apart too deeply")
        inner: list[Any] = []
        await self.solve(task.replacing(question=one_line(question)), inner, depth - 1)
        if not inner or isinstance(inner[-1], Failure):
            raise InvalidSubQuestion(inner[-1].reason if inner else f"`{question}` was taken apart into nothing")
        return inner[-1]

    def _spend(self) -> None:
        if not self._left:
            self._cap("the questions take too many requests")
        self._left -= 1

    def _cap(self, reason: str) -> None:
        self.capped = True
        raise LimitReached(reason)


def _shown(answer: Any) -> dict[str, Any]:
    return {"failed": answer.reason} if isinstance(answer, Failure) else {"answer": answer}


async def _use(task: Task, tool: ToolSignature, question: str) -> Any:
    given = tool.arguments(question)
    try:
        return await task.tool(tool.name, {"question": question} if given is None else given)
    except ToolFailed as error:
        task.warn("tool_failed")
        raise InvalidSubQuestion(str(error)) from None
