"""`Task`: the one object through which a technique asks. Everything else of the step stays behind it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from promptkit.answers import AnswerType, Unparsed
from promptkit.errors import InputError, nearest
from promptkit.prompts import Example
from promptkit.techniques.calls import CallSpec, read_call
from promptkit.techniques.context import Answer, Exchange, StepContext
from promptkit.techniques.requests import Build, build, decide_after, read_answer, send, send_deciding

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Task:
    """One asking of a step, as its technique sees it.

    `inputs` are the prompt's values, `answer_type` says what must come out, `examples` are the user's, `params` the
    parameters that the step gave.
    """

    def __init__(self, step: StepContext, technique: str, params: Mapping[str, Any]) -> None:
        self._step = step
        self._technique = technique
        self.params = params

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self._step.values

    @property
    def answer_type(self) -> AnswerType:
        return self._step.answer

    @property
    def examples(self) -> tuple[Example, ...]:
        return self._step.examples

    @property
    def examples_think(self) -> bool:
        """Whether the user's examples show thoughts, so that a call that thinks needs no trigger."""
        return any(example.thoughts for example in self._step.examples)

    async def ask(
        self,
        call: str,
        *,
        input: str | None = None,
        sample: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        **values: Any,
    ) -> Exchange:
        """Render `call` and ask it once; `values` stand in its template under `call.`.

        A call that produces an answer and does not think is decided at once, as the step's `decide` says; a call that
        thinks leaves its answer to `decide`. `input` takes the place of the input section. Raises InputError where the
        template is missing or broken, and what the runtime raises.
        """
        spec = self._call(call)
        wanted = Build(
            spec=spec,
            values=values,
            input=input,
            sample=self._sample(sample),
            temperature=temperature,
            max_tokens=max_tokens,
            stop=tuple(stop),
        )
        built = await build(self._step, wanted)
        if spec.produces == "answer" and not spec.thinks:
            return await send_deciding(self._step, built)
        return await send(self._step, built)

    async def sample(self, call: str, n: int, *, temperature: float, **values: Any) -> list[Exchange]:
        """Ask `call` n times at once, each with its own sample number. Raises InputError for a temperature of 0."""
        if temperature <= 0 or n < 1:
            raise InputError(f"technique `{self._technique}` samples: it needs samples ≥ 1 and temperature > 0")
        return await self.each(
            lambda number: self.ask(call, sample=number, temperature=temperature, **values), range(n)
        )

    async def continue_(self, call: str, exchange: Exchange) -> Exchange:
        """Go on from a reply's own text with the answer trigger of `call`: a fixed extraction stage.

        Under `constrain` and `score` this is the deciding request of the thinking call.
        """
        return await decide_after(self._step, exchange, self._call(call))

    async def decide(self, exchange: Exchange) -> Answer:
        """Return the answer in a reply; after thoughts, by a deciding request unless `decide` is `generate`."""
        if exchange.thinks and self._step.decide != "generate":
            exchange = await decide_after(self._step, exchange, CallSpec(name=exchange.call, produces="answer"))
        return read_answer(self._step, exchange)

    def answer(self, value: Any) -> Answer:
        """Return a value made by code as the answer, without a request; unparsed if it is none of the type's."""
        try:
            return Answer(value=self.answer_type.parse(self.answer_type.write(value)))
        except (Unparsed, ValueError) as error:
            return Answer(value=None, flag="unparsed", problem=str(error))

    def vote(self, answers: Sequence[Answer], weights: Sequence[float] | None = None) -> Answer:
        """Return the answer that most reach, by the type's vote key; a tie goes to the value seen first.

        Answers without a value are out of the vote and counted in `extra`. With none left, the flag is `unparsed`.
        """
        tally: Counter[Any] = Counter()
        first: dict[Any, Answer] = {}
        for answer, weight in zip(answers, weights or [1.0] * len(answers), strict=True):
            if answer.flag is None:
                key = self.answer_type.vote_key(answer.value)
                tally[key] += weight  # type: ignore[assignment]
                first.setdefault(key, answer)
        unparsed = sum(answer.flag is not None for answer in answers)
        if not tally:
            return Answer(value=None, flag="unparsed", problem="no sample has an answer").with_extra(
                votes=[], unparsed=unparsed
            )
        winner = max(first, key=lambda key: tally[key])
        votes = [{"value": first[key].value, "weight": tally[key]} for key in first]
        return first[winner].with_extra(votes=votes, unparsed=unparsed)

    async def each(self, function: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item]) -> list[Outcome]:
        """Apply an async function to all items at once; the results are in the items' order."""
        tasks = [asyncio.ensure_future(function(item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _sample(self, number: int | None) -> str:
        return self._step.sample if number is None else f"{self._step.sample}/{number}"

    def _call(self, name: str) -> CallSpec:
        folder = self._step.project.find_template("techniques", self._technique)
        with suppress(FileNotFoundError):
            if folder:
                return read_call(folder / f"{name}.j2")
        known = [file.stem for file in folder.glob("*.j2")] if folder else []
        raise InputError(f"technique `{self._technique}` has no template `{name}.j2`", hint=nearest(name, known))
