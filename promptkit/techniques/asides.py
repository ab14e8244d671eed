"""Asides: the replies that a technique reads for itself, such as a plan, a grade or a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from promptkit.answers.base import AnswerType
from promptkit.answers.build import aside_repair_message, repair_message
from promptkit.answers.decide import lead_after, score_answer, score_needs
from promptkit.answers.lists import ListOf
from promptkit.runtimes.thoughts import without_marks
from promptkit.techniques.answer_forms import unwrapped
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import Exchange, StepContext
from promptkit.techniques.exchanges import (
    ask_built,
    constrains_after_thoughts,
    find_value,
    note_cut,
    repair_request,
    scored_exchange,
)
from promptkit.techniques.requests import BuiltCall
from promptkit.techniques.thinking import with_more_tokens

Outcome = TypeVar("Outcome")


async def ask_typed(step: StepContext, built: BuiltCall, kind: AnswerType) -> Exchange:
    """Send the call of a typed aside and return its exchange with the `value`, None where no reply can be read.

    The aside is held to its type as the step's answer would be: constrained, or scored where it is one of a closed set
    and `decide` is `score`. Where that would forbid thoughts, it is only read. Where thoughts come without a value,
    which is then asked for by itself, the exchange is that of the thoughts.
    """
    model = await step.client.model()
    if step.decide == "score" and not built.spec.thinks and not score_needs(kind) - model.capabilities:
        scores = await score_answer(step.client, replace(built.request, thought_tokens=0), kind)
        exchange = scored_exchange(step, built, scores)
        exchange.record.parsed = scores.value
        return replace(exchange, value=scores.value)
    if not built.spec.thinks and step.decide != "generate":
        request = built.form.constrain(built.request, lead_after(built.request.begun))
        if not request.constrained or await constrains_after_thoughts(step, request):
            built = replace(built, request=request)
    exchange = unwrapped(await ask_built(step, built))
    read_kind = _whole_list(kind) if isinstance(kind, ListOf) else kind

    def read(reply: Exchange) -> Any:
        if reply.cut and not reply.thinks and not kind.alternatives():
            note_cut(reply)
        shown = unwrapped(replace(reply, form=replace(reply.form, answer=read_kind)))
        reading = find_value(read_kind, shown if shown.unwrapped else shown.with_text(shown.said))
        value = reading.value
        if isinstance(kind, ListOf) and kind.most is not None and len(value) > kind.most:
            value = value[: kind.most]
            step.warn(("capped",))
        reply.record.parsed, reply.record.rule = value, reading.rule
        return value

    def message(problem: str) -> str:
        return repair_message(kind, problem, built.form.writing, project=step.project)

    last, value = await _read(step, exchange, read, message)
    has_thoughts = built.spec.thinks and not exchange.cut
    return replace(exchange if has_thoughts else unwrapped(last), value=value)


def _whole_list(kind: ListOf) -> ListOf:
    """Return a list type that reads its items in full, and too many of them: a plan is cut, not asked for again."""
    return ListOf(kind.of, separator=kind.separator, unique=kind.unique, in_full=True)


async def read_free(step: StepContext, exchange: Exchange, reader: Callable[[str], Outcome]) -> Outcome | None:
    """Return a reader's value of a free reply, None where no reply can be read; asked again as `ask_typed` does."""
    _, value = await _read(
        step,
        exchange,
        lambda reply: reader(without_marks(reply.said)),
        lambda problem: aside_repair_message(problem, project=step.project),
    )
    return value


async def _read(
    step: StepContext, exchange: Exchange, read: Callable[[Exchange], Outcome], message: Callable[[str], str]
) -> tuple[Exchange, Outcome | None]:
    """Return a reply and its value; the reply is asked for again as often as the step's `repairs` allow."""
    for left in range(step.repairs, -1, -1):
        try:
            return exchange, read(exchange)
        except ValueError as error:
            problem = "it was cut off" if exchange.cut else str(error)
            exchange.record.notes = (*exchange.record.notes, f"the reply cannot be read: {problem}")
            if left:
                exchange = await _ask_again(step, exchange, message(problem))
    step.warn(("unread_call",))
    return exchange, None


async def _ask_again(step: StepContext, exchange: Exchange, message: str) -> Exchange:
    """Ask once more for a reply that could not be read; one that was cut off gets twice the tokens."""
    more = with_more_tokens(exchange.request, exchange.reply) if exchange.cut else None
    request = more or repair_request(exchange, message)
    spec = CallSpec(name=exchange.call, thinks=exchange.thinks)
    built = BuiltCall(spec=spec, request=request, form=exchange.form, cue=exchange.cue, ends=exchange.ends)
    return await ask_built(step, built, is_repair=True)
