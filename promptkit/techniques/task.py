"""`Task`: the one object through which a technique sees its step and asks the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from promptkit.answers.base import Unparsed
from promptkit.errors import InputError, Unsupported, nearest
from promptkit.project import LIBRARY
from promptkit.prompts.prompt import Example, Layer
from promptkit.runtimes.base import Message, ToolDefinition
from promptkit.techniques.answer_forms import can_score
from promptkit.techniques.artifacts import Row
from promptkit.techniques.asides import ask_typed, read_free
from promptkit.techniques.brief import Brief
from promptkit.techniques.calls import ANSWER, CallSpec, read_call
from promptkit.techniques.context import Answer, Exchange, Flag, Spec, StepContext
from promptkit.techniques.exchanges import (
    decide_after,
    log_probabilities,
    read_answer,
    send,
    send_deciding,
    stands_alone,
    with_model_of,
)
from promptkit.techniques.levels import level, run_concurrently
from promptkit.techniques.own_thoughts import conclude, think
from promptkit.techniques.reading import with_cue
from promptkit.techniques.requests import BuiltCall, CallArguments, ToolChoice, build_call, conversation
from promptkit.techniques.roles import SECTION
from promptkit.techniques.spec import ConfiguredTechnique, configure, with_nested
from promptkit.techniques.step_tools import StepTools

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_REPLACED_INPUT: Final = LIBRARY / "templates" / "techniques" / "replaced_input.j2"


class Perform(Protocol):
    """Performs a technique on a step; `Task.run` is given it, since it may not import it."""

    async def __call__(self, spec: Any, step: StepContext) -> Answer: ...


class Task(StepTools):
    """One execution of a step: all that its technique sees of it, and all ways to ask the model."""

    def __init__(self, step: StepContext, chosen: ConfiguredTechnique, perform: Perform) -> None:
        super().__init__(step, chosen)
        self._perform = perform

    async def ask(
        self,
        call: str,
        *,
        replace: Mapping[str, Any] | None = None,
        sample: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        demos: Sequence[Mapping[str, Any]] | None = None,
        logprobs: bool = False,
        past_cue: bool = False,
        model: str | None = None,
        after: Exchange | None = None,
        turns: Sequence[Message] = (),
        functions: Collection[str] = (),
        tool_choice: ToolChoice = "auto",
        **values: Any,
    ) -> Exchange:
        """Render `call`, send it once and return the exchange.

        `values` stand in its template under `call.`, and so do the roles, `demos`, `examples_think`, the `brief` of the
        task and, in a call that thinks, the `cue` of its answer.

        The exchange of a typed aside has its `value`. A call that produces an answer and does not think is decided
        directly, as the step's `decide` says; a call that thinks leaves its answer to `decide`. `replace` gives other
        values to roles: the user's sections are rendered with them. `demos` are shown instead of the call's
        demonstrations. With `logprobs` the exchange has a `confidence`, if the runtime has log-probabilities.
        `past_cue` lets thoughts that are decided later go on past a cue, where answers to other problems come first.
        `model` is a reference to the model that answers; without one it is that of the step's `models`, else the
        step's. The call goes on `after` an exchange in the same conversation: its template's own sections are the next
        turn of the user. Further `turns` stand between, such as the results of calls.

        `functions` are tools of the step that the model may call. The exchange then has `calls`, which `run_call`
        makes; under the `tool_choice` `required` there is at least one. Such a call decides nothing directly, so its
        template `thinks`. The model needs the capability `function_calls`.

        Raises InputError for a missing or broken template, and what the runtime raises.
        """
        task = self.replacing(**replace) if replace else self
        task = await task._answered_by(model or self._model_of(call))
        built = await task._built(
            call,
            values,
            demos=demos,
            sample=sample,
            temperature=temperature,
            max_tokens=max_tokens,
            stop=tuple(stop),
            logprobs=logprobs,
            past_cue=past_cue,
            after=after,
            turns=tuple(turns),
            tools=self._definitions(functions),
            tool_choice=tool_choice,
        )
        if built.spec.aside is not None:
            return await ask_typed(task._step, built, built.spec.aside)
        if built.spec.answers and not built.spec.thinks:
            return await send_deciding(task._step, built)
        return await send(task._step, built)

    async def follow(
        self, exchange: Exchange, turns: Sequence[Message], *, functions: Collection[str] = ()
    ) -> Exchange:
        """Send the conversation of an exchange again, with its reply and further turns, and return the next exchange.

        The turns are those of `run_call`, one for each call of the reply. `functions` are as in `ask`.
        """
        messages = (*conversation(exchange), *turns)
        request = replace(
            exchange.request, messages=messages, begun="", tools=self._definitions(functions), tool_choice="auto"
        )
        built = BuiltCall(spec=self._call(exchange.call), request=request, form=exchange.form, cue=exchange.cue)
        return await send(with_model_of(self._step, exchange), built)

    async def sample(self, call: str, n: int, *, temperature: float, **values: Any) -> list[Exchange]:
        """Send `call` n times concurrently, each with its own sample number; once and greedily for n = 1 at temperature
        0.

        If this is itself one of several samples, the single call has their temperature. Raises InputError for several
        samples at a temperature of 0, for several of a call that is scored, and for none.
        """
        if n == 1 and temperature == 0:
            return [await self.ask(call, temperature=None if self._sampled else 0.0, **values)]
        self._refuse_greedy(n, temperature)
        await self._refuse_scored(n, [self._call(call)])
        return await self.each(
            lambda number: self.ask(call, sample=number, temperature=temperature, **values), range(n)
        )

    async def run(
        self,
        technique: Spec,
        *,
        sample: int | None = None,
        temperature: float | None = None,
        beneath: Layer | None = None,
        replace: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Answer:
        """Perform another technique on this step and return its answer, by another `model` where that is named.

        `sample` and `temperature` make it one of several samples. `beneath` lies between the user's prompt and the
        calls of the other technique. `replace` gives other values to roles of this one. Raises InputError for a sample
        of calls that are all scored, since it would be the same each time.
        """
        if sample is not None:
            await self._refuse_scored_beneath(technique)
        task = await (self.replacing(**replace) if replace else self)._answered_by(model)
        return await self._perform(technique, task._nested(sample, temperature, beneath))

    async def sample_run(self, technique: Spec, n: int, *, temperature: float) -> list[Answer]:
        """Perform another technique n times concurrently, each a sample. Raises InputError as `sample` does."""
        self._refuse_greedy(n, temperature)
        return await self.each(lambda number: self.run(technique, sample=number, temperature=temperature), range(n))

    def needs_of(self, technique: Spec) -> frozenset[str]:
        """Return the needs of another technique and of those beneath it. Raises InputError for an unknown one."""
        chain = with_nested(configure(technique, self._step.project), self._step.project)
        return frozenset(need for beneath in chain for need in beneath.technique.needs)

    async def read(self, exchange: Exchange, reader: Callable[[str], Outcome]) -> Outcome | None:
        """Return a reader's value of a free reply, for what no answer type reads: a program, a chain of steps.

        `reader` takes the reply's text and raises ValueError (Unparsed) with what is wrong. The reply is then asked for
        again, as often as the step's `repairs` allow. Returns None, with a warning, where no reply can be read.
        """
        return await read_free(with_model_of(self._step, exchange), exchange, reader)

    async def continue_(self, call: str, exchange: Exchange) -> Exchange:
        """Continue from a reply's text with the answer trigger of `call`: a fixed extraction stage.

        Under `constrain` and `score` this is the deciding request of the thinking call.
        """
        return await decide_after(with_model_of(self._step, exchange), exchange, self._call(call))

    async def think(self, call: str, *, after: Exchange | None = None, max_tokens: int, **values: Any) -> Exchange:
        """Let a model that thinks by itself think, and end with its thoughts; the exchange's text is the thoughts.

        They go on `after` an exchange of the same model's thoughts, with the call's `begin` between. Raises Unsupported
        where the model cannot continue its own thoughts, and InputError under `think: off`.
        """
        if self._step.options.think is False:
            raise InputError(f"technique `{self._technique}` needs thoughts, which the step's `think: off` forbids")
        task = self._with(with_model_of(self._step, after)) if after else await self._answered_by(self._model_of(call))
        built = await task._built(call, values, temperature=self._step.options.temperature or 0.0, begins=False)
        begin = self._call(call).begin
        thoughts = f"{after.text.rstrip()}\n{begin}" if after else begin
        return await think(task._step, built, thoughts, max_tokens)

    async def conclude(self, call: str, thoughts: Exchange, **values: Any) -> Exchange:
        """End a model's own thoughts, and ask for the answer after them."""
        task = self._with(with_model_of(self._step, thoughts))
        return await conclude(task._step, await task._built(call, values, begins=False), thoughts.text)

    async def decide(self, exchange: Exchange, *, marked: bool = False, directly: bool = False) -> Answer:
        """Return the answer in a reply; after thoughts, by a deciding request unless `decide` is `generate`.

        With `marked`, thoughts without their cue hold no answer under `generate`. With `directly`, a reply that is an
        answer as it stands needs no deciding request.
        """
        if directly and stands_alone(self._step, exchange.text):
            exchange = replace(exchange, thinks=False)
        elif exchange.thinks and self.decides:
            exchange = await decide_after(
                with_model_of(self._step, exchange), exchange, CallSpec(name=exchange.call, produces=ANSWER)
            )
        elif marked and exchange.cue and not (exchange := with_cue(exchange)).says_cue:
            return replace(self.no_answer(f"the reply nowhere says `{exchange.cue}`", exchange), last=exchange)
        return read_answer(with_model_of(self._step, exchange), exchange)

    def check(self, value: Any) -> str | None:
        """Return the problem of a value with the step's `guard`; None where it passes, or there is no guard."""
        return self._step.guard(value) if self._step.guard else None

    def answer(self, value: Any) -> Answer:
        """Return a value made by code as the answer, without a request; unparsed if it is none of the type's."""
        try:
            return Answer(value=self.answer_type.parse(self.answer_type.write(value)))
        except (Unparsed, ValueError) as error:
            return Answer(value=None, flag="unparsed", problem=str(error))

    def parse(self, text: str) -> Answer:
        """Return the answer that a text made by code or found in a reply is, without a request."""
        try:
            return Answer(value=self.answer_type.parse(text))
        except Unparsed as error:
            return Answer(value=None, flag="unparsed", problem=str(error))

    def no_answer(self, problem: str, exchange: Exchange | None = None, *, flag: Flag = "unparsed") -> Answer:
        """Return that there is no answer, and why; noted in the trace where the last reply is given."""
        if exchange is not None:
            exchange.record.problem = problem
        return Answer(value=None, flag="truncated" if exchange and exchange.cut else flag, problem=problem)

    def vote(self, answers: Sequence[Answer], weights: Sequence[float] | None = None) -> Answer:
        """Return the majority answer by the type's vote key; of a tie, the value seen first, with a warning.

        Answers without a value do not vote and are counted in `extra`. If none is left, the flag is `unparsed`, or
        `truncated` where each was cut off. A single answer is returned as it is, so that it can be repaired.
        """
        if len(answers) == 1:
            return answers[0]
        tally: dict[Any, float] = {}
        first: dict[Any, Answer] = {}
        for answer, weight in zip(answers, weights or [1.0] * len(answers), strict=True):
            if answer.flag is None:
                key = self.vote_key(answer)
                tally[key] = tally.get(key, 0.0) + weight
                first.setdefault(key, answer)
        unparsed = sum(answer.flag is not None for answer in answers)
        if not tally:
            cut = bool(answers) and all(answer.flag == "truncated" for answer in answers)
            why = ": each ran out of tokens; a larger `max_tokens` helps" if cut else ""
            missing = self.no_answer(f"no sample has an answer{why}", flag="truncated" if cut else "unparsed")
            return missing.with_extra(votes=[], unparsed=unparsed)
        winner = max(first, key=lambda key: tally[key])
        votes = [{"value": first[key].value, "weight": tally[key]} for key in first]
        is_tie = sum(weight == tally[winner] for weight in tally.values()) > 1
        return replace(first[winner], warnings=("tie",) if is_tie else ()).with_extra(votes=votes, unparsed=unparsed)

    def vote_key(self, answer: Answer) -> Any:
        """Return a key that equal answers share (26, 26.0 and "$26.")."""
        return self.answer_type.vote_key(answer.value)

    async def each(self, function: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item]) -> list[Outcome]:
        """Apply an async function to all items concurrently; the results are in the items' order."""
        return await run_concurrently(function, items)

    async def logprob(self, call: str, texts: Sequence[str], **values: Any) -> tuple[float, ...]:
        """Return the log-probability of each text after the begun turn of `call`, only up to where the texts differ."""
        return await log_probabilities(self._step, await self._built(call, values, scored=True), texts)

    def warn(self, name: str) -> None:
        """Report a condition of this answer, which changes no value: what the technique could not do.

        Runs, evaluations and thresholds count it by its name, and reports name the technique (`techniques/warnings.py`
        has the shipped ones). A name of one's own is read from the source, so it stands in the call or in a constant.
        """
        self._step.warn((name,))

    def layer(self, call: str, **values: Any) -> Layer:
        """Return a call's template as a layer beneath another technique's calls."""
        return Layer(self._call(call).file, {**self._role_values(), **values})

    def showing(self, items: Iterable[Mapping[str, Any]]) -> Task:
        """Return this task with other examples in place of the user's: `{input, output, thoughts}` each."""
        examples = tuple(
            Example(dict(item["input"]), item["output"], item.get("thoughts"), number)
            for number, item in enumerate(items, start=1)
        )
        answer_of = self._step.answer_of
        kinds = tuple(answer_of(example.inputs) for example in examples) if answer_of else ()
        return self._with(replace(self._step, examples=examples, example_answers=kinds))

    def on(self, row: Row) -> Task:
        """Return this task for a row of data, in a preparation."""
        step = self._step
        values = {**step.prompt.defaults, **row.inputs}
        examples = step.examples_for(values) if step.examples_for else step.examples
        kinds = tuple(step.answer_of(example.inputs) for example in examples) if step.answer_of else ()
        changed = replace(step, values=values, examples=examples, example_answers=kinds, level=level())
        return self._with(replace(changed, answer=row.answer or step.answer))

    def replacing(self, **roles: Any) -> Task:
        """Return this task with other values for roles: an input's, or the text of the input section.

        A technique that it runs gets them too, whichever inputs play these roles there. Raises InputError for a role
        that the technique does not declare.
        """
        for role in roles:
            if role not in self._bound:
                message = f"technique `{self._technique}` gives a value to the role `{role}`, which it does not declare"
                raise InputError(message, hint=nearest(role, self._bound))
        layers = self._step.layers
        if SECTION in roles and self._bound[SECTION] is None:
            layers = (*layers, Layer(_REPLACED_INPUT, {"text": roles[SECTION]}))
        return self._with(replace(self._step, layers=layers, replaced={**self._step.replaced, **roles}))

    def _model_of(self, call: str) -> str | None:
        models = self._step.models
        return models.get(f"{self._technique}.{call}", models.get(call))

    async def _answered_by(self, reference: str | None) -> Task:
        """Return this task with another model's client, itself without a reference."""
        if reference is None:
            return self
        if self._step.client_of is None:
            raise Unsupported(f"technique `{self._technique}` cannot ask `{reference}` here: there are no other models")
        client = await self._step.client_of(reference)
        return self._with(replace(self._step, client=client, other_model=reference))

    def _with(self, step: StepContext) -> Task:
        return Task(step, self._chosen, self._perform)

    def _nested(self, sample: int | None, temperature: float | None, beneath: Layer | None) -> StepContext:
        step = self._step
        options = step.options if temperature is None else replace(step.options, temperature=temperature)
        layers = step.layers if beneath is None else (*step.layers, beneath)
        began = step.level if sample is None else level()
        return replace(step, sample=self._sample(sample), level=began, options=options, layers=layers)

    async def _built(
        self,
        call: str,
        values: Mapping[str, Any],
        *,
        demos: Sequence[Mapping[str, Any]] | None = None,
        sample: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: tuple[str, ...] = (),
        logprobs: bool = False,
        past_cue: bool = False,
        scored: bool = False,
        after: Exchange | None = None,
        turns: tuple[Message, ...] = (),
        tools: tuple[ToolDefinition, ...] = (),
        tool_choice: ToolChoice = "auto",
        begins: bool = True,
    ) -> BuiltCall:
        spec = self._call(call) if begins else self._call(call).model_copy(update={"begin": ""})
        shown = self.demonstrations(call) if demos is None else tuple(demos)
        values = {
            **self._role_values(),
            "demos": shown,
            "examples_think": self.examples_think,
            "brief": Brief(self._step),
            **values,
        }
        arguments = CallArguments(
            spec=spec.filled(values),
            values=values,
            demos=shown,
            sample=self._sample(sample),
            temperature=temperature,
            max_tokens=max_tokens,
            stop=stop,
            logprobs=logprobs,
            past_cue=past_cue,
            scored=scored,
            after=after,
            turns=turns,
            tools=tools,
            tool_choice=tool_choice,
        )
        return await build_call(self._step, arguments)

    def _definitions(self, tools: Collection[str]) -> tuple[ToolDefinition, ...]:
        """Return tools of the step as a model is offered them."""
        return tuple(
            ToolDefinition(
                name=function, description=self.tools[name].description, parameters=self.tools[name].parameters
            )
            for function, name in self.functions.items()
            if name in tools
        )

    def _refuse_greedy(self, n: int, temperature: float) -> None:
        if temperature <= 0 or n < 1:
            raise InputError(f"technique `{self._technique}` samples: it needs samples ≥ 1 and temperature > 0")

    async def _refuse_scored_beneath(self, technique: Spec) -> None:
        if self._step.decide == "score":
            beneath = with_nested(configure(technique, self._step.project), self._step.project)
            await self._refuse_scored(2, (read_call(file) for over in beneath for file in over.technique.call_files))

    async def _refuse_scored(self, n: int, calls: Iterable[CallSpec]) -> None:
        """Raise InputError for several samples of calls that are all scored, which is the same each time."""
        decided_at_once = self._step.decide == "score" and all(call.answers and not call.thinks for call in calls)
        if n > 1 and decided_at_once and await can_score(self._step):
            message = f"technique `{self._technique}` samples answers that are scored: all samples would be the same"
            raise InputError(message, hint="set `decide: constrain`, or sample a technique that thinks first")

    def _sample(self, number: int | None) -> str:
        return self._step.sample if number is None else f"{self._step.sample}/{number}"
