"""The requests that a step sends for its rows, with the replies that they should get: what an adapter is trained on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from promptkit.answers.base import AnswerType
from promptkit.answers.constraints.forms import ReplyForm
from promptkit.answers.decide import lead_after
from promptkit.engine.render import DryModels, DryRuntime, RequestCaptured, embedder_of
from promptkit.engine.results import Trace
from promptkit.engine.session import RunSettings
from promptkit.engine.single_step import SingleStep
from promptkit.engine.step_rows import StepRow
from promptkit.errors import InputError, Unsupported
from promptkit.runtimes.base import Request, Runtime
from promptkit.runtimes.models import Models
from promptkit.techniques.answer_forms import deciding_form
from promptkit.techniques.context import CallRecord, Exchange, StepContext
from promptkit.techniques.perform import perform
from promptkit.training.labelled_rows import LabelledRows

AT_ONCE = 64
"""Rows whose requests are made concurrently."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A request of a step for the row at a place, and the reply it should get, without the token that ends a turn.

    `choices` are all replies that its answer allows; empty where these are not a closed set. A request for `thoughts`
    decides nothing.
    """

    row: int
    request: Request
    reply: str
    choices: tuple[str, ...] = ()
    thoughts: bool = False


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A request and its reply as token ids.

    `allowed` has for each token of the reply those that may stand in its place in a closed set of replies, itself among
    them; it is empty where the set is open. `row` is the row's place.
    """

    row: int
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    allowed: tuple[tuple[int, ...], ...] = ()
    thoughts: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.reply)


async def step_requests(
    labelled: LabelledRows, *, models: Models, settings: RunSettings, on_row: Callable[[], None] = lambda: None
) -> list[StepRequest]:
    """Return the deciding requests of a step for its rows, exactly as it sends them.

    A step that a head decides is taken as it asks where the head abstains. Where the first request decides, none is
    sent. Where a technique thinks first, the rows' own thoughts are trained on too, as far as rows have any (field
    `thoughts` or `rationale`); for the other rows the model is asked to think, and only the answer after its thoughts
    is trained on. Raises InputError for a step whose answer is not decided by requests to its model, and the errors of
    the runtime.
    """
    requests = _Requests(labelled, models, settings)
    rows = labelled.rows.rows
    found: list[StepRequest] = []
    if not await requests.is_direct(rows[0]):
        requests.refuse_answers_in_thoughts()
    for start in range(0, len(rows), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(rows)))
        for of_row in await asyncio.gather(*(requests.of_row(at, rows[at]) for at in places)):
            found += of_row
            on_row()
    return found


_Performed = tuple[list[CallRecord], StepContext, Exchange | None]
"""The calls of a technique, its context, and the exchange that its answer was read from."""


class _Requests:
    """Makes the requests of a step for its rows."""

    def __init__(self, labelled: LabelledRows, models: Models, settings: RunSettings) -> None:
        assert labelled.step.prompt_call is not None, "only a step that asks is trained"
        # The base is trained, on the requests of `otherwise`: what the step names may not be there yet.
        self._call = replace(labelled.step.prompt_call, head=None, adapter=None)
        self._step = replace(labelled.step, prompt_call=self._call)
        self._pipeline = labelled.pipeline
        self._models = models
        self._settings = settings
        self._direct = False

    async def is_direct(self, row: StepRow) -> bool:
        """Tell whether the first request of the step decides its answer, without thoughts in its reply."""
        records, _, last = await self._rehearsed(row)
        self._direct = len(records) == 1 and records[0].deciding and not (last and last.thinks)
        return self._direct

    def refuse_answers_in_thoughts(self) -> None:
        """Raise InputError for a step whose reply holds thoughts and the answer in one."""
        if self._call.decide == "generate":
            reason = f"under `decide: generate` one reply of {self._call.technique} holds thoughts and answer"
            raise self._untrainable(reason, "set `decide: constrain`, or train the technique `vanilla`")

    def _untrainable(self, reason: str, hint: str) -> InputError:
        step = self._step
        return InputError(replace(step.place, message=f"the step `{step.name}` cannot be trained: {reason}", hint=hint))

    async def of_row(self, at: int, row: StepRow) -> list[StepRequest]:
        """Return the requests of a row, with their replies."""
        if self._direct:
            records, context, _ = await self._rehearsed(row)
            return [self._decided(at, row, record, await deciding_form(context)) for record in records]
        if row.rationale:
            records, context, _ = await self._rehearsed(row, row.rationale)
            if [record.deciding for record in records] == [False, True]:
                thoughts = StepRequest(at, records[0].request, row.rationale, thoughts=True)
                return [thoughts, self._decided(at, row, records[1], await deciding_form(context))]
        records, context, _ = await self._performed(row, self._models)
        deciding = [record for record in records if record.deciding and not record.repair]
        if not deciding:
            hint = "train a technique whose last request decides, such as `vanilla` or `chain_of_thought`"
            raise self._untrainable(f"no request of {self._call.technique} decides its answer", hint)
        return [self._decided(at, row, record, await deciding_form(context)) for record in deciding]

    async def _rehearsed(self, row: StepRow, thoughts: str | None = None) -> _Performed:
        """Perform the technique on the right answer as each reply, the first one `thoughts` where they are given."""
        step = self._step
        client = await self._models.get(step.model)
        kind = row.answer or self._call.answer
        assert isinstance(kind, AnswerType), "a row has a type where the step has none"
        answer = kind.write(row.expect)
        dry = DryRuntime(await client.model(), client, repeat(answer) if thoughts is None else (thoughts, answer))
        return await self._performed(row, DryModels(dry, self._models, embedder_of(step)))

    async def _performed(self, row: StepRow, models: Models | DryModels) -> _Performed:
        step = self._step
        trace = Trace(name=step.name, kind="step")
        alone = SingleStep(self._pipeline, step, models=models, settings=self._settings)
        context = replace(await alone.context(row, trace), repairs=0)
        last: Exchange | None = None
        try:
            last = (await perform(self._call.technique, context)).last
        except* RequestCaptured:
            pass
        return trace.calls, context, last

    def _decided(self, at: int, row: StepRow, record: CallRecord, form: ReplyForm) -> StepRequest:
        lead = lead_after(record.request.begun) if form.writing == "plain" else ""
        return StepRequest(at, record.request, f"{lead}{form.write(row.expect)}", _choices(form, lead))


def _choices(form: ReplyForm, lead: str) -> tuple[str, ...]:
    return tuple(f"{lead}{form.write(form.answer.parse(text))}" for text in form.answer.alternatives())


async def encode_requests(requests: Sequence[StepRequest], runtime: Runtime) -> list[TrainingExample]:
    """Return requests and replies as the model's own tokens.

    Raises Unsupported where the runtime has no token ids, as a server's model has none.
    """
    known: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}
    examples: list[TrainingExample] = []
    for request in requests:
        encoded = await runtime.encode(request.request, request.reply)
        if encoded is None:
            reference = (await runtime.model()).reference
            hint = "name its weights by --model gguf:PATH, or train embedded/smollm2"
            raise Unsupported(f"{reference} cannot be trained: its weights are not in this process", hint=hint)
        choices = known.get(request.choices)
        if request.choices and (choices is None or choices[request.reply] != encoded.reply):
            choices = known[request.choices] = await _encoded_choices(request, runtime)
        allowed = _allowed(encoded.reply, choices) if choices else ()
        examples.append(TrainingExample(request.row, encoded.request, encoded.reply, allowed, request.thoughts))
    return examples


async def _encoded_choices(request: StepRequest, runtime: Runtime) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for choice in request.choices:
        encoded = await runtime.encode(request.request, choice)
        assert encoded is not None, "the runtime has encoded the right reply"
        found[choice] = encoded.reply
    return found


def _allowed(reply: tuple[int, ...], choices: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Return for each place of a reply the tokens with which a choice goes on that has begun as the reply."""
    return tuple(
        tuple(sorted({other[at] for other in choices.values() if len(other) > at and other[:at] == reply[:at]}))
        for at in range(len(reply))
    )
