"""Sending a call that is built: as it is, to be decided, after thoughts, or scored; and reading the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from promptkit.answers import Calibration, Scores, Unparsed, constrained, lead_after, read_calibration, score
from promptkit.answers import build as build_answer
from promptkit.errors import Unsupported
from promptkit.runtimes import Reply, Request
from promptkit.techniques.building import Built, going_on, most_tokens, own_cue, stops
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import Answer, CallRecord, Exchange, Flag, StepContext
from promptkit.techniques.levels import next_level


async def send(step: StepContext, built: Built) -> Exchange:
    """Ask a call that is not decided yet: one that thinks, or one that makes text for its technique."""
    return _exchange(step, built, _ended(await _ask(step, built.request), built.ends))


async def send_deciding(step: StepContext, built: Built) -> Exchange:
    """Ask a call whose reply is the answer, as the step's `decide` says."""
    if step.decide == "score" and await _scores(step):
        return await _score(step, built)
    if step.decide != "generate":
        built = replace(built, request=await _constrain(step, built.request))
    return _exchange(step, built, _ended(await _ask(step, built.request), built.ends), deciding=True)


def _ended(reply: Reply, ends: Sequence[str]) -> Reply:
    """Return a reply up to the first of the ends in it, which was no end of its tokens."""
    for end in ends:
        text, found, _ = reply.text.partition(end)
        reply = replace(reply, text=text, finish="stop") if found else reply
    return reply


async def decide_after(step: StepContext, exchange: Exchange, spec: CallSpec) -> Exchange:
    """Ask for the answer after thoughts: the same messages, the begun turn being the thoughts and the cue.

    The step's own cue wins over the trigger of `spec`. Where the runtime cannot continue a turn, the thoughts go out
    as a turn of the assistant and the cue as a new turn of the user. The trace says so, and that thoughts were cut off.
    """
    if exchange.cut:
        exchange.record.notes = (*exchange.record.notes, "the thoughts ran out of tokens")
    model = await step.asker.model()
    trigger = spec.trigger(step.answer.name)
    cue = trigger if trigger and not own_cue(step) else exchange.cue
    request = replace(
        exchange.request,
        max_tokens=most_tokens(step, spec),
        temperature=0.0,
        top_p=None,
        stop=stops(step, spec.stop, model),
        alternatives=0,
    )
    thoughts = f"{exchange.request.begun}{exchange.text}".strip()
    built = Built(spec=spec, request=request, cue=cue, ends=exchange.again)
    return await send_deciding(step, going_on(step, built, thoughts, model))


async def log_probabilities(step: StepContext, built: Built, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the log-probability of each text after the call's begun turn, only as far as the texts differ.

    Raises Unsupported where the model gives none.
    """
    scores = await score(step.asker, built.request, build_answer({"label": list(texts)}))
    _scored(step, built, scores)
    return tuple(scores.logprobs[text] for text in texts)


async def decide_again(step: StepContext, exchange: Exchange, request: Request) -> Exchange:
    """Ask a deciding call once more with another request (a repair)."""
    if step.decide != "generate" and not exchange.thinks and not (request.grammar or request.schema):
        request = await _constrain(step, request)
    spec = CallSpec(name=exchange.call, produces="answer", thinks=exchange.thinks)
    ends = () if exchange.thinks else exchange.again
    built = Built(spec=spec, request=request, cue=exchange.cue, ends=ends, again=exchange.again)
    reply = _ended(await _ask(step, request), built.ends)
    return _exchange(step, built, reply, deciding=True, is_repair=True)


def read_answer(step: StepContext, exchange: Exchange) -> Answer:
    """Parse the answer in a deciding reply, and note it in the trace."""
    record = exchange.record
    record.deciding = True
    if exchange.scores is not None:
        record.parsed = exchange.scores.value
        extra: dict[str, Any] = {"scores": exchange.scores.logprobs, "outside": exchange.scores.outside}
        if exchange.scores.offsets:
            extra["offsets"] = exchange.scores.offsets
        return Answer(value=exchange.scores.value, extra=extra, last=exchange)
    try:
        value = _value(step, exchange)
    except Unparsed as error:
        record.problem = "the reply ran out of tokens" if exchange.cut else str(error)
        flag: Flag = "truncated" if exchange.cut else "unparsed"
        return Answer(value=None, flag=flag, problem=record.problem, last=exchange)
    record.parsed = value
    if exchange.cut and not step.answer.alternatives():
        record.problem = "the reply ran out of tokens"
        return Answer(value=value, flag="truncated", problem=record.problem, last=exchange)
    return Answer(value=value, last=exchange)


def _value(step: StepContext, exchange: Exchange) -> Any:
    if exchange.thinks:
        return step.answer.extract(exchange.text, exchange.cue)
    try:
        return step.answer.parse(exchange.text)
    except Unparsed:
        if exchange.request.grammar or exchange.request.schema:
            raise
        marker = exchange.cue or "Answer:"
        return step.answer.extract(f"{marker} {exchange.text}", marker)


async def _constrain(step: StepContext, request: Request) -> Request:
    model = await step.asker.model()
    bound, notice = constrained(request, step.answer, model.capabilities, lead_after(request.begun))
    if notice:
        _fall_back(step, notice, "generate")
    return bound


async def _scores(step: StepContext) -> bool:
    """Tell whether the runtime can score; where it cannot, the step runs as `constrain`, and says so once."""
    model = await step.asker.model()
    missing = sorted({"logprobs", "continue"} - model.capabilities)
    if missing:
        _fall_back(step, f"{model.reference} cannot score (it lacks {', '.join(missing)})", "constrain")
    return not missing


def _fall_back(step: StepContext, reason: str, decide: str) -> None:
    if step.strict:
        raise Unsupported(reason, hint=f"set `decide: {decide}`, or leave out --strict")
    step.notice(f"{reason}; the step runs as `decide: {decide}`")


async def _score(step: StepContext, built: Built) -> Exchange:
    calibration = await _calibration(step)
    scores = await score(step.asker, built.request, step.answer, calibrate=calibration)
    return _scored(step, built, scores, deciding=True)


def _scored(step: StepContext, built: Built, scores: Scores, *, deciding: bool = False) -> Exchange:
    """Return scores as an exchange, one record of all their requests; these are greedy, whatever was asked for."""
    built = replace(built, request=replace(built.request, temperature=0.0, top_p=None))
    reply = Reply(
        text=str(scores.value) if not deciding else step.answer.write(scores.value),
        tokens_in=scores.tokens_in,
        tokens_out=scores.tokens_out,
        seconds=scores.seconds,
        cached=scores.cached,
    )
    exchange = _exchange(step, built, reply, deciding=deciding)
    exchange.record.requests = scores.requests
    return replace(exchange, scores=scores)


async def _calibration(step: StepContext) -> Calibration | None:
    """Return the step's offsets where they are those of its model; where they are another's, say so once."""
    if step.calibrate is None:
        return None
    calibration = read_calibration(step.calibrate, step.answer.alternatives())
    model = await step.asker.model()
    if calibration.holds_for(model.reference):
        return calibration
    step.notice(f"the offsets of `calibrate` are those of {calibration.model}; {model.reference} scores without them")
    return None


async def _ask(step: StepContext, request: Request) -> Reply:
    on_text = partial(step.on_text, request) if step.on_text else None
    return await step.asker.ask(request, on_text)


def _exchange(
    step: StepContext, built: Built, reply: Reply, *, deciding: bool = False, is_repair: bool = False
) -> Exchange:
    record = CallRecord(
        call=built.spec.name,
        request=step.asker.sent(built.request),
        reply=reply,
        started=asyncio.get_running_loop().time() - (0.0 if reply.cached else reply.seconds),
        sample=built.request.sample,
        level=next_level(),
        deciding=deciding,
        repair=is_repair,
        notes=built.notes,
    )
    step.record(record)
    return Exchange(
        call=built.spec.name,
        request=built.request,
        reply=reply,
        cue=built.cue,
        thinks=built.spec.thinks,
        record=record,
        again=built.again,
    )
