"""Rendering a call over the user's prompt, sending it, and reading the answer in its reply."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.answers.build import instruction
from promptkit.answers.calibration import Calibration, read_calibration
from promptkit.answers.decide import Scores, constrain, lead_after, score_answer
from promptkit.errors import Unsupported
from promptkit.prompts.expressions import Expression
from promptkit.prompts.messages import Layout, compose, open_layout
from promptkit.prompts.prompt import Layer, WrittenExample
from promptkit.runtimes.base import Message, Model, Reply, Request
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import Answer, CallRecord, Exchange, Flag, StepContext
from promptkit.techniques.levels import level, next_level
from promptkit.techniques.thinking import (
    Thoughts,
    missing_answer,
    no_thoughts,
    thought_warnings,
    thoughts_of,
)

THOUGHT_TOKENS = 256
NO_CUE = "none"
EXAMPLES = "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments:
    """A technique's arguments of one call: values under `call.` in its template, and sampling options.

    `demos` are demonstrations of the technique's shape, shown in place of the user's examples. `logprobs` asks for the
    log-probability of each token of the reply, where the runtime has them. Thoughts `past_cue` do not end at the cue,
    since answers to other problems come first. `scored`: texts are scored in place of a reply.
    """

    spec: CallSpec
    values: Mapping[str, Any]
    demos: tuple[Mapping[str, Any], ...]
    sample: str
    temperature: float | None
    max_tokens: int | None
    stop: tuple[str, ...]
    logprobs: bool = False
    past_cue: bool = False
    scored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCall:
    """A call ready to be sent. `cue` is the text that its answer follows; `ends` are texts at which its reply is cut,
    whether or not the runtime stopped there; `again` are those at which an answer has gone on to an invented example.
    """

    spec: CallSpec
    request: Request
    cue: str
    ends: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def build_call(step: StepContext, call: CallArguments) -> BuiltCall:
    """Render a call over the user's prompt and lay it out. Raises InputError for a broken template."""
    spec, model = call.spec, await step.client.model()
    answers = spec.produces == "answer"
    thoughts = await _thoughts(step, call)
    leaves_thinking = bool(thoughts.tokens) and spec.asks_to_think and not call.values.get("examples_think")
    call = replace(call, values={"model_thinks": leaves_thinking, **call.values})
    if leaves_thinking:
        step.notice(f"{model.reference} thinks by itself: `{spec.file.parent.name}` does not tell it to")
    if spec.thinks:
        call = replace(call, values={"cue": cue_of(step, spec), **call.values})
    layout = open_layout(step.layout)
    sections = _sections(step, call, layout)
    cue = _explicit_cue(step, spec, sections)
    begin = _begin(spec, call.values)
    continues = bool(begin) and answers and not spec.thinks
    examples = _examples(step, call, layout)
    composed = compose(
        sections,
        layout=layout,
        mode=step.messages,
        examples=examples,
        cue=cue if answers else NO_CUE,
        begin="" if continues else begin if begin or spec.thinks or not answers else None,
        # A begun turn leaves no place for thoughts.
        continues="continue" in model.capabilities and not thoughts.tokens,
        system_role="system" in model.capabilities,
        labels=step.answer.alternatives() if spec.hides != "all" else (),
        history=step.history if spec.hides != "all" else (),
    )
    for notice in composed.notices:
        step.notice(notice)
    ends = _end_marks(step, call, composed.cue)
    request = Request(
        messages=composed.messages,
        begun=composed.begun,
        sample=call.sample,
        stop=stop_sequences(step, ends, model),
        alternatives=1 if call.logprobs and "logprobs" in model.capabilities else 0,
        **thoughts.fields,
        **_sampling_options(step, call),
    )
    again = _invented_example_starts(composed.cue, examples)
    decides = answers and not spec.thinks
    built = BuiltCall(
        spec=spec, request=request, cue=composed.cue, ends=(*ends, *again) if decides else ends, again=again
    )
    return continue_turn(step, built, begin, model) if continues else built


async def _thoughts(step: StepContext, call: CallArguments) -> Thoughts:
    """Return the thoughts of a call: none where log-probabilities decide, as the step's `think` says elsewhere."""
    model = await step.client.model()
    decides = call.spec.produces == "answer" and not call.spec.thinks
    if call.scored or (decides and step.decide == "score" and not model_lacks_scoring(model)):
        return replace(no_thoughts(model.capabilities), tokens=0)
    thoughts = thoughts_of(step.options.think, model.capabilities)
    if thoughts.tokens and step.options.think is None and "think" in model.capabilities:
        step.notice(f"{model.reference} thinks before it answers; with `think: off` it answers at once")
    return thoughts


def _begin(spec: CallSpec, values: Mapping[str, Any]) -> str:
    """Return the beginning of a call's turn, without one that only tells a model to think that thinks by itself."""
    if not spec.begin or values["model_thinks"]:
        return ""
    return str(Expression.parse(spec.begin).evaluate({"call": values})).strip()


def continue_turn(step: StepContext, built: BuiltCall, text: str, model: Model) -> BuiltCall:
    """Return a call whose assistant's turn begins with a text and then the cue, so that the answer comes next.

    If the runtime cannot continue a turn, the text is sent as a turn of the assistant and the cue as a new turn of the
    user, and the trace says so.
    """
    request, cue = built.request, built.cue
    if "continue" in model.capabilities:
        return replace(built, request=replace(request, begun=f"{text}\n{cue}".strip()))
    turn = Message("user", cue or instruction(step.answer, project=step.project))
    messages = (*request.messages, Message("assistant", text), turn)
    note = "the text before the cue sent as a turn: the runtime cannot continue one"
    return replace(built, request=replace(request, messages=messages, begun=""), notes=(note,))


def example_types(step: StepContext) -> tuple[AnswerType, ...]:
    """Return the answer type of each of the user's examples; it may differ by row."""
    return step.example_answers or (step.answer,) * len(step.examples)


def written_examples(step: StepContext) -> tuple[WrittenExample, ...]:
    """Return the user's examples as a model reads them. Raises InputError where one cannot be written."""
    writes = [kind.write for kind in example_types(step)]
    return step.prompt.written(step.examples, writes, step.values, open_layout(step.layout).delimiters)


def cue_of(step: StepContext, spec: CallSpec) -> str:
    """Return the cue of a call, the words that its answer follows; empty without one.

    It is the user's, else the technique's, else the layout's.
    """
    written = step.prompt.sections(step.values, layers=step.layers, only=("cue",)).get("cue", "")
    given = (step.cue, written, spec.trigger(step.answer.name), open_layout(step.layout).cue)
    cue = next((text.strip() for text in given if text and text.strip()), "")
    return "" if cue == NO_CUE else cue


def _sections(step: StepContext, call: CallArguments, layout: Layout) -> dict[str, str]:
    layer = Layer(call.spec.file, call.values)
    sections = step.prompt.sections(step.values, layers=(*step.layers, layer), delimiters=layout.delimiters)
    shown = {name: text for name, text in sections.items() if call.spec.shows(name)}
    if call.spec.produces == "answer" and "output_format" not in shown and call.spec.shows("output_format"):
        shown["output_format"] = layout.as_data(instruction(step.answer, project=step.project))
    return shown


def _examples(step: StepContext, call: CallArguments, layout: Layout) -> tuple[WrittenExample, ...]:
    """Return the examples of a call: the technique's demonstrations, else the user's examples."""
    spec = call.spec
    if call.demos and EXAMPLES not in spec.writes:
        return tuple(_demonstration(step, demo, spec, layout) for demo in call.demos)
    if not spec.keeps(EXAMPLES):
        return ()
    written = written_examples(step)
    if spec.thinks or not any(example.thoughts for example in written):
        return written
    return tuple(replace(example, thoughts=None) for example in written)


def _demonstration(step: StepContext, demo: Mapping[str, Any], spec: CallSpec, layout: Layout) -> WrittenExample:
    """Return a demonstration as the model reads it; an output that is a list has the separator of the step's lists."""
    thoughts = demo.get("thoughts") if spec.thinks or spec.produces != "answer" else None
    output = demo.get("output", "")
    if isinstance(output, list):
        separator = step.answer.description().get("separator", ",")
        output = ("\n" if separator == "\n" else f"{separator.strip()} ").join(map(str, output))
    data = layout.as_data
    return WrittenExample(data(str(demo.get("input", ""))), data(str(output)), thoughts and data(thoughts))


def _explicit_cue(step: StepContext, spec: CallSpec, sections: dict[str, str]) -> str | None:
    """Return the user's cue, else the technique's; None leaves it to the prompt or the layout."""
    if step.cue and step.cue.strip():
        return step.cue
    if sections.get("cue"):
        return None
    return spec.trigger(step.answer.name) or None


def has_user_cue(step: StepContext) -> bool:
    """Tell whether the step or its prompt gives a cue."""
    if step.cue and step.cue.strip():
        return step.cue != NO_CUE
    return bool(step.prompt.sections(step.values, only=("cue",)).get("cue"))


def _end_marks(step: StepContext, call: CallArguments, cue: str) -> tuple[str, ...]:
    """Return the texts that end a reply: the technique's, and the cue for thoughts that are decided later."""
    ends = (*call.spec.stop, *call.stop)
    at_cue = call.spec.thinks and not call.past_cue and step.decide != "generate" and cue
    return (*ends, f"\n{cue}") if at_cue else ends


def _invented_example_starts(cue: str, examples: Sequence[WrittenExample]) -> tuple[str, ...]:
    """Return where an answer after examples goes on to one that the model invents: at the next cue."""
    again = f"\n{cue}"
    return (again,) if cue and examples and not any(again in example.output for example in examples) else ()


def stop_sequences(step: StepContext, ends: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Return the texts at which the runtime stops: the user's and, if it can stop, the technique's."""
    return (*step.options.stop, *ends) if "stop" in model.capabilities else step.options.stop


def token_limit(step: StepContext, spec: CallSpec, requested: int | None = None) -> int:
    """Return the longest reply in tokens: the technique's wish within the step's option, else the need of its kind."""
    usual = THOUGHT_TOKENS if spec.thinks or spec.produces != "answer" else step.answer.max_tokens
    wish, bound = requested or spec.max_tokens, step.options.max_tokens
    return min(wish, bound) if wish and bound else wish or bound or usual


def _sampling_options(step: StepContext, call: CallArguments) -> dict[str, Any]:
    """Return the sampling options of a request; thoughts that end in their answer get tokens for it."""
    options = step.options
    tokens = token_limit(step, call.spec, call.max_tokens)
    if call.spec.thinks and step.decide == "generate":
        tokens = min(tokens + step.answer.max_tokens, options.max_tokens or sys.maxsize)
    temperature = _temperature(step, call)
    return {
        "max_tokens": tokens,
        "temperature": temperature,
        "top_p": options.top_p if temperature else None,
        "seed": options.seed,
        "context": options.context,
    }


def _temperature(step: StepContext, call: CallArguments) -> float:
    """Return the technique's temperature, else the step's, which is for thoughts: deciding after them is greedy.

    A deciding call that comes first is itself sampled.
    """
    if call.temperature is not None:
        return call.temperature
    decides = call.spec.produces == "answer" and not call.spec.thinks
    return 0.0 if decides and level() > step.level else step.options.temperature or 0.0


async def send(step: StepContext, built: BuiltCall) -> Exchange:
    """Send a call that decides nothing: one that thinks, or one that makes text for its technique."""
    exchange = _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends))
    if exchange.cut and not exchange.thinks:
        exchange.record.notes = (*exchange.record.notes, "the reply ran out of tokens")
    return exchange


async def send_deciding(step: StepContext, built: BuiltCall, *, after_thoughts: bool = False) -> Exchange:
    """Send a call whose reply is the answer, as the step's `decide` says.

    Where a constraint would forbid a model's thoughts, these come in a request before it, unless the call itself comes
    `after_thoughts`.
    """
    if step.decide == "score" and await _can_score(step):
        return await _score(step, built)
    if step.decide != "generate":
        constrained = await _constrain(step, built.request)
        if is_constrained(constrained) and not await _constrains_after_thoughts(step, built.request):
            if not after_thoughts:
                return await _send_before_deciding(step, built)
            constrained = replace(constrained, thought_tokens=0)
        built = replace(built, request=constrained)
    return _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends), deciding=True)


def is_constrained(request: Request) -> bool:
    """Tell whether a grammar or a schema holds for the reply."""
    return request.grammar is not None or request.schema is not None


async def _constrains_after_thoughts(step: StepContext, request: Request) -> bool:
    """Tell whether a grammar or schema leaves room for the thoughts of a request."""
    return not request.thought_tokens or "after_thoughts" in (await step.client.model()).capabilities


async def _send_before_deciding(step: StepContext, built: BuiltCall) -> Exchange:
    """Ask without a constraint, which would forbid thoughts, and then for the answer under it."""
    exchange = _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends))
    return await decide_after(step, exchange, CallSpec(name=exchange.call, produces="answer"))


def _cut_at(reply: Reply, ends: Sequence[str]) -> Reply:
    """Return a reply cut at the ends in it; a cut reply did not run out of tokens."""
    for end in ends:
        text, found, _ = reply.text.partition(end)
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
        **no_thoughts(model.capabilities).fields,
    )
    thoughts = f"{exchange.request.begun}{exchange.text}".strip()
    built = BuiltCall(spec=spec, request=request, cue=cue, ends=exchange.again)
    return await send_deciding(step, continue_turn(step, built, thoughts, model), after_thoughts=True)


def _is_answer(step: StepContext, text: str) -> bool:
    """Tell whether a text is an answer exactly as it would be written; a text answer has no such form."""
    if step.answer.grammar() is None and step.answer.schema() is None:
        return False
    try:
        return step.answer.write(step.answer.parse(text)).casefold() == text.strip().casefold()
    except (Unparsed, ValueError):
        return False


async def log_probabilities(step: StepContext, built: BuiltCall, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the log-probability of each text after the call's begun turn, only up to where the texts differ.

    Raises Unsupported for a model without log-probabilities.
    """
    scores = await score_answer(step.client, built.request, build_answer({"label": list(texts)}))
    _scored_exchange(step, built, scores)
    return tuple(scores.logprobs[text] for text in texts)


async def decide_again(step: StepContext, exchange: Exchange, request: Request) -> Exchange:
    """Ask a deciding call once more with another request (a repair)."""
    is_open = not exchange.thinks and not is_constrained(request)
    if step.decide != "generate" and is_open and await _constrains_after_thoughts(step, request):
        request = await _constrain(step, request)
    spec = CallSpec(name=exchange.call, produces="answer", thinks=exchange.thinks)
    ends = () if exchange.thinks else exchange.again
    built = BuiltCall(spec=spec, request=request, cue=exchange.cue, ends=ends, again=exchange.again)
    reply = _cut_at(await _ask(step, request), built.ends)
    return _exchange(step, built, reply, deciding=True, is_repair=True)


def read_answer(step: StepContext, exchange: Exchange) -> Answer:
    """Parse the answer in a deciding reply and note it in the trace."""
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
        cut = "the reply ran out of tokens" if exchange.cut else ""
        record.problem = missing_answer(exchange.request, exchange.reply) or cut or str(error)
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
    model = await step.client.model()
    bound, notice = constrain(request, step.answer, model.capabilities, lead_after(request.begun))
    if notice:
        _fall_back(step, notice, "generate")
    return bound


def model_lacks_scoring(model: Model) -> list[str]:
    """Return the capabilities that a model lacks for scoring."""
    return sorted({"logprobs", "continue"} - model.capabilities)


async def _can_score(step: StepContext) -> bool:
    """Tell whether the runtime can score; if not, the step runs as `constrain` and says so once."""
    model = await step.client.model()
    missing = model_lacks_scoring(model)
    if missing:
        _fall_back(step, f"{model.reference} cannot score (it lacks {', '.join(missing)})", "constrain")
    return not missing


def _fall_back(step: StepContext, reason: str, decide: str) -> None:
    if step.strict:
        raise Unsupported(reason, hint=f"set `decide: {decide}`, or leave out --strict")
    step.notice(f"{reason}; the step runs as `decide: {decide}`")


async def _score(step: StepContext, built: BuiltCall) -> Exchange:
    calibration = await _calibration(step)
    built = replace(built, request=replace(built.request, thought_tokens=0))
    scores = await score_answer(step.client, built.request, step.answer, calibrate=calibration)
    return _scored_exchange(step, built, scores, deciding=True)


def _scored_exchange(step: StepContext, built: BuiltCall, scores: Scores, *, deciding: bool = False) -> Exchange:
    """Return scores as an exchange with one record for all their requests, which are greedy in any case."""
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
    on_text = partial(step.on_text, request) if step.on_text else None
    return await step.client.ask(request, on_text)


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
        again=built.again,
    )
