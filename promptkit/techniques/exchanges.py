"""Sending a built call, and reading the answer in its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from promptkit.answers.base import WHOLE_REPLY, AnswerType, EmptyReply, Reading, Refusal, Unparsed
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.answers.calibration import Calibration, read_calibration
from promptkit.answers.decide import Scores, score_answer
from promptkit.answers.head import Head
from promptkit.errors import Unsupported
from promptkit.runtimes.base import Message, Reply, Request
from promptkit.techniques.answer_forms import (
    can_score,
    constrained,
    constrained_form,
    deciding_form,
    scored_answer,
    unwrapped,
)
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import Answer, CallRecord, Exchange, Flag, StepContext
from promptkit.techniques.heads import ask_head
from promptkit.techniques.levels import next_level
from promptkit.techniques.requests import (
    BuiltCall,
    continue_turn,
    conversation,
    has_user_cue,
    stop_sequences,
    token_limit,
)
from promptkit.techniques.thinking import missing_answer, no_thoughts, thought_warnings


def with_model_of(step: StepContext, exchange: Exchange) -> StepContext:
    """Return the step with the model that gave a reply, so that the same one goes on."""
    return replace(step, client=exchange.client, other_model=exchange.record.model)


async def send(step: StepContext, built: BuiltCall) -> Exchange:
    """Send a call that decides nothing: one that thinks, or one that makes text for its technique.

    Under `decide: generate` the answer stands in the reply of a call that thinks, so it has the step's adapter.
    """
    if built.spec.answers and step.decide == "generate":
        built = with_adapter(step, built)
    exchange = await ask_built(step, built)
    if exchange.cut and not exchange.thinks:
        note_cut(exchange)
    return exchange


def note_cut(exchange: Exchange) -> None:
    """Note that an intermediate reply ran out of tokens."""
    exchange.record.notes = (*exchange.record.notes, "the reply ran out of tokens")
    exchange.record.warnings = (*exchange.record.warnings, "cut_call")


async def send_deciding(step: StepContext, built: BuiltCall, *, after_thoughts: bool = False) -> Exchange:
    """Send a call whose reply is the answer, as the step's `decide` says.

    Where a constraint would forbid a model's thoughts, these come in a request before it, unless the call itself comes
    `after_thoughts`.
    """
    if step.head is not None and not after_thoughts:
        return await _by_head(step, step.head, built)
    if step.decide == "score" and await can_score(step):
        return await _score(step, with_adapter(step, built))
    if step.decide != "generate":
        request = constrained(step, built.request, built.form)
        if request.constrained and not await constrains_after_thoughts(step, request):
            if not after_thoughts:
                return await _send_before_deciding(step, built)
            request = replace(request, thought_tokens=0)
        built = replace(built, request=request)
    return unwrapped(await ask_built(step, with_adapter(step, built), deciding=True))


def with_adapter(step: StepContext, built: BuiltCall) -> BuiltCall:
    """Return a call with the step's adapter, where the step's own model answers."""
    if step.adapter is None or step.other_model is not None:
        return built
    return replace(built, request=replace(built.request, adapter=step.adapter))


async def ask_built(
    step: StepContext, built: BuiltCall, *, deciding: bool = False, is_repair: bool = False
) -> Exchange:
    """Send a built call, record it, and return the exchange, its reply cut at the call's ends."""
    reply = _cut_at(await _ask(step, built.request), built.ends)
    return _exchange(step, built, reply, deciding=deciding, is_repair=is_repair)


async def constrains_after_thoughts(step: StepContext, request: Request) -> bool:
    """Tell whether a grammar or schema leaves room for the thoughts of a request."""
    return not request.thought_tokens or "after_thoughts" in (await step.client.model()).capabilities


async def _send_before_deciding(step: StepContext, built: BuiltCall) -> Exchange:
    """Ask without a constraint, which would forbid thoughts, and then for the answer under it.

    The first reply may be the answer already, so it has the step's adapter too.
    """
    exchange = await ask_built(step, with_adapter(step, built))
    if exchange.text.lstrip().startswith("{"):  # else it may only mention a value
        exchange = unwrapped(exchange)
    return await decide_after(step, exchange, CallSpec(name=exchange.call, produces="answer"))


def _cut_at(reply: Reply, ends: Sequence[str]) -> Reply:
    """Return a reply cut at the ends in it; a cut reply did not run out of tokens."""
    for end in ends:
        begun = reply.text.lstrip("\n") if end.isspace() else reply.text
        text, found, _ = begun.partition(end)
        reply = replace(reply, text=text, finish="stop") if found else reply
    return reply


async def decide_after(step: StepContext, exchange: Exchange, spec: CallSpec) -> Exchange:
    """Ask for the answer after thoughts: the same messages, and a begun turn of the thoughts and the cue.

    The user's cue wins over the trigger of `spec`. If the runtime cannot continue a turn, the thoughts are sent as a
    turn of the assistant and the cue as a new turn of the user. The trace notes that, and thoughts that were cut off.

    After a model's own thoughts no request is needed for a reply that is the answer and no more, and none follows
    thoughts that never ended.
    """
    if exchange.reply.thoughts and (not exchange.text.strip() or _is_answer(step, exchange.text)):
        return exchange
    if exchange.cut:
        exchange.record.notes = (*exchange.record.notes, "the thoughts ran out of tokens")
    model = await step.client.model()
    trigger = spec.trigger(step.answer.name)
    cue = trigger if trigger and not has_user_cue(step) else exchange.cue
    request = replace(
        exchange.request,
        max_tokens=token_limit(step, spec),
        temperature=0.0,
        top_p=None,
        stop=stop_sequences(step, spec.stop, model),
        alternatives=0,
        tools=(),
        tool_choice="auto",
        **no_thoughts(model.capabilities).fields,
    )
    thoughts = f"{exchange.request.begun}{exchange.text}".strip()
    form = await deciding_form(step)
    ends = exchange.again
    if form.writing != "plain":
        request, ends = replace(request, stop=step.options.stop), ()
    built = BuiltCall(spec=spec, request=request, form=form, cue=cue, ends=ends)
    return await send_deciding(step, continue_turn(step, built, thoughts, model), after_thoughts=True)


def _is_answer(step: StepContext, text: str) -> bool:
    """Tell whether a text is an answer exactly as it would be written; a text answer has no such form."""
    if step.answer.grammar() is None and step.answer.schema() is None:
        return False
    try:
        return step.answer.write(step.answer.parse(text)).casefold() == text.strip().casefold()
    except (Unparsed, ValueError):
        return False


def stands_alone(step: StepContext, text: str) -> bool:
    """Tell whether a reply is an answer as it stands: a text, JSON that fits, or the answer and no more."""
    kind = step.answer
    if kind.grammar() is None and kind.schema() is None:
        return bool(text.strip())
    if not kind.writes_json:
        return _is_answer(step, text)
    try:
        kind.parse(text)
    except Unparsed:
        return False
    return True


async def log_probabilities(step: StepContext, built: BuiltCall, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the log-probability of each text after the call's begun turn, only up to where the texts differ.

    Raises Unsupported for a model without log-probabilities.
    """
    scores = await score_answer(step.client, built.request, build_answer({"label": list(texts)}))
    scored_exchange(step, built, scores)
    return tuple(scores.logprobs[text] for text in texts)


async def decide_again(step: StepContext, exchange: Exchange, request: Request) -> Exchange:
    """Ask a deciding call once more with another request (a repair), without tools."""
    request = replace(request, tools=(), tool_choice="auto")
    form = exchange.form if exchange.thinks else await constrained_form(step)
    is_open = not exchange.thinks and not request.constrained
    if step.decide != "generate" and is_open and await constrains_after_thoughts(step, request):
        request = constrained(step, request, form)
    spec = CallSpec(name=exchange.call, produces="answer", thinks=exchange.thinks)
    ends = () if exchange.thinks or form.writing != "plain" else exchange.again
    built = BuiltCall(spec=spec, request=request, form=form, cue=exchange.cue, ends=ends, again=exchange.again)
    return unwrapped(await ask_built(step, built, deciding=True, is_repair=True))


def repair_request(exchange: Exchange, message: str, *, begun: str = "") -> Request:
    """Return the request that asks for a reply again, with the reply and a message on what was wrong with it."""
    request = exchange.request
    return replace(request, messages=(*conversation(exchange), Message("user", message)), begun=begun)


def read_answer(step: StepContext, exchange: Exchange) -> Answer:
    """Parse the answer in a deciding reply and note it in the trace."""
    record = exchange.record
    record.deciding = True
    if exchange.scores is not None:
        return scored_answer(exchange, exchange.scores)
    answer = _parsed_answer(step, exchange)
    return answer.with_extra(head=exchange.by_head) if exchange.by_head else answer


def _parsed_answer(step: StepContext, exchange: Exchange) -> Answer:
    record = exchange.record
    try:
        reading = find_value(step.answer, exchange)
    except Unparsed as error:
        cut = "the reply ran out of tokens" if exchange.cut else ""
        record.problem = missing_answer(exchange.request, exchange.reply) or cut or str(error)
        if "thoughts_cut" not in record.warnings:
            record.warnings = (*record.warnings, *_warnings_of(error))
        flag: Flag = "truncated" if exchange.cut else "unparsed"
        return Answer(value=None, flag=flag, problem=record.problem, last=exchange)
    record.parsed, record.rule = reading.value, reading.rule
    if reading.is_weak:
        record.warnings = (*record.warnings, "weak_reading")
    if exchange.cut and not _is_complete(step.answer, reading.value, exchange.text):
        record.problem = "the reply ran out of tokens"
        return Answer(value=reading.value, flag="truncated", problem=record.problem, last=exchange)
    return Answer(value=reading.value, last=exchange)


def _is_complete(answer: AnswerType, value: Any, text: str) -> bool:
    """Tell whether a reply that was cut off holds a whole answer: one of a closed set that no other one begins with,
    where the reply ends with it.
    """
    among = [written.casefold() for written in answer.alternatives()]
    if not among:
        return False
    read = answer.write(value).casefold()
    ends = text.casefold().rstrip().endswith(read)
    return not (ends and any(other != read and other.startswith(read) for other in among))


def find_value(kind: AnswerType, exchange: Exchange) -> Reading:
    """Return the value of a type in a reply. A reply under a constraint is parsed, not searched. Raises Unparsed."""
    if not exchange.thinks and exchange.request.constrained:
        read = kind.parse if exchange.unwrapped else exchange.form.read
        return Reading(read(exchange.text), WHOLE_REPLY)
    turns = [message.content for message in exchange.request.messages if message.role == "user"]
    return kind.find(
        exchange.text, exchange.cue, thinks=exchange.thinks, cut=exchange.cut, question=turns[-1] if turns else ""
    )


def _warnings_of(error: Unparsed) -> tuple[str, ...]:
    """Return the warnings of a reply without an answer."""
    if isinstance(error, Refusal):
        return ("refused",)
    return ("empty_reply",) if isinstance(error, EmptyReply) else ()


async def _score(step: StepContext, built: BuiltCall) -> Exchange:
    calibration = await _calibration(step)
    built = replace(built, request=replace(built.request, thought_tokens=0))
    scores = await score_answer(step.client, built.request, step.answer, calibrate=calibration)
    return scored_exchange(step, built, scores, deciding=True)


def scored_exchange(step: StepContext, built: BuiltCall, scores: Scores, *, deciding: bool = False) -> Exchange:
    """Return scores as an exchange with one record for all their requests, which are greedy in any case."""
    built = replace(built, request=replace(built.request, temperature=0.0, top_p=None))
    shown = scores.value is not None
    reply = Reply(
        text="" if not shown else step.answer.write(scores.value) if deciding else str(scores.value),
        tokens_in=scores.tokens_in,
        tokens_out=scores.tokens_out,
        seconds=scores.seconds,
        cached=scores.cached,
        context=scores.context,
    )
    exchange = _exchange(step, built, reply, deciding=deciding)
    exchange.record.requests = scores.requests
    return replace(exchange, scores=scores)


async def _by_head(step: StepContext, head: Head, built: BuiltCall) -> Exchange:
    """Return the answer of a head on the call's prompt; where it abstains, that of the step's `decide`."""
    without = replace(step, head=None)
    decision = await ask_head(step, head, built.request)
    if decision.scores is None:
        return replace(await send_deciding(without, built), by_head=decision.shown)
    asked = replace(built, request=decision.request, notes=(*built.notes, decision.note))
    exchange = scored_exchange(step, asked, decision.scores, deciding=True)
    if decision.abstains:
        exchange.record.warnings = (*exchange.record.warnings, "head_abstained")
        return replace(await send_deciding(without, built), by_head=decision.shown)
    return replace(exchange, request=with_adapter(step, built).request, by_head=decision.shown)


async def _calibration(step: StepContext) -> Calibration | None:
    """Return the step's offsets if they are for its model; say so once if they are for another."""
    if step.calibrate is None:
        return None
    calibration = read_calibration(step.calibrate, step.answer.alternatives())
    model = await step.client.model()
    if calibration.holds_for(model.reference):
        return calibration
    step.notice(f"the offsets of `calibrate` are those of {calibration.model}; {model.reference} scores without them")
    return None


async def _ask(step: StepContext, request: Request) -> Reply:
    """Send a request; once more without log-probabilities where the server gives none, since no call needs them."""
    on_text = partial(step.on_text, request) if step.on_text else None
    try:
        return await step.client.ask(request, on_text)
    except Unsupported as error:
        if not request.alternatives:
            raise
        step.notice(f"{error}; replies are compared without them")
        return await step.client.ask(replace(request, alternatives=0), on_text)


def _exchange(
    step: StepContext, built: BuiltCall, reply: Reply, *, deciding: bool = False, is_repair: bool = False
) -> Exchange:
    record = CallRecord(
        call=built.spec.name,
        request=step.client.sent(built.request),
        reply=reply,
        started=asyncio.get_running_loop().time() - (0.0 if reply.cached else reply.seconds),
        sample=built.request.sample,
        level=next_level(),
        deciding=deciding,
        repair=is_repair,
        notes=built.notes,
        model=step.other_model,
        warnings=thought_warnings(built.request, reply, cue=built.cue if built.spec.thinks else None),
    )
    step.record(record)
    return Exchange(
        call=built.spec.name,
        request=built.request,
        reply=reply,
        cue=built.cue,
        thinks=built.spec.thinks,
        record=record,
        form=built.form,
        client=step.client,
        again=built.again,
        ends=built.ends,
        before=built.before,
    )
