"""Training a head for a step: rows to requests, requests to vectors, vectors to a file beside the pipeline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from promptkit.answers.head import Head, head_file
from promptkit.engine.heads import prompt_digest, undecidable_by_head
from promptkit.engine.pipeline import Step
from promptkit.engine.session import RunSettings
from promptkit.engine.step_settings import SCORABLE_TYPES
from promptkit.errors import ContextOverflow, InputError, Problem, ServerFailed, Unsupported, place
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.suite.row_clusters import repeated_rows
from promptkit.runtimes.base import HiddenState, Model, Pooling, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.in_process.runtime import InProcessRuntime
from promptkit.runtimes.models import Models
from promptkit.storage.files import check_destination, write_atomic
from promptkit.storage.strict_json import plain
from promptkit.techniques.heads import head_request
from promptkit.training.head.worker import FitInput, fit_as_json
from promptkit.training.labelled_rows import LabelledRows
from promptkit.training.step_requests import step_requests
from promptkit.workers.process import WorkFailed, run_in_worker

LEAST_ROWS, LEAST_OF_LABEL = 20, 4
"""Fewer rows of a label would leave a fold of the cross-validation without it."""
MOST_ROWS: Final = 5_000
SUGGESTED_ROWS: Final = 100
LAYERS: Final = (1.0, 0.75, 0.6, 0.5)
"""The shares of a model's layers after which vectors are compared; middle ones often tell labels apart better."""
POOLINGS: Final[tuple[Pooling, ...]] = ("mean", "last")
FIT_SECONDS: Final = 3_600.0
_TYPICAL_ACCURACY: Final = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """A head to be trained: its step with the rows, its labels, and its file."""

    labelled: LabelledRows
    labels: tuple[str, ...]
    file: Path
    risk: float
    seed: int

    @property
    def step(self) -> Step:
        return self.labelled.step


def plan_head(labelled: LabelledRows, *, risk: float, seed: int, overwrite: bool) -> HeadPlan:
    """Plan the training of a step's head. Sends no request.

    Raises InputError for a step whose answers a head cannot decide, for too few rows, and, without `overwrite`, for an
    existing head.
    """
    step = labelled.step
    call = step.prompt_call
    assert call is not None, "only a step that asks is trained"
    answer = labelled.answer
    if answer is None or call.answer_name not in SCORABLE_TYPES:
        message = f"a head needs the same closed set of answers for all rows; the step `{step.name}` has none"
        hint = f"heads are for {', '.join(SCORABLE_TYPES)}"
        raise InputError(replace(step.place, message=message, hint=hint))
    name = undecidable_by_head(call.technique, labelled.pipeline.project)
    if name is not None:
        message = f"technique `{name}` thinks or asks several times, and a head decides a prompt that is sent once"
        raise InputError(replace(step.place, message=message, hint="train a step without `technique:`"))
    _check_rows(labelled, answer.alternatives())
    file = call.head or head_file(labelled.pipeline.file.parent / call.home)
    if os.path.exists(file) and not overwrite:
        raise InputError(Problem("there is a head already", place(file), hint="--force trains it again"))
    check_destination(file, str(place(file)))
    return HeadPlan(labelled=labelled, labels=answer.alternatives(), file=file, risk=risk, seed=seed)


def _check_rows(labelled: LabelledRows, labels: Sequence[str]) -> None:
    """Raise InputError for too few rows, of all or of a label, with what more of them would show."""
    where, counts, count = place(labelled.rows.file), labelled.counts(), len(labelled.rows.rows)
    half = {rows: _half_width(rows) for rows in (LEAST_ROWS, SUGGESTED_ROWS)}
    hint = (
        f"{LEAST_ROWS} rows show an accuracy of {_TYPICAL_ACCURACY:.0%} to about ±{half[LEAST_ROWS]:.0f} points, "
        f"{SUGGESTED_ROWS} to ±{half[SUGGESTED_ROWS]:.0f}"
    )
    problems = []
    if count < LEAST_ROWS:
        problems.append(Problem(f"{count} rows are too few for a head: it needs {LEAST_ROWS}", where, hint=hint))
    if count > MOST_ROWS:
        more = f"--limit {MOST_ROWS} takes the first; for so many rows an adapter learns more (--adapter)"
        problems.append(Problem(f"{count:,} rows are more than a head is fitted on ({MOST_ROWS:,})", where, hint=more))
    if len(counts) == 1:
        message = f"all rows have the label {next(iter(counts))}, and a head needs rows of each"
        problems.append(Problem(message, where, hint=f"at least {LEAST_OF_LABEL} rows of each of {', '.join(labels)}"))
    elif few := [label for label in labels if counts[label] < LEAST_OF_LABEL]:
        shown = ", ".join(f"{label} has {counts[label]}" for label in few[:10])
        message = f"a head needs {LEAST_OF_LABEL} rows of each label: {shown}"
        more = "the head could not be measured on fewer, nor ever answer a label without rows"
        problems.append(Problem(message, where, hint=more))
    if problems:
        raise InputError(problems)


def _half_width(rows: int) -> float:
    interval = wilson(round(_TYPICAL_ACCURACY * rows), rows)
    return 50 * (interval.high - interval.low)


def head_states(model: Model) -> tuple[HiddenState, ...]:
    """Return the vectors of a model that are compared. Raises Unsupported for one that gives none."""
    if model.layers is not None and "hidden_states" in model.capabilities:
        layers = dict.fromkeys(max(1, round(share * model.layers)) for share in LAYERS)
        return tuple(HiddenState(layer, pooling) for layer in layers for pooling in POOLINGS)
    if "embeddings" in model.capabilities:
        return (HiddenState(),)
    hint = "embedded models do (embedded/NAME, gguf:PATH), and servers that embed with the model that answers"
    raise Unsupported(f"{model.reference} gives no vectors, which a head needs", hint=hint)


async def train_head(
    plan: HeadPlan,
    *,
    models: Models,
    settings: RunSettings,
    notice: Callable[[str], None] = lambda text: None,
    on_vector: Callable[[], None] = lambda: None,
) -> Head:
    """Train a head and write its file. Sends a request for each vector, which generates nothing.

    Vectors are kept in the store, so that the same command resumes. Raises InputError for rows that do not fit the
    window, Unsupported for a model without vectors, and the errors of the runtime.
    """
    labelled, call = plan.labelled, plan.step.prompt_call
    assert call is not None, "only a step that asks is trained"
    client = await models.get(plan.step.model)
    model = await client.model()
    states = head_states(model)
    requests = [found.request for found in await step_requests(labelled, models=models, settings=settings)]
    places = "its embedding" if states == (HiddenState(),) else f"{len(states)} vectors, of {_layers(states)}"
    notice(
        f"{len(requests)} rows, of each {places}: {len(states) * len(requests)} prompts to read, nothing to generate"
    )
    vectors = {state: await _vectors(plan, client, requests, state, on_vector) for state in states}
    answer = labelled.answer
    assert answer is not None, "checked in the plan"
    written = [answer.write(row.expect) for row in labelled.rows.rows]
    inputs = [row.inputs for row in labelled.rows.rows]
    given = FitInput(
        vectors={(state.layer, state.pooling): found for state, found in vectors.items()},
        texts=[_text(row) for row in inputs],
        codes=[plan.labels.index(label) for label in written],
        clusters=await asyncio.to_thread(repeated_rows, inputs, written),
        classes=len(plan.labels),
        risk=plan.risk,
        seed=plan.seed,
    )
    try:
        fitted = await run_in_worker(fit_as_json, given, seconds=FIT_SECONDS)
    except WorkFailed as failed:
        raise ServerFailed(f"the fit of the head {failed}", hint="--limit N takes fewer rows") from None
    head = Head(
        pipeline=labelled.pipeline.name,
        step=plan.step.name,
        model=model.reference,
        weights=model.weights,
        prompt=prompt_digest(call, model, labelled.pipeline.project),
        labels=plan.labels,
        risk=plan.risk,
        data=labelled.rows.hash,
        seed=plan.seed,
        rows=labelled.hashes,
        **fitted,
    )
    write_atomic(plan.file, head.model_dump_json(indent=1) + "\n")
    if isinstance(client.runtime, InProcessRuntime):
        await client.runtime.forget_layers(but=head.layer)
    return head


async def _vectors(
    plan: HeadPlan, client: Client, requests: Sequence[Request], state: HiddenState, on_vector: Callable[[], None]
) -> list[tuple[float, ...]]:
    """Return the vector of each request, one layer after the other, since each is loaded by itself."""

    async def ask(at: int) -> tuple[float, ...]:
        try:
            reply = await client.ask(head_request(requests[at], state))
        except ContextOverflow as error:
            message = f"row {plan.labelled.rows.rows[at].number} is too long for a head: {error.message}"
            hint = "leave such rows out; in a run, the head leaves them to the prompt"
            raise InputError(Problem(message, place(plan.labelled.rows.file), hint=hint)) from error
        on_vector()
        return reply.vector

    asked = [asyncio.ensure_future(ask(at)) for at in range(len(requests))]
    try:
        return await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()


def _layers(states: Sequence[HiddenState]) -> str:
    layers = list(dict.fromkeys(state.layer for state in states))
    return f"the layers {', '.join(map(str, layers))}"


def _text(inputs: Mapping[str, Any]) -> str:
    """Return the inputs of a row as one text, which the baseline of words reads."""
    return "\n".join(value if isinstance(value, str) else str(plain(value)) for value in inputs.values())
