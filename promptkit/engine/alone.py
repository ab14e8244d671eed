"""One step of a pipeline asked by itself, on rows of data: what a preparation and a comparison of techniques do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptkit.engine.contexts import step_context
from promptkit.engine.inline_roles import with_role_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.results import Trace
from promptkit.engine.session import Session, Settings
from promptkit.engine.settings import artifact_files
from promptkit.engine.steprun import Here
from promptkit.errors import InputError
from promptkit.techniques import StepContext
from promptkit.techniques import check as check_technique

if TYPE_CHECKING:
    from promptkit.engine.events import OnEvent
    from promptkit.engine.session import Askers
    from promptkit.engine.step_rows import StepRow
    from promptkit.runtimes import Model


class StepAlone:
    """A step asked by itself. Make it where the event loop runs. `answered` are the models that were opened."""

    def __init__(
        self,
        pipeline: Pipeline,
        step: Step,
        *,
        models: Askers,
        settings: Settings | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.step = step
        self._session = Session(pipeline.project, models, settings or Settings(), on_event)

    @property
    def answered(self) -> Mapping[str | None, Model]:
        return self._session.answered

    @property
    def notices(self) -> tuple[str, ...]:
        return self._session.notices

    async def model(self) -> Model:
        """Return the step's model, opening it. Raises what its absence raises."""
        return await (await self._session.asker(self.step.model)).model()

    async def context(self, row: StepRow, trace: Trace) -> StepContext:
        """Return the asking of the step on one row; its calls go into `trace`. Raises InputError."""
        here = Here(row.scope, frozenset(), trace, self._session.settings.sample)
        filled = {name: row.scope[name] for name in self.step.filled if name in row.scope}
        return await step_context(
            self.step,
            self._session,
            path=self.step.name,
            model=self.step.model,
            values={**filled, **row.inputs},
            here=here,
        )


def with_technique(pipeline: Pipeline, step: Step, spec: Any) -> Step:
    """Return a step that asks as `spec` says, all else the same. Raises InputError with all that is wrong with it.

    Paths in `spec` are relative to the pipeline's file.
    """
    asking, folder = step.asking, pipeline.file.parent
    assert asking is not None, "only a step that asks has a technique"
    prompt = asking.prompt
    if prompt.file is None:
        prompt = with_role_inputs(prompt, spec, {*pipeline.inputs, *step.arguments}, pipeline.project)
    added = [name for name in prompt.inputs if name not in asking.inputs and name in pipeline.inputs]
    typed = {name: replace(prompt.inputs[name], type=pipeline.inputs[name].type) for name in added}
    inputs = {**asking.inputs, **typed}
    problems = check_technique(spec, pipeline.project, inputs, folder)
    if problems:
        raise InputError(problems)
    asking = replace(
        asking,
        prompt=prompt,
        inputs=inputs,
        technique=spec,
        technique_folder=folder,
        artifacts=artifact_files(spec, pipeline.project, folder / asking.home),
    )
    return replace(step, asking=asking, filled=(*step.filled, *added))
