"""Running a step's technique, and repairing its last answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from promptkit.answers.build import repair_message
from promptkit.errors import PromptkitError, TechniqueFailed, Unsupported, place
from promptkit.project_code.reference import guarded
from promptkit.runtimes.base import Message
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer, StepContext
from promptkit.techniques.needs import FROM_ROWS, ROWS, Available, not_prepared
from promptkit.techniques.registry import load_functions
from promptkit.techniques.requests import decide_again, read_answer, reset_level
from promptkit.techniques.spec import ConfiguredTechnique, configure, with_nested
from promptkit.techniques.task import Task

Result = TypeVar("Result", Answer, Prepared)


async def perform(spec: Any, step: StepContext) -> Answer:
    """Run the technique that `spec` names, or a `Chosen` one, on a step, and return its answer.

    Raises InputError for an unknown technique or parameter and for a role that no input plays, Unsupported for a need
    that is not at hand, TechniqueFailed for a function of somebody's that raises, and what the runtime raises. A reply
    without an answer is no error: the answer's flag says so.
    """
    chosen = spec if isinstance(spec, ConfiguredTechnique) else configure(spec, step.project)
    await require(chosen, step)
    reset_level()
    return await _run(chosen, step)


async def _run(spec: Any, step: StepContext) -> Answer:
    """Run a technique, of a step or nested in another's."""
    chosen = spec if isinstance(spec, ConfiguredTechnique) else configure(spec, step.project)
    function = load_functions(chosen.technique).function
    with _as_technique_failure(function):
        answer = await function(task_for(chosen, step), **chosen.parameters)
    return _checked_result(answer, Answer, function)


def task_for(chosen: ConfiguredTechnique, step: StepContext) -> Task:
    """Return the task of a technique on a step."""
    return Task(step, chosen, _run)


async def run_preparation(
    chosen: ConfiguredTechnique, step: StepContext, rows: Sequence[Row], parameters: Mapping[str, Any]
) -> Prepared:
    """Return what a technique's preparation makes of rows of data. Raises as `perform` does."""
    function = load_functions(chosen.technique).prepare
    assert function is not None, "only what is prepared has a preparation"
    with _as_technique_failure(function):
        prepared = await function(task_for(chosen, step), rows, **parameters)
    return _checked_result(prepared, Prepared, function)


def _as_technique_failure(function: Callable[..., Any]) -> AbstractContextManager[None]:
    """Make whatever somebody's function raises one of our errors, with its line; what a shipped one raises stays."""
    if function.__module__.startswith("promptkit."):
        return nullcontext()
    return guarded(
        lambda told: TechniqueFailed(f"technique `{function.__name__}` {told}"),
        Path(function.__code__.co_filename),
        passing=(PromptkitError, BaseExceptionGroup),
    )


def _checked_result(value: Any, kind: type[Result], function: Callable[..., Any]) -> Result:
    """Return what a function made. Raises TechniqueFailed where it is something else than it must be."""
    if not isinstance(value, kind):
        where = f"{place(function.__code__.co_filename)}:{function.__code__.co_firstlineno}"
        raise TechniqueFailed(f"`{function.__name__}` returned {type(value).__name__}, not {kind.__name__} ({where})")
    return value


async def require(chosen: ConfiguredTechnique, step: StepContext, *, preparing: bool = False) -> None:
    """Raise unless the runtime and the step have what a technique needs, and those that it is put over.

    Raises Unsupported for what the runtime or the step lacks, InputError where no input plays a role, or where the
    technique must first be prepared. In a preparation (`preparing`) there need be no artifact yet.
    """
    model = await step.asker.model()
    hand = Available(
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
        Message("user", repair_message(step.answer, problem, project=step.project)),
    )
    begun = last.cue if last.request.begun else ""
    request = replace(last.request, messages=messages, begun=begun)
    return _repaired(answer, read_answer(step, await decide_again(step, last, request)))


def _repaired(answer: Answer, repaired: Answer) -> Answer:
    """Return a repaired answer with what the technique said beside the one before: its votes and stages hold still."""
    return replace(repaired, extra={**answer.extra, **repaired.extra})
