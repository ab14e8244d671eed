"""What a step hands to its technique for one item: the values, the answer's type, the examples, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptkit.answers import AnswerType
from promptkit.engine.events import CallFinished, TextArrived
from promptkit.engine.scope import placed
from promptkit.errors import InputError, Problem
from promptkit.prompts import Example
from promptkit.runtimes import Message, Request
from promptkit.techniques import CallRecord, StepContext, read_artifact

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Step
    from promptkit.engine.session import Session
    from promptkit.engine.steprun import Here

ROLES = ("system", "user", "assistant")


async def step_context(
    step: Step, session: Session, *, path: str, model: str | None, values: Mapping[str, Any], here: Here
) -> StepContext:
    """Return one asking of a step. Raises InputError, placed at the step, where a value is not what it must be."""
    asking = step.asking
    assert asking is not None, "only a step that asks has a context"
    values = {**asking.prompt.defaults, **values}

    def record(call: CallRecord) -> None:
        here.trace.calls.append(call)
        session.emit(CallFinished(step=path, item=here.item, call=call))

    def on_text(request: Request, text: str) -> None:
        session.emit(TextArrived(step=path, item=here.item, request=request, text=text))

    examples = asking.examples.shown(values)
    answer, example_answers = _answers(step, values, examples, here)
    return StepContext(
        prompt=asking.prompt,
        values=values,
        answer=answer,
        asker=await session.asker(model, uses_cache=step.uses_cache, timeout=asking.options.timeout),
        project=session.project,
        inputs=asking.inputs,
        folder=asking.technique_folder,
        home=asking.home,
        artifacts={name: made for name, file in asking.artifacts.items() if (made := read_artifact(file))},
        decide=asking.decide,
        calibrate=asking.calibrate,
        layout=asking.layout,
        messages=asking.messages,
        cue=asking.cue,
        examples=examples,
        example_answers=example_answers,
        answer_of=_answer_of(step, values, here),
        examples_for=asking.examples.shown,
        history=_history(values.get("history"), step.place),
        options=asking.options,
        tools={name: tool.call for name, tool in asking.tools.items()},
        sample=here.sample,
        strict=session.settings.strict,
        record=record,
        notice=session.notice,
        on_text=on_text if session.listens else None,
    )


def _answers(
    step: Step, values: Mapping[str, Any], examples: tuple[Example, ...], here: Here
) -> tuple[AnswerType, tuple[AnswerType, ...]]:
    """Return the type of the row's answer; and each example's where it differs by row: its options are its own."""
    assert step.asking is not None
    answer = step.asking.answer
    if isinstance(answer, AnswerType):
        return answer, ()
    scope = values if step.asking.answer_in_prompt else here.scope
    number: int | None = None
    try:
        own, others = answer.of_row(scope, here.absent), []
        for example in examples:
            number = example.number
            others.append(answer.of_example(example, scope, here.absent))
    except InputError as error:
        if number is not None:
            problems = (replace(each, message=f"example {number}: {each.message}") for each in error.problems)
            error = InputError(problems)
        raise placed(error, step.place) from None
    return own, tuple(others)


def _answer_of(step: Step, values: Mapping[str, Any], here: Here) -> Callable[[Mapping[str, Any]], AnswerType] | None:
    """Return what gives the answer's type for other inputs than the row's, where it differs by row."""
    assert step.asking is not None
    answer = step.asking.answer
    if isinstance(answer, AnswerType):
        return None
    scope = values if step.asking.answer_in_prompt else here.scope
    return lambda inputs: answer.of_example(Example(inputs, None), scope, here.absent)


def _history(value: Any, place: Problem) -> tuple[Message, ...]:
    """Return earlier turns of a conversation as messages, where the input `history` is a list. Raises InputError."""
    if not isinstance(value, list | tuple):
        return ()
    for turn in value:
        if not (isinstance(turn, Mapping) and turn.get("role") in ROLES and isinstance(turn.get("content"), str)):
            message = f"a turn of `history` is `{{role: {' | '.join(ROLES)}, content: TEXT}}`, not {turn!r:.60}"
            raise placed(InputError(message), place)
    return tuple(Message(turn["role"], turn["content"]) for turn in value)
