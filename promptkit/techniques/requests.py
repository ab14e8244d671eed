"""Rendering a call over the user's prompt, sending it, and reading the answer in its reply."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

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

THOUGHT_TOKENS = 256
NO_CUE = "none"
EXAMPLES = "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments:
    """What a technique gives a call, beside the step's own: values under `call.`, and how to ask.

    `demos` are demonstrations of the technique's own shape, shown in place of the user's examples. `logprobs` asks for
    the log-probability of each token of the reply, where the runtime gives them. Thoughts `past_cue` do not end at the
    cue: other answers than theirs come before.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCall:
    """A call ready to be sent. `cue` is what its answer follows, wherever it stands; `ends` are where its text stops,
    whether or not the runtime stopped there; `again` is where an answer has gone on to an example that is made up."""

    spec: CallSpec
    request: Request
    cue: str
    ends: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def build_call(step: StepContext, wanted: CallArguments) -> BuiltCall:
    """Render the call over the user's prompt and lay it out. Raises InputError where a template is broken."""
    spec, model = wanted.spec, await step.asker.model()
    answering = spec.produces == "answer"
    if spec.thinks:
        wanted = replace(wanted, values={"cue": cue_of(step, spec), **wanted.values})
    layout = open_layout(step.layout)
    sections = _sections(step, wanted, layout)
    cue = _explicit_cue(step, spec, sections)
    begin = str(Expression.parse(spec.begin).evaluate({"call": wanted.values})).strip() if spec.begin else ""
    goes_on = bool(begin) and answering and not spec.thinks
    examples = _examples(step, wanted, layout)
    composed = compose(
        sections,
        layout=layout,
        mode=step.messages,
        examples=examples,
        cue=cue if answering else NO_CUE,
        begin="" if goes_on else begin if begin or spec.thinks or not answering else None,
        continues="continue" in model.capabilities,
        system_role="system" in model.capabilities,
        labels=step.answer.alternatives() if spec.hides != "all" else (),
        history=step.history if spec.hides != "all" else (),
    )
    for notice in composed.notices:
        step.notice(notice)
    ends = _end_marks(step, wanted, composed.cue)
    request = Request(
        messages=composed.messages,
        begun=composed.begun,
        sample=wanted.sample,
        stop=stop_sequences(step, ends, model),
        alternatives=1 if wanted.logprobs and "logprobs" in model.capabilities else 0,
        **_sampling_options(step, wanted),
    )
    again = _invented_example_starts(composed.cue, examples)
    decides = answering and not spec.thinks
    built = BuiltCall(
        spec=spec, request=request, cue=composed.cue, ends=(*ends, *again) if decides else ends, again=again
    )
    return continue_turn(step, built, begin, model) if goes_on else built


def continue_turn(step: StepContext, built: BuiltCall, text: str, model: Model) -> BuiltCall:
    """Return the call whose assistant's turn begins with a text and then the cue, so that the answer comes next.

    Where the runtime cannot continue a turn, the text goes out as a turn of the assistant and the cue as a new turn of
    the user, and the trace says so.
    """
    request, cue = built.request, built.cue
    if "continue" in model.capabilities:
        return replace(built, request=replace(request, begun=f"{text}\n{cue}".strip()))
    turn = Message("user", cue or instruction(step.answer, project=step.project))
    messages = (*request.messages, Message("assistant", text), turn)
    note = "the text before the cue sent as a turn: the runtime cannot continue one"
    return replace(built, request=replace(request, messages=messages, begun=""), notes=(note,))


def example_types(step: StepContext) -> tuple[AnswerType, ...]:
    """Return the answer type of each of the user's examples, which may differ by row."""
    return step.example_answers or (step.answer,) * len(step.examples)


def written_examples(step: StepContext) -> tuple[WrittenExample, ...]:
    """Return the user's examples as a model reads them. Raises InputError where one cannot be written."""
    writes = [kind.write for kind in example_types(step)]
    return step.prompt.written(step.examples, writes, step.values, open_layout(step.layout).delimiters)


def cue_of(step: StepContext, spec: CallSpec) -> str:
    """Return the words that the answer follows in a call, for a template that shows them; empty where there are none.

    They are the user's, else the technique's, else the layout's.
    """
    own = step.prompt.sections(step.values, layers=step.layers, only=("cue",)).get("cue", "")
    given = (step.cue, own, spec.trigger(step.answer.name), open_layout(step.layout).cue)
    cue = next((text.strip() for text in given if text and text.strip()), "")
    return "" if cue == NO_CUE else cue


def _sections(step: StepContext, wanted: CallArguments, layout: Layout) -> dict[str, str]:
    layer = Layer(wanted.spec.file, wanted.values)
    sections = step.prompt.sections(step.values, layers=(*step.layers, layer), delimiters=layout.delimiters)
    shown = {name: text for name, text in sections.items() if wanted.spec.shows(name)}
    if wanted.spec.produces == "answer" and "output_format" not in shown and wanted.spec.shows("output_format"):
        shown["output_format"] = layout.as_data(instruction(step.answer, project=step.project))
    return shown


def _examples(step: StepContext, wanted: CallArguments, layout: Layout) -> tuple[WrittenExample, ...]:
    """Return what is shown as examples: the technique's demonstrations, else the user's examples."""
    spec = wanted.spec
    if wanted.demos and EXAMPLES not in spec.writes:
        return tuple(_demonstration(step, demo, spec, layout) for demo in wanted.demos)
    if not spec.keeps(EXAMPLES):
        return ()
    written = written_examples(step)
    if spec.thinks or not any(example.thoughts for example in written):
        return written
    return tuple(replace(example, thoughts=None) for example in written)


def _demonstration(step: StepContext, demo: Mapping[str, Any], spec: CallSpec, layout: Layout) -> WrittenExample:
    """Return a demonstration as the model reads it: where its output is a list, with what the step's lists have between
    their items."""
    thoughts = demo.get("thoughts") if spec.thinks or spec.produces != "answer" else None
    output = demo.get("output", "")
    if isinstance(output, list):
        separator = step.answer.description().get("separator", ",")
        output = ("\n" if separator == "\n" else f"{separator.strip()} ").join(map(str, output))
    data = layout.as_data
    return WrittenExample(data(str(demo.get("input", ""))), data(str(output)), thoughts and data(thoughts))


def _explicit_cue(step: StepContext, spec: CallSpec, sections: dict[str, str]) -> str | None:
    """Return the cue before the layout has its say: the user's, else the technique's."""
    if step.cue and step.cue.strip():
        return step.cue
    if sections.get("cue"):
        return None
    return spec.trigger(step.answer.name) or None


def has_user_cue(step: StepContext) -> bool:
    if step.cue and step.cue.strip():
        return step.cue != NO_CUE
    return bool(step.prompt.sections(step.values, only=("cue",)).get("cue"))


def _end_marks(step: StepContext, wanted: CallArguments, cue: str) -> tuple[str, ...]:
    """Return where a call's text stops: what its technique says, and thoughts that are decided later at their cue."""
    ends = (*wanted.spec.stop, *wanted.stop)
    at_cue = wanted.spec.thinks and not wanted.past_cue and step.decide != "generate" and cue
    return (*ends, f"\n{cue}") if at_cue else ends


def _invented_example_starts(cue: str, examples: Sequence[WrittenExample]) -> tuple[str, ...]:
    """Return where an answer after examples has gone on to one that the model makes up: where the cue comes again."""
    again = f"\n{cue}"
    return (again,) if cue and examples and not any(again in each.output for each in examples) else ()


def stop_sequences(step: StepContext, ends: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Return where the runtime is to stop; what is not the user's own wish only where it can."""
    return (*step.options.stop, *ends) if "stop" in model.capabilities else step.options.stop


def token_limit(step: StepContext, spec: CallSpec, wanted: int | None = None) -> int:
    """Return how long a reply may be: as the technique wishes within the step's option, else what its kind needs."""
    own = THOUGHT_TOKENS if spec.thinks or spec.produces != "answer" else step.answer.max_tokens
    wish, bound = wanted or spec.max_tokens, step.options.max_tokens
    return min(wish, bound) if wish and bound else wish or bound or own


def _sampling_options(step: StepContext, wanted: CallArguments) -> dict[str, Any]:
    """Return how a request is sampled and bounded; thoughts that end in their answer have room for it."""
    options = step.options
    tokens = token_limit(step, wanted.spec, wanted.max_tokens)
    if wanted.spec.thinks and step.decide == "generate":
        tokens = min(tokens + step.answer.max_tokens, options.max_tokens or sys.maxsize)
    temperature = _temperature(step, wanted)
    return {
        "max_tokens": tokens,
        "temperature": temperature,
        "top_p": options.top_p if temperature else None,
        "seed": options.seed,
        "think": options.think,
        "context": options.context,
    }


def _temperature(step: StepContext, wanted: CallArguments) -> float:
    """Return the technique's wish, else the step's option, which is for thoughts: what is decided after them is greedy.

    A deciding call that nothing was asked before is itself what is sampled.
    """
    if wanted.temperature is not None:
        return wanted.temperature
    decides = wanted.spec.produces == "answer" and not wanted.spec.thinks
    return 0.0 if decides and level() > step.level else step.options.temperature or 0.0


async def send(step: StepContext, built: BuiltCall) -> Exchange:
    """Ask a call that is not decided yet: one that thinks, or one that makes text for its technique."""
    return _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends))


async def send_deciding(step: StepContext, built: BuiltCall) -> Exchange:
    """Ask a call whose reply is the answer, as the step's `decide` says."""
    if step.decide == "score" and await _can_score(step):
        return await _score(step, built)
    if step.decide != "generate":
        built = replace(built, request=await _constrain(step, built.request))
    return _exchange(step, built, _cut_at(await _ask(step, built.request), built.ends), deciding=True)


def _cut_at(reply: Reply, ends: Sequence[str]) -> Reply:
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
    cue = trigger if trigger and not has_user_cue(step) else exchange.cue
    request = replace(
        exchange.request,
        max_tokens=token_limit(step, spec),
        temperature=0.0,
        top_p=None,
        stop=stop_sequences(step, spec.stop, model),
        alternatives=0,
    )
    thoughts = f"{exchange.request.begun}{exchange.text}".strip()
    built = BuiltCall(spec=spec, request=request, cue=cue, ends=exchange.again)
    return await send_deciding(step, continue_turn(step, built, thoughts, model))


async def log_probabilities(step: StepContext, built: BuiltCall, texts: Sequence[str]) -> tuple[float, ...]:
    """Return the log-probability of each text after the call's begun turn, only as far as the texts differ.

    Raises Unsupported where the model gives none.
    """
    scores = await score_answer(step.asker, built.request, build_answer({"label": list(texts)}))
    _scored_exchange(step, built, scores)
    return tuple(scores.logprobs[text] for text in texts)


async def decide_again(step: StepContext, exchange: Exchange, request: Request) -> Exchange:
    """Ask a deciding call once more with another request (a repair)."""
    if step.decide != "generate" and not exchange.thinks and not (request.grammar or request.schema):
        request = await _constrain(step, request)
    spec = CallSpec(name=exchange.call, produces="answer", thinks=exchange.thinks)
    ends = () if exchange.thinks else exchange.again
    built = BuiltCall(spec=spec, request=request, cue=exchange.cue, ends=ends, again=exchange.again)
    reply = _cut_at(await _ask(step, request), built.ends)
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
    bound, notice = constrain(request, step.answer, model.capabilities, lead_after(request.begun))
    if notice:
        _fall_back(step, notice, "generate")
    return bound


async def _can_score(step: StepContext) -> bool:
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


async def _score(step: StepContext, built: BuiltCall) -> Exchange:
    calibration = await _calibration(step)
    scores = await score_answer(step.asker, built.request, step.answer, calibrate=calibration)
    return _scored_exchange(step, built, scores, deciding=True)


def _scored_exchange(step: StepContext, built: BuiltCall, scores: Scores, *, deciding: bool = False) -> Exchange:
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
    step: StepContext, built: BuiltCall, reply: Reply, *, deciding: bool = False, is_repair: bool = False
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


Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_level: ContextVar[int] = ContextVar("level", default=0)


def reset_level() -> None:
    """Begin at the first level: a step asks anew."""
    _level.set(0)


def level() -> int:
    """Return the level of the last request that the sender has waited for, 0 before the first."""
    return _level.get()


def next_level() -> int:
    """Return the level of a request that was answered: one above all that its sender had waited for."""
    level = _level.get() + 1
    _level.set(level)
    return level


async def run_concurrently(function: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item]) -> list[Outcome]:
    """Apply an async function to all items at once; the results are in the items' order.

    Where one raises, the others are cancelled. What comes after has waited for the longest of them.
    """

    async def apply(item: Item) -> tuple[Outcome, int]:
        try:
            return await function(item), _level.get()
        except SystemExit as error:  # raised in a task it would end the event loop, whatever catches it outside
            raise RuntimeError(f"SystemExit: {error}") from error

    tasks = [asyncio.ensure_future(apply(item)) for item in items]
    try:
        done = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    _level.set(max([_level.get(), *(level for _, level in done)]))
    return [outcome for outcome, _ in done]
