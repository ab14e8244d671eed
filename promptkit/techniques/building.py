"""From a call to its request: rendering it over the user's prompt, laying it out, and how it is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptkit.answers import AnswerType, instruction
from promptkit.prompts import Layer, Layout, WrittenExample, compose, evaluate, open_layout
from promptkit.runtimes import Message, Model, Request
from promptkit.techniques.calls import CallSpec
from promptkit.techniques.context import StepContext
from promptkit.techniques.levels import level

THOUGHT_TOKENS = 256
NO_CUE = "none"
EXAMPLES = "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
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
class Built:
    """A call ready to be sent. `cue` is what its answer follows, wherever it stands; `ends` are where its text stops,
    whether or not the runtime stopped there; `again` is where an answer has gone on to an example that is made up."""

    spec: CallSpec
    request: Request
    cue: str
    ends: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def build(step: StepContext, wanted: Build) -> Built:
    """Render the call over the user's prompt and lay it out. Raises InputError where a template is broken."""
    spec, model = wanted.spec, await step.asker.model()
    answering = spec.produces == "answer"
    if spec.thinks:
        wanted = replace(wanted, values={"cue": cue_of(step, spec), **wanted.values})
    layout = open_layout(step.layout)
    sections = _sections(step, wanted, layout)
    cue = _cue(step, spec, sections)
    begin = str(evaluate(spec.begin, {"call": wanted.values})).strip() if spec.begin else ""
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
    ends = _ends(step, wanted, composed.cue)
    request = Request(
        messages=composed.messages,
        begun=composed.begun,
        sample=wanted.sample,
        stop=stops(step, ends, model),
        alternatives=1 if wanted.logprobs and "logprobs" in model.capabilities else 0,
        **_asking(step, wanted),
    )
    again = _made_up(composed.cue, examples)
    decides = answering and not spec.thinks
    built = Built(spec=spec, request=request, cue=composed.cue, ends=(*ends, *again) if decides else ends, again=again)
    return going_on(step, built, begin, model) if goes_on else built


def going_on(step: StepContext, built: Built, text: str, model: Model) -> Built:
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


def _sections(step: StepContext, wanted: Build, layout: Layout) -> dict[str, str]:
    layer = Layer(wanted.spec.file, wanted.values)
    sections = step.prompt.sections(step.values, layers=(*step.layers, layer), delimiters=layout.delimiters)
    shown = {name: text for name, text in sections.items() if wanted.spec.shows(name)}
    if wanted.spec.produces == "answer" and "output_format" not in shown and wanted.spec.shows("output_format"):
        shown["output_format"] = layout.as_data(instruction(step.answer, project=step.project))
    return shown


def _examples(step: StepContext, wanted: Build, layout: Layout) -> tuple[WrittenExample, ...]:
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


def _cue(step: StepContext, spec: CallSpec, sections: dict[str, str]) -> str | None:
    """Return the cue before the layout has its say: the user's, else the technique's."""
    if step.cue and step.cue.strip():
        return step.cue
    if sections.get("cue"):
        return None
    return spec.trigger(step.answer.name) or None


def own_cue(step: StepContext) -> bool:
    if step.cue and step.cue.strip():
        return step.cue != NO_CUE
    return bool(step.prompt.sections(step.values, only=("cue",)).get("cue"))


def _ends(step: StepContext, wanted: Build, cue: str) -> tuple[str, ...]:
    """Return where a call's text stops: what its technique says, and thoughts that are decided later at their cue."""
    ends = (*wanted.spec.stop, *wanted.stop)
    at_cue = wanted.spec.thinks and not wanted.past_cue and step.decide != "generate" and cue
    return (*ends, f"\n{cue}") if at_cue else ends


def _made_up(cue: str, examples: Sequence[WrittenExample]) -> tuple[str, ...]:
    """Return where an answer after examples has gone on to one that the model makes up: where the cue comes again."""
    again = f"\n{cue}"
    return (again,) if cue and examples and not any(again in each.output for each in examples) else ()


def stops(step: StepContext, ends: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Return where the runtime is to stop; what is not the user's own wish only where it can."""
    return (*step.options.stop, *ends) if "stop" in model.capabilities else step.options.stop


def most_tokens(step: StepContext, spec: CallSpec, wanted: int | None = None) -> int:
    """Return how long a reply may be: as the technique wishes within the step's option, else what its kind needs."""
    own = THOUGHT_TOKENS if spec.thinks or spec.produces != "answer" else step.answer.max_tokens
    wish, bound = wanted or spec.max_tokens, step.options.max_tokens
    return min(wish, bound) if wish and bound else wish or bound or own


def _asking(step: StepContext, wanted: Build) -> dict[str, Any]:
    """Return how a request is sampled and bounded; thoughts that end in their answer have room for it."""
    options = step.options
    tokens = most_tokens(step, wanted.spec, wanted.max_tokens)
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


def _temperature(step: StepContext, wanted: Build) -> float:
    """Return the technique's wish, else the step's option, which is for thoughts: what is decided after them is greedy.

    A deciding call that nothing was asked before is itself what is sampled.
    """
    if wanted.temperature is not None:
        return wanted.temperature
    decides = wanted.spec.produces == "answer" and not wanted.spec.thinks
    return 0.0 if decides and level() > step.level else step.options.temperature or 0.0
