"""Rendering a call over the user's prompt, sending it, and reading the answer in its reply."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from promptkit.answers.base import WHOLE_REPLY, AnswerType, EmptyReply, Reading, Refusal, Unparsed
from promptkit.answers.build import aside_repair_message, instruction, json_instruction
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.answers.calibration import Calibration, read_calibration
from promptkit.answers.constraints.forms import ReplyForm, plain_form, reply_form
from promptkit.answers.decide import Scores, score_answer, score_needs
from promptkit.prompts.expressions import Expression
from promptkit.prompts.messages import Layout, compose, open_layout
from promptkit.prompts.prompt import Layer, WrittenExample
from promptkit.runtimes.base import Message, Model, Reply, Request
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
from promptkit.techniques.levels import level, next_level
from promptkit.techniques.thinking import (
    Thoughts,
    missing_answer,
    no_thoughts,
    thought_warnings,
    thoughts_of,
    with_more_tokens,
)
from promptkit.techniques.warnings import WarningName

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
    """A call ready to be sent. `form` is that of its answer, and `cue` the text that this follows. `ends` are texts at
    which its reply is cut, whether or not the runtime stopped there; `again` are those at which an answer has gone on
    to an invented example.
    """

    spec: CallSpec
    request: Request
    form: ReplyForm
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
    form = plain_form(step.answer) if spec.thinks or not answers else await deciding_form(step)
    sections = _sections(step, call, layout, form)
    # A chat that cannot continue would write the cue itself, which JSON does not let it.
    shows_cue = form.writing == "plain" or "continue" in model.capabilities
    cue = _explicit_cue(step, spec, sections) if shows_cue else NO_CUE
    begin = _begin(spec, call.values)
    continues = bool(begin) and answers and not spec.thinks
    examples = _examples(step, call, layout, model if form.writing != "plain" else None)
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
    ends = _end_marks(step, call, composed.cue) if form.writing == "plain" else ()
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
        spec=spec, request=request, form=form, cue=composed.cue, ends=(*ends, *again) if decides else ends, again=again
    )
    return continue_turn(step, built, begin, model) if continues else built


async def _thoughts(step: StepContext, call: CallArguments) -> Thoughts:
    """Return the thoughts of a call: none where log-probabilities decide, as the step's `think` says elsewhere."""
    model = await step.client.model()
    decides = call.spec.produces == "answer" and not call.spec.thinks
    if call.scored or (decides and step.decide == "score" and not score_needs(step.answer) - model.capabilities):
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
    user, and the trace says so. An answer in JSON is asked for in a turn of the user too, since the prompt before the
    text has asked for a plain one.
    """
    request, cue, writing = built.request, built.cue, built.form.writing
    continues = "continue" in model.capabilities
    if continues and writing == "plain":
        return replace(built, request=replace(request, begun=f"{text}\n{cue}".strip()))
    asks = cue if writing == "plain" else ""
    turn = Message("user", asks or instruction(step.answer, writing, project=step.project))
    messages = (*request.messages, Message("assistant", text), turn)
    reason = "the answer is JSON" if continues else "the runtime cannot continue one"
    note = f"the text before the cue sent as a turn: {reason}"
    return replace(built, request=replace(request, messages=messages, begun=cue if continues else ""), notes=(note,))


def example_types(step: StepContext) -> tuple[AnswerType, ...]:
    """Return the answer type of each of the user's examples; it may differ by row."""
    return step.example_answers or (step.answer,) * len(step.examples)


def written_examples(step: StepContext, model: Model | None = None) -> tuple[WrittenExample, ...]:
    """Return the user's examples as a model reads them, the answers plain, or in the form to which `model` is held.

    Raises InputError where one cannot be written.
    """
    kinds = example_types(step)
    writes = [reply_form(kind, model.capabilities).write if model else kind.write for kind in kinds]
    return step.prompt.written(step.examples, writes, step.values, open_layout(step.layout).delimiters)


def cue_of(step: StepContext, spec: CallSpec) -> str:
    """Return the cue of a call, the words that its answer follows; empty without one.

    It is the user's, else the technique's, else the layout's.
    """
    written = step.prompt.sections(step.values, layers=step.layers, only=("cue",)).get("cue", "")
    given = (step.cue, written, spec.trigger(step.answer.name), open_layout(step.layout).cue)
    cue = next((text.strip() for text in given if text and text.strip()), "")
    return "" if cue == NO_CUE else cue


def _sections(step: StepContext, call: CallArguments, layout: Layout, form: ReplyForm) -> dict[str, str]:
    layer = Layer(call.spec.file, call.values)
    sections = step.prompt.sections(step.values, layers=(*step.layers, layer), delimiters=layout.delimiters)
    shown = {name: text for name, text in sections.items() if call.spec.shows(name)}
    if call.spec.produces == "answer" and "output_format" not in shown and call.spec.shows("output_format"):
        shown["output_format"] = layout.as_data(instruction(step.answer, form.writing, project=step.project))
    elif form.writing != "plain":
        words = (shown.get("output_format", ""), json_instruction(form.writing, project=step.project))
        shown["output_format"] = "\n".join(filter(None, words))
    return shown


def _examples(
    step: StepContext, call: CallArguments, layout: Layout, model: Model | None
) -> tuple[WrittenExample, ...]:
    """Return the examples of a call: the technique's demonstrations, else the user's examples.

    Their answers are in the form to which `model` is held; plain without one.
    """
    spec = call.spec
    if call.demos and EXAMPLES not in spec.writes:
        return tuple(_demonstration(step, demo, spec, layout, model) for demo in call.demos)
    if not spec.keeps(EXAMPLES):
        return ()
    written = written_examples(step, model)
    if spec.thinks or not any(example.thoughts for example in written):
        return written
    return tuple(replace(example, thoughts=None) for example in written)


def _demonstration(
    step: StepContext, demo: Mapping[str, Any], spec: CallSpec, layout: Layout, model: Model | None
) -> WrittenExample:
    """Return a demonstration as the model reads it; an output that is a list has the separator of the step's lists."""
    thoughts = demo.get("thoughts") if spec.thinks or spec.produces != "answer" else None
    output = demo.get("output", "")
    if isinstance(output, list):
        separator = step.answer.description().get("separator", ",")
        output = ("\n" if separator == "\n" else f"{separator.strip()} ").join(map(str, output))
    if model is not None:
        with suppress(Unparsed, ValueError):  # a demonstration of another type of answer
            output = reply_form(step.answer, model.capabilities).write(step.answer.parse(str(output)))
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
    if step.decide == "score" and await can_score(step):
        return await _score(step, built)
    if step.decide != "generate":
        request = constrained(step, built.request, built.form)
        if request.constrained and not await _constrains_after_thoughts(step, request):
            if not after_thoughts:
                return await _send_before_deciding(step, built)
            request = replace(request, thought_tokens=0)
        built = replace(built, request=request)
    exchange = _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends), deciding=True)
    return unwrapped(exchange)


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


async def log_probabilities(step: StepContext, built: BuiltCall, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the log-probability of each text after the call's begun turn, only up to where the texts differ.

    Raises Unsupported for a model without log-probabilities.
    """
    scores = await score_answer(step.client, built.request, build_answer({"label": list(texts)}))
    _scored_exchange(step, built, scores)
    return tuple(scores.logprobs[text] for text in texts)


async def decide_again(step: StepContext, exchange: Exchange, request: Request) -> Exchange:
    """Ask a deciding call once more with another request (a repair)."""
    form = exchange.form if exchange.thinks else await constrained_form(step)
    is_open = not exchange.thinks and not request.constrained
    if step.decide != "generate" and is_open and await _constrains_after_thoughts(step, request):
        request = constrained(step, request, form)
    spec = CallSpec(name=exchange.call, produces="answer", thinks=exchange.thinks)
    ends = () if exchange.thinks or form.writing != "plain" else exchange.again
    built = BuiltCall(spec=spec, request=request, form=form, cue=exchange.cue, ends=ends, again=exchange.again)
    reply = _cut_at(await _ask(step, request), built.ends)
    return unwrapped(_exchange(step, built, reply, deciding=True, is_repair=True))


def repair_request(exchange: Exchange, message: str, *, begun: str = "", cut: bool) -> Request:
    """Return the request that asks for a reply again: with the reply and what was wrong with it, or, where it was
    `cut` off, with twice the tokens.
    """
    request = exchange.request
    if cut:
        return with_more_tokens(request, exchange.reply)
    turns = (Message("assistant", request.begun + exchange.record.reply.text), Message("user", message))
    return replace(request, messages=(*request.messages, *turns), begun=begun)


async def ask_aside_again(step: StepContext, exchange: Exchange, problem: str) -> Exchange:
    """Ask once more for a reply that its technique could not read."""
    request = repair_request(exchange, aside_repair_message(problem, project=step.project), cut=exchange.cut)
    spec = CallSpec(name=exchange.call)
    built = BuiltCall(spec=spec, request=request, form=exchange.form, cue=exchange.cue, ends=exchange.ends)
    return _exchange(step, built, _cut_at(await _ask(step, request), built.ends), is_repair=True)


def read_answer(step: StepContext, exchange: Exchange) -> Answer:
    """Parse the answer in a deciding reply and note it in the trace."""
    record = exchange.record
    record.deciding = True
    if exchange.scores is not None:
        return scored_answer(exchange, exchange.scores)
    try:
        reading = _reading(step, exchange)
    except Unparsed as error:
        cut = "the reply ran out of tokens" if exchange.cut else ""
        record.problem = missing_answer(exchange.request, exchange.reply) or cut or str(error)
        record.warnings = (*record.warnings, *_warnings_of(error))
        flag: Flag = "truncated" if exchange.cut else "unparsed"
        return Answer(value=None, flag=flag, problem=record.problem, last=exchange)
    record.parsed, record.rule = reading.value, reading.rule
    if reading.is_weak:
        record.warnings = (*record.warnings, "weak_reading")
    if exchange.cut and not step.answer.alternatives():
        record.problem = "the reply ran out of tokens"
        return Answer(value=reading.value, flag="truncated", problem=record.problem, last=exchange)
    return Answer(value=reading.value, last=exchange)


def _reading(step: StepContext, exchange: Exchange) -> Reading:
    """Return the value of a deciding reply. A reply under a constraint is parsed, not searched."""
    if not exchange.thinks and exchange.request.constrained:
        read = step.answer.parse if exchange.unwrapped else exchange.form.read
        return Reading(read(exchange.text), WHOLE_REPLY)
    turns = [message.content for message in exchange.request.messages if message.role == "user"]
    return step.answer.find(
        exchange.text, exchange.cue, thinks=exchange.thinks, cut=exchange.cut, question=turns[-1] if turns else ""
    )


def _warnings_of(error: Unparsed) -> tuple[WarningName, ...]:
    """Return the warnings of a reply without an answer."""
    if isinstance(error, Refusal):
        return ("refused",)
    return ("empty_reply",) if isinstance(error, EmptyReply) else ()


async def _score(step: StepContext, built: BuiltCall) -> Exchange:
    calibration = await _calibration(step)
    built = replace(built, request=replace(built.request, thought_tokens=0))
    scores = await score_answer(step.client, built.request, step.answer, calibrate=calibration)
    return _scored_exchange(step, built, scores, deciding=True)


def _scored_exchange(step: StepContext, built: BuiltCall, scores: Scores, *, deciding: bool = False) -> Exchange:
    """Return scores as an exchange with one record for all their requests, which are greedy in any case."""
    built = replace(built, request=replace(built.request, temperature=0.0, top_p=None))
    shown = scores.value is not None
    reply = Reply(
        text="" if not shown else step.answer.write(scores.value) if deciding else str(scores.value),
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
        form=built.form,
        again=built.again,
        ends=built.ends,
    )
