"""Decomposed prompting: a decomposer asks one simple question after the other, each answered by a handler."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.reader.list_reader import bare_item
from promptkit.errors import ToolFailed
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.programs import value_answer
from promptkit.techniques.methods.tool_calls import ToolSignature
from promptkit.techniques.parameters import Count
from promptkit.techniques.reading import first_line, one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

END: Final = "EOQ"
DEFAULT: Final = "ask"
"""The handler of a sub-question that names none."""

_LINE: Final = re.compile(r"\s*(?:\((?P<operation>[A-Za-z]\w*)\)\s*)?(?:\[(?P<handler>[^\[\]\n]+)\])?(?P<text>[^\n]*)")
_END_LINE: Final = re.compile(r"\W*EOQ\W*")
_QUESTION_HEAD: Final = re.compile(r"[*_\s]*QS\d*[*_]{0,2}[ \t]*:[*_\s]*", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"#(\d+|C)\b")
_BASES: Final = ("select", "project", "projectKeys", "projectValues", "filter")
_SUFFIXES: Final = ("flat", "unique", "keys", "values")


class InvalidSubQuestion(ValueError):
    """A sub-question that cannot be asked, or whose answers cannot be merged; the message says why."""


@dataclass(frozen=True, slots=True)
class SubQuestionPart:
    """One question to a handler, and the list item that it is about, if any."""

    item: Any
    question: str


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """One line of a decomposer. `operation` says how often it is asked, `suffixes` how its answers are merged."""

    line: str
    operation: str
    suffixes: tuple[str, ...]
    handler: str
    text: str

    def parts(self, answers: Mapping[str, Any]) -> list[SubQuestionPart]:
        """Return the questions to ask, with earlier answers filled in, by number. Raises InvalidSubQuestion."""
        named = list(dict.fromkeys(_REFERENCE.findall(self.text)))
        if missing := [name for name in named if name not in answers]:
            raise InvalidSubQuestion(f"`#{missing[0]}` refers to no answer so far")
        if self.operation == "select":
            return [SubQuestionPart(None, _REFERENCE.sub(lambda found: _json(answers[found[1]]), self.text))]
        if len(named) != 1:
            raise InvalidSubQuestion(f"`{self.operation}` needs one answer to loop over, not {len(named)}")
        items = answers[named[0]]
        items = [items] if isinstance(items, str) else items
        if not isinstance(items, list):
            raise InvalidSubQuestion(f"`#{named[0]}` is not a list to loop over")
        return [SubQuestionPart(item, self._filled(item)) for item in items]

    def merged(self, parts: Sequence[SubQuestionPart], answers: Sequence[Any]) -> Any:
        """Return the merged answers to the parts. Raises InvalidSubQuestion."""
        items = [part.item for part in parts]
        found: Any
        match self.operation:
            case "select":
                found = answers[0]
            case "filter":
                found = [item for item, answer in zip(items, answers, strict=True) if _is_yes(answer)]
            case "projectKeys":
                found = [[answer, item[1]] for item, answer in zip(items, answers, strict=True)]
            case "projectValues":
                found = [[item[0], answer] for item, answer in zip(items, answers, strict=True)]
            case _:
                found = [[item, answer] for item, answer in zip(items, answers, strict=True)]
        for suffix in self.suffixes:
            found = _apply_suffix(suffix, found)
        return found

    def _filled(self, item: Any) -> str:
        if self.operation in ("projectKeys", "projectValues"):
            if not (isinstance(item, list) and len(item) == 2):
                raise InvalidSubQuestion(f"`{self.operation}` loops over pairs, and there is none in {_json(item)}")
            text = _json(item[self.operation == "projectValues"])
        else:
            text = item if isinstance(item, str) else _json(item)
        return _REFERENCE.sub(lambda _: text, self.text)


def read_sub_question(reply: str) -> SubQuestion:
    """Return the sub-question in the first line of a reply; one that names no handler is for the default one.

    Raises InvalidSubQuestion for an unknown operation and for a reply without a question.
    """
    line = _QUESTION_HEAD.sub("", bare_item(first_line(reply)), count=1).strip(" *_`")
    if _END_LINE.fullmatch(line):
        return SubQuestion(line, "select", (), END, "")
    found = _LINE.match(line)
    assert found is not None, "every part of the pattern is optional"
    operation, *suffixes = (found["operation"] or "select").split("_")
    if operation not in _BASES or not set(suffixes) <= set(_SUFFIXES):
        raise InvalidSubQuestion(f"there is no operation `{found['operation']}`")
    handler, text = (found["handler"] or DEFAULT).strip(), found["text"].strip()
    if not text and handler != END:
        raise InvalidSubQuestion("the reply holds no question")
    return SubQuestion(line, operation, tuple(suffixes), handler, text)


def read_reply(text: str) -> Any:
    """Return a handler's answer: a JSON value, else its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()


def _apply_suffix(suffix: str, found: Any) -> Any:
    if not isinstance(found, list):
        raise InvalidSubQuestion(f"`{suffix}` is for lists, not for {_json(found)}")
    match suffix:
        case "flat":
            return [part for item in found for part in (item if isinstance(item, list) else [item])]
        case "unique":
            return list({_json(item): item for item in found}.values())
    if not all(isinstance(item, list) and len(item) == 2 for item in found):
        raise InvalidSubQuestion(f"`{suffix}` is for pairs, not for {_json(found)}")
    return [item[suffix == "values"] for item in found]


def _is_yes(answer: Any) -> bool:
    return answer is True or str(answer).strip().lower().rstrip(".") in ("yes", "true", "1")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


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
