"""The requests that a step sends for its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptkit.engine.render import _DryModels, _DryRuntime, _embedder, _RequestCaptured
from promptkit.engine.results import Trace
from promptkit.engine.session import RunSettings
from promptkit.engine.single_step import SingleStep
from promptkit.runtimes.base import Request
from promptkit.runtimes.models import Models
from promptkit.techniques.perform import perform
from promptkit.training.labelled_rows import LabelledRows


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A request of a step for the row at a place."""

    row: int
    request: Request


async def step_requests(
    labelled: LabelledRows, *, models: Models, settings: RunSettings, on_row: Callable[[], None] = lambda: None
) -> list[StepRequest]:
    """Return the first request of a step for each row, exactly as it sends it. Sends none."""
    step, found = labelled.step, []
    assert step.prompt_call is not None, "only a step that asks is trained"
    client = await models.get(step.model)
    for at, row in enumerate(labelled.rows.rows):
        dry = _DryRuntime(await client.model(), client)
        dry_models = _DryModels(dry, models, _embedder(step))
        alone = SingleStep(labelled.pipeline, step, models=dry_models, settings=settings)
        context = await alone.context(row, Trace(name=step.name, kind="step"))
        try:
            await perform(step.prompt_call.technique, context)
        except* _RequestCaptured:
            pass
        found.append(StepRequest(at, dry.requests[0]))
        on_row()
    return found
