"""Rendering a call over the user's prompt into the request to send."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.build import description, instruction, json_instruction, thoughts_instruction
from promptkit.answers.constraints.forms import ReplyForm, plain_form, reply_form
from promptkit.answers.decide import score_needs
from promptkit.prompts.expressions import Expression
from promptkit.prompts.messages import Layout, compose, open_layout
from promptkit.prompts.prompt import Layer, WrittenExample
from promptkit.runtimes.base import Message, Model, Request, ToolDefinition
from promptkit.techniques.answer_forms import deciding_form
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import Exchange, StepContext
from promptkit.techniques.function_calls import sendable
from promptkit.techniques.levels import level
from promptkit.techniques.thinking import Thoughts, no_thoughts, thoughts_of

ToolChoice = Literal["auto", "required"]
THOUGHT_TOKENS = 256
NO_CUE = "none"
EXAMPLES = "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments:
    """A technique's arguments of one call: values under `call.` in its template, and sampling options.

    `demos` are demonstrations of the technique's shape, shown in place of the user's examples. `logprobs` asks for the
    log-probability of each token of the reply, where the runtime has them. Thoughts `past_cue` do not end at the cue,
    since answers to other problems come first. `scored`: texts are scored in place of a reply. The call goes on `after`
    an exchange in the same conversation, with further `turns` between. `tools` are offered to the model, which chooses
    whether it calls one, or must (`required`).
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
    after: Exchange | None = None
    turns: tuple[Message, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCall:
    """A call ready to be sent. `form` is that of its answer, and `cue` the text that this follows. `ends` are texts at
    which its reply is cut, whether or not the runtime stopped there; `again` are those at which an answer has gone on
    to an invented example. The answer goes on from the text `before` it, which is not the prompt's: thoughts.
    """

    spec: CallSpec
    request: Request
    form: ReplyForm
    cue: str
    ends: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    before: str = ""


async def build_call(step: StepContext, call: CallArguments) -> BuiltCall:
    """Render a call over the user's prompt and lay it out. Raises InputError for a broken template."""
    spec, model = call.spec, await step.client.model()
    answers, kind = spec.answers, spec.aside or step.answer
    thoughts = await _thoughts(step, call)
    leaves_thinking = bool(thoughts.tokens) and spec.asks_to_think and not call.values.get("examples_think")
    call = replace(call, values={"model_thinks": leaves_thinking, **call.values})
    if leaves_thinking:
        step.notice(f"{model.reference} thinks by itself: `{spec.file.parent.name}` does not tell it to")
    if spec.thinks:
        call = replace(call, values={"cue": cue_of(step, spec), **call.values})
    layout = open_layout(step.layout)
    is_read_directly = not call.scored and not spec.thinks and (answers or spec.aside is not None)
    form = await deciding_form(step, kind) if is_read_directly else plain_form(kind)
    sections = _sections(step, call, layout, form, kind)
    # A begun turn leaves no place for thoughts.
    can_begin = "continue" in model.capabilities and not thoughts.tokens
    # A chat whose turn is not begun would write the cue itself, which JSON does not let it.
    shows_cue = form.writing == "plain" or can_begin
    cue = _explicit_cue(step, spec, sections) if shows_cue else NO_CUE
    begin = _begin(spec, call.values) if shows_cue or answers else ""
    continues = bool(begin) and answers and not spec.thinks
    examples = _examples(step, call, layout, model if answers and form.writing != "plain" else None)
    goes_on = call.after is not None
    composed = compose(
        sections,
        layout=layout,
        mode="one" if goes_on else step.messages,
        examples=examples,
        cue=cue if answers else NO_CUE,
        begin="" if continues else begin if begin or spec.thinks or not answers else None,
        continues=can_begin,
        system_role="system" in model.capabilities,
        labels=step.answer.alternatives() if spec.hides != "all" and not goes_on else (),
        history=step.history if spec.hides != "all" and not goes_on else (),
    )
    for notice in composed.notices:
        step.notice(notice)
    ends = _end_marks(step, call, composed.cue) if form.writing == "plain" else ()
    request = Request(
        messages=(*(conversation(call.after) if call.after else ()), *call.turns, *composed.messages),
        begun=composed.begun,
        tools=call.tools,
        tool_choice=call.tool_choice,
        sample=call.sample,
        stop=stop_sequences(step, ends, model),
        alternatives=1 if call.logprobs and "logprobs" in model.capabilities else 0,
        **thoughts.fields,
        **_sampling_options(step, call),
    )
    again = _invented_example_starts(composed.cue, examples)
    decides = answers and not spec.thinks
    built = BuiltCall(
        spec=spec,
        request=request,
        form=form,
        cue=composed.cue if spec.aside is None else cue_of(step, spec),
        ends=(*ends, *again) if decides else ends,
        again=again,
    )
    if not continues:
        return built
    silent = replace(request, **no_thoughts(model.capabilities).fields)  # the turn begins with the thoughts
    return continue_turn(step, replace(built, request=silent), begin, model)


def conversation(exchange: Exchange) -> tuple[Message, ...]:
    """Return the messages of an exchange with its reply, which further turns follow."""
    reply = exchange.record.reply
    calls = tuple(map(sendable, reply.calls))
    return (*exchange.request.messages, Message("assistant", exchange.request.begun + reply.text, calls))


async def _thoughts(step: StepContext, call: CallArguments) -> Thoughts:
    """Return the thoughts of a call: none where log-probabilities decide, as the step's `think` says elsewhere."""
    model = await step.client.model()
    decides = not call.spec.thinks and (call.spec.answers or call.spec.aside is not None)
    kind = call.spec.aside or step.answer
    if call.scored or (decides and step.decide == "score" and not score_needs(kind) - model.capabilities):
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
        return replace(built, request=replace(request, begun=f"{text}\n{cue}".strip()), before=text)
    asks = cue if writing == "plain" else ""
    turn = Message("user", asks or instruction(step.answer, writing, project=step.project))
    messages = (*request.messages, Message("assistant", text), turn)
    reason = "the answer is JSON" if continues else "the runtime cannot continue one"
    note = f"the text before the cue sent as a turn: {reason}"
    request = replace(request, messages=messages, begun=cue if continues else "")
    return replace(built, request=request, notes=(note,), before=text)


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

    It is the user's, else the technique's, else the layout's; a typed aside has the technique's alone.
    """
    if spec.aside is not None:
        return spec.trigger(spec.aside.name)
    written = step.prompt.sections(step.values, layers=step.layers, only=("cue",)).get("cue", "")
    given = (step.cue, written, spec.trigger(step.answer.name), open_layout(step.layout).cue)
    cue = next((text.strip() for text in given if text and text.strip()), "")
    return "" if cue == NO_CUE else cue


def _sections(
    step: StepContext, call: CallArguments, layout: Layout, form: ReplyForm, kind: AnswerType
) -> dict[str, str]:
    layer = Layer(call.spec.file, call.values)
    sections = step.prompt.sections(step.values, layers=(*step.layers, layer), delimiters=layout.delimiters)
    shows = call.spec.shows if call.after is None else call.spec.writes.__contains__
    shown = {name: text for name, text in sections.items() if shows(name)}
    written = shown.pop("output_format", "")
    words = _words_on_form(step, call.spec, form, kind, is_written=bool(written))
    if both := "\n".join(filter(None, (written, layout.as_data(words)))):
        shown["output_format"] = both
    return shown


def _words_on_form(step: StepContext, spec: CallSpec, form: ReplyForm, kind: AnswerType, *, is_written: bool) -> str:
    """Return the words on a reply's form that follow those `written` in the prompt or the template, if any.

    Thoughts get a statement of what the answer is, and never an order to write nothing else.
    """
    if spec.aside is None and not (spec.answers and spec.shows("output_format")):
        return ""
    if not spec.thinks:
        write = json_instruction if is_written else partial(instruction, kind)
        return write(form.writing, project=step.project)
    if spec.aside is not None or "output_format" in spec.writes:
        return ""
    return thoughts_instruction(project=step.project) if is_written else description(kind, project=step.project)


def _examples(
    step: StepContext, call: CallArguments, layout: Layout, model: Model | None
) -> tuple[WrittenExample, ...]:
    """Return the examples of a call: the technique's demonstrations, else the user's examples.

    Their answers are in the form to which `model` is held; plain without one.
    """
    spec = call.spec
    if call.after is not None:
        return ()
    if call.demos and EXAMPLES not in spec.writes:
        return tuple(_demonstration(step, demo, spec, layout, model) for demo in call.demos)
    if not spec.keeps(EXAMPLES):
        return ()
    written = written_examples(step, model)
    if spec.shows_thoughts or not any(example.thoughts for example in written):
        return written
    return tuple(replace(example, thoughts=None) for example in written)


def _demonstration(
    step: StepContext, demo: Mapping[str, Any], spec: CallSpec, layout: Layout, model: Model | None
) -> WrittenExample:
    """Return a demonstration as the model reads it; an output that is a list has the separator of the step's lists."""
    thoughts = demo.get("thoughts") if spec.shows_thoughts or not spec.answers else None
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
    at_cue = call.spec.thinks and call.spec.answers and not call.past_cue and step.decide != "generate" and cue
    return (*ends, f"\n{cue}") if at_cue else ends


def _invented_example_starts(cue: str, examples: Sequence[WrittenExample]) -> tuple[str, ...]:
    """Return the texts at which an answer after examples goes on to one that the model invents: the next cue."""
    again = f"\n{cue}"
    return (again,) if cue and examples and not any(again in example.output for example in examples) else ()


def stop_sequences(step: StepContext, ends: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Return the texts at which the runtime stops: the user's and, if it can stop, the technique's."""
    return (*step.options.stop, *ends) if "stop" in model.capabilities else step.options.stop


def token_limit(step: StepContext, spec: CallSpec, requested: int | None = None) -> int:
    """Return the longest reply in tokens: the technique's wish within the step's option, else the need of its kind."""
    kind = spec.aside or (step.answer if spec.answers else None)
    usual = THOUGHT_TOKENS if spec.thinks or kind is None else kind.max_tokens
    wish, bound = requested or spec.max_tokens, step.options.max_tokens
    return min(wish, bound) if wish and bound else wish or bound or usual


def _sampling_options(step: StepContext, call: CallArguments) -> dict[str, Any]:
    """Return the sampling options of a request; thoughts that end in their answer get tokens for it."""
    options = step.options
    tokens = token_limit(step, call.spec, call.max_tokens)
    if call.spec.thinks and call.spec.answers and step.decide == "generate":
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

    A deciding call that comes first is itself sampled, and so is one of several samples that writes a new answer in
    place of going on from thoughts.
    """
    if call.temperature is not None:
        return call.temperature
    decides_later = call.spec.answers and not call.spec.thinks and level() > step.level
    is_new = is_sample(step) and not call.spec.begin
    return 0.0 if decides_later and not is_new else step.options.temperature or 0.0


def is_sample(step: StepContext) -> bool:
    """Tell whether an execution is a sample of an enclosing technique: its number is then a path."""
    return "/" in step.sample
