"""Verifiers that are not a model: the step's guard, a run of the program, or a tool of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from promptkit.errors import InputError, ToolFailed, nearest
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.tool_calls import ToolSignature
from promptkit.techniques.task import Task

JUDGE: Final = "judge"
_TOOL: Final = "tool:"


def _known(verifier: str) -> str:
    if verifier in (JUDGE, "guard", "program") or (verifier.startswith(_TOOL) and verifier != _TOOL):
        return verifier
    raise ValueError(f"must be `judge`, `guard`, `program` or `tool:NAME`, not `{verifier}`")


Verifier = Annotated[str, AfterValidator(_known)]
"""`judge`, a call of the technique; `guard`, the step's own; `program`, which runs the program of the answer; or
`tool:NAME`, a tool of the step.
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's score of an answer, True or False where it only accepts or rejects, and what it found wrong."""

    score: float | bool | None
    problem: str = ""


def check_verifier(task: Task, verifier: str, over: Spec) -> None:
    """Raise InputError where the step, or the technique `over` which it answers, has not got its verifier, before
    anything is asked.
    """
    if verifier == "guard" and not task.has_guard:
        hint = "`guard: {expr: …, say: …}` on the step"
        raise InputError("the step has no guard to verify answers with", hint=hint)
    language = task.answer_type.description().get("language", "python")
    if verifier == "program" and language != "python":
        raise InputError(f"the verifier `program` runs Python, and the step's answer is {language}")
    if verifier == "program" and task.answer_type.name != "code" and "sandbox" not in task.needs_of(over):
        message = "the verifier `program` needs an answer that is code, or a technique in `over` that runs programs"
        raise InputError(message, hint="`over: pal` computes the answer by a program")
    if not verifier.startswith(_TOOL):
        return
    name = verifier.removeprefix(_TOOL)
    if name not in task.tools:
        raise InputError(f"the step has no tool `{name}` to verify answers with", hint=nearest(name, task.tools))
    parameters = ToolSignature.of(name, task.tools[name]).takes
    if parameters is not None and "answer" not in parameters:
        raise InputError(f"the tool `{name}` verifies answers, so it must have a parameter `answer`")


async def verify(task: Task, answer: Answer, verifier: str) -> Verdict:
    """Return the verdict on an answer of a verifier that is not the judge.

    An answer without a value is rejected with its problem. A tool gets the value as `answer`, and the prompt's inputs
    that it takes, by their names. It returns True or False, a number, or a text that says what is wrong: an empty one,
    or None, accepts. Raises ToolFailed.
    """
    if answer.flag is not None:
        return Verdict(False, answer.problem or "")
    if verifier == "guard":
        return _accepting(task.check(answer.value))
    if verifier == "program":
        return await _run(task, answer)
    return await _verdict_of_tool(task, answer, verifier.removeprefix(_TOOL))


async def _run(task: Task, answer: Answer) -> Verdict:
    """Run the program of a code answer; the value of another answer was computed, by a program that ran."""
    if task.answer_type.name != "code":
        return Verdict(True)
    failure = (await task.code(answer.value)).failure
    return Verdict(True) if failure is None else Verdict(False, failure.message)


async def _verdict_of_tool(task: Task, answer: Answer, name: str) -> Verdict:
    parameters = ToolSignature.of(name, task.tools[name]).takes
    known = task.inputs if parameters is None else {key: task.inputs[key] for key in parameters if key in task.inputs}
    result: Any = await task.tool(name, {**known, "answer": answer.value})
    if isinstance(result, bool | int | float):
        return Verdict(result)
    if result is None or isinstance(result, str):
        return _accepting(result)
    raise ToolFailed(f"the tool `{name}` verifies answers by True or False, a number or a text, not {result!r}")


def _accepting(problem: str | None) -> Verdict:
    return Verdict(not problem, problem or "")
