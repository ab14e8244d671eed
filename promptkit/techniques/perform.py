"""Running a step's technique, and repairing its last answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from promptkit.answers import repair_text
from promptkit.errors import Unsupported
from promptkit.runtimes import Message
from promptkit.techniques.context import Answer, StepContext
from promptkit.techniques.levels import begin_levels
from promptkit.techniques.needs import FROM_ROWS, ROWS, Hand, not_prepared
from promptkit.techniques.requests import decide_again, read_answer
from promptkit.techniques.spec import Chosen, choose, with_nested
from promptkit.techniques.task import Task


async def perform(spec: Any, step: StepContext) -> Answer:
    """Run the technique that `spec` names, or a `Chosen` one, on a step, and return its answer.

    Raises InputError for an unknown technique or parameter and for a role that no input plays, Unsupported for a need
    that is not at hand, and what the runtime raises. A reply without an answer is no error: the answer's flag says so.
    """
    chosen = spec if isinstance(spec, Chosen) else choose(spec, step.project)
    await require(chosen, step)
    begin_levels()
    return await _run(chosen, step)


async def _run(spec: Any, step: StepContext) -> Answer:
    """Run a technique, of a step or nested in another's."""
    chosen = spec if isinstance(spec, Chosen) else choose(spec, step.project)
    return await chosen.technique.function(Task(step, chosen, _run), **chosen.parameters)


def task_for(chosen: Chosen, step: StepContext) -> Task:
    """Return the task of a technique on a step, for its preparation."""
    return Task(step, chosen, _run)


async def require(chosen: Chosen, step: StepContext, *, preparing: bool = False) -> None:
    """Raise unless the runtime and the step have what a technique needs, and those that it is put over.

    Raises Unsupported for what the runtime or the step lacks, InputError where no input plays a role, or where the
    technique must first be prepared. In a preparation (`preparing`) there need be no artifact yet.
    """
    model = await step.asker.model()
    hand = Hand(
        capabilities=model.capabilities, inputs=step.inputs, has_tools=bool(step.tools), prepared=step.artifacts
    )
    for each in with_nested(chosen, step.project):
        missing = hand.lacks(each)
        if preparing and each is chosen:
            missing = [need for need in missing if need not in FROM_ROWS]
        if ROWS in missing:
            raise not_prepared(each.technique.name, step.home)
        if missing:
            needs = ", ".join(missing)
            raise Unsupported(
                f"technique `{each.technique.name}` needs {needs}, which is not at hand with {model.reference}"
            )


async def repair(step: StepContext, answer: Answer, problem: str) -> Answer:
    """Ask the last deciding call once more: the same messages, the reply, and what was wrong with it.

    A reply that was cut off is asked for again with twice the tokens instead. An answer made by code has no call to
    repair and comes back as it is.
    """
    last = answer.last
    if last is None:
        return answer
    if answer.flag == "truncated":
        request = replace(last.request, max_tokens=2 * last.request.max_tokens)
        return _repaired(answer, read_answer(step, await decide_again(step, last, request)))
    said = last.request.begun + last.reply.text
    messages = (
        *last.request.messages,
        Message("assistant", said),
        Message("user", repair_text(step.answer, problem, project=step.project)),
    )
    begun = last.cue if last.request.begun else ""
    request = replace(last.request, messages=messages, begun=begun)
    return _repaired(answer, read_answer(step, await decide_again(step, last, request)))


def _repaired(answer: Answer, repaired: Answer) -> Answer:
    """Return a repaired answer with what the technique said beside the one before: its votes and stages hold still."""
    return replace(repaired, extra={**answer.extra, **repaired.extra})
