"""Running a step's technique, and repairing its last answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from promptkit.answers import repair_text
from promptkit.errors import InputError, Unsupported, nearest
from promptkit.project import Project
from promptkit.runtimes import Message
from promptkit.techniques.context import Answer, StepContext
from promptkit.techniques.registry import Technique, find, names, parse_spec
from promptkit.techniques.requests import decide_again, read_answer
from promptkit.techniques.task import Task


@dataclass(frozen=True, slots=True)
class Chosen:
    """A technique with the parameters that a step gives it."""

    technique: Technique
    parameters: Mapping[str, Any]


async def perform(spec: Any, step: StepContext) -> Answer:
    """Run the technique that `spec` names, or a `Chosen` one, on a step, and return its answer.

    Raises InputError for an unknown technique or parameter, Unsupported for a need that is not at hand, and what the
    runtime raises. A reply without an answer is no error: the answer's flag says so.
    """
    chosen = spec if isinstance(spec, Chosen) else choose(spec, step.project)
    technique, parameters = chosen.technique, chosen.parameters
    await require(technique, step)
    return await technique.function(Task(step, technique.name, parameters), **parameters)


def choose(spec: Any, project: Project) -> Chosen:
    """Return the technique that `spec` names, to be performed many times. Raises InputError for an unknown one."""
    try:
        name, parameters = parse_spec(spec)
    except ValueError as error:
        raise InputError(str(error)) from None
    technique = find(name, project)
    if technique is None:
        raise InputError(f"unknown technique `{name}`", hint=nearest(name, names(project)))
    return Chosen(technique, parameters)


async def require(technique: Technique, step: StepContext) -> None:
    """Raise Unsupported unless the runtime and the step have what the technique needs."""
    model = await step.asker.model()
    at_hand = set(model.capabilities) | ({"tools"} if step.tools else set())
    missing = sorted(technique.needs - at_hand)
    if missing:
        raise Unsupported(
            f"technique `{technique.name}` needs {', '.join(missing)}, which is not at hand with {model.reference}"
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
        return read_answer(step, await decide_again(step, last, request))
    said = last.request.begun + last.reply.text
    messages = (
        *last.request.messages,
        Message("assistant", said),
        Message("user", repair_text(step.answer, problem, project=step.project)),
    )
    begun = last.cue if last.request.begun else ""
    request = replace(last.request, messages=messages, begun=begun)
    return read_answer(step, await decide_again(step, last, request))
