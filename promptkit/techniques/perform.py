"""Running a step's technique, and repairing its last answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from promptkit.answers.build import repair_message
from promptkit.answers.constraints.forms import plain_form
from promptkit.errors import PromptkitError, TechniqueFailed, Unsupported, place
from promptkit.project_code.file_reads import running_async_code
from promptkit.project_code.reference import guarded
from promptkit.techniques.answer_forms import constrained_form
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import CAPPED, Answer, StepContext
from promptkit.techniques.exchanges import decide_again, read_answer, repair_request, with_model_of
from promptkit.techniques.levels import reset_level
from promptkit.techniques.needs import FROM_ROWS, ROWS, Available, not_prepared
from promptkit.techniques.registry import load_functions
from promptkit.techniques.spec import ConfiguredTechnique, configure, with_nested
from promptkit.techniques.task import Task
from promptkit.techniques.thinking import no_thoughts, window_ended_thoughts, with_more_tokens
from promptkit.techniques.warnings import TechniqueWarning

Result = TypeVar("Result", Answer, Prepared)


async def perform(spec: Any, step: StepContext) -> Answer:
    """Run a technique on a step and return its answer. `spec` names it, or is one that is configured already.

    Raises InputError for an unknown technique or parameter and for a role that no input plays, Unsupported for an unmet
    need, TechniqueFailed for a user's function that raises, and what the runtime raises. A reply without an answer is
    not an error: the answer's flag says so.
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
        async with running_async_code(_file_of(chosen), step.project.root):
            returned = await function(task_for(chosen, step), **chosen.parameters)
        answer = _checked_result(returned, Answer, function)
    names = dict.fromkeys([*answer.warnings, *_implied_warnings(answer)])
    if not names:
        return answer
    warnings = TechniqueWarning.of(chosen.technique.name, names)
    step.warn(warnings)
    return replace(answer, warnings=warnings)


def _implied_warnings(answer: Answer) -> Iterator[str]:
    if answer.flag == "no_consensus":
        yield "no_consensus"
    if answer.extra.get(CAPPED):
        yield CAPPED


def _file_of(chosen: ConfiguredTechnique) -> Path | None:
    """Return the file of a project's own technique, None for any other."""
    return chosen.technique.code.file if chosen.technique.code is not None else None


def task_for(chosen: ConfiguredTechnique, step: StepContext) -> Task:
    """Return the task of a technique on a step."""
    return Task(step, chosen, _run)


async def run_preparation(
    chosen: ConfiguredTechnique, step: StepContext, rows: Sequence[Row], parameters: Mapping[str, Any]
) -> Prepared:
    """Run a technique's preparation on rows of data and return its result. Raises as `perform` does."""
    function = load_functions(chosen.technique).prepare
    assert function is not None, "only what is prepared has a preparation"
    with _as_technique_failure(function):
        prepared = await function(task_for(chosen, step), rows, **parameters)
    return _checked_result(prepared, Prepared, function)


def _as_technique_failure(function: Callable[..., Any]) -> AbstractContextManager[None]:
    """Turn whatever a user's function raises into TechniqueFailed with its line; errors of shipped ones stay."""
    if function.__module__.startswith("promptkit."):
        return nullcontext()
    return guarded(
        lambda problem: TechniqueFailed(f"technique `{function.__name__}` {problem}"),
        Path(function.__code__.co_filename),
        passing=(PromptkitError, BaseExceptionGroup),
    )


def _checked_result(value: Any, kind: type[Result], function: Callable[..., Any]) -> Result:
    """Return a function's result. Raises TechniqueFailed for one of another type."""
    if not isinstance(value, kind):
        where = f"{place(function.__code__.co_filename)}:{function.__code__.co_firstlineno}"
        raise TechniqueFailed(f"`{function.__name__}` returned {type(value).__name__}, not {kind.__name__} ({where})")
    return value


async def require(chosen: ConfiguredTechnique, step: StepContext, *, preparing: bool = False) -> None:
    """Raise unless the runtime and the step meet the needs of a technique and of those beneath it.

    Raises Unsupported for an unmet need, InputError where no input plays a role or the technique must first be
    prepared. In a preparation (`preparing`) no artifact has to exist yet.
    """
    model = await step.client.model()
    available = Available(
        capabilities=model.capabilities,
        inputs=step.inputs,
        has_tools=bool(step.tools) or step.lacks_toolsets,
        prepared=step.artifacts,
    )
    for nested in with_nested(chosen, step.project):
        name, unmet = nested.technique.name, available.unmet(nested)
        if preparing and nested is chosen:
            unmet = [need for need in unmet if need not in FROM_ROWS]
        if ROWS in unmet:
            raise not_prepared(name, step.home)
        if unmet:
            needs = ", ".join(unmet)
            raise Unsupported(f"technique `{name}` needs {needs}, which {model.reference} does not have here")


async def repair(step: StepContext, answer: Answer, problem: str) -> Answer:
    """Repeat the last deciding call with its messages, its reply and the problem with that, without thoughts.

    A reply that was cut off is requested again with twice the tokens instead. An answer made by code has no call to
    repair and is returned as it is, and so is one whose thoughts filled the window.
    """
    last = answer.last
    if last is None:
        return answer
    step = with_model_of(step, last)
    if answer.flag == "truncated":
        if window_ended_thoughts(last.request, last.reply):
            return answer
        request = with_more_tokens(last.request, last.reply)
    else:
        form = plain_form(step.answer) if last.thinks else await constrained_form(step)
        message = repair_message(step.answer, problem, form.writing, project=step.project)
        request = repair_request(last, message, begun=last.cue if last.request.begun else "")
        request = replace(request, **no_thoughts((await step.client.model()).capabilities).fields)
    return _repaired(answer, read_answer(step, await decide_again(step, last, request)))


def _repaired(answer: Answer, repaired: Answer) -> Answer:
    """Return a repaired answer with the `extra` of the one before: its votes and stages still hold."""
    return replace(repaired, extra={**answer.extra, **repaired.extra})
