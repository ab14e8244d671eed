"""What the steps of a run and their models must have, found out before the first request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from promptkit.engine.fallbacks import decide_fallback
from promptkit.engine.pipeline import Asking, Pipeline
from promptkit.errors import InputError, Problem, Unsupported, place
from promptkit.runtimes import Capability, Model
from promptkit.storage import Problems
from promptkit.techniques import ROWS, TO_GIVE, Hand, choose, not_prepared, read_artifact, with_nested
from promptkit.tools import Documents

if TYPE_CHECKING:
    from promptkit.engine.session import Session


def unmet(pipeline: Pipeline) -> list[Problem]:
    """Return what the steps' techniques need and no model can give: an artifact, documents, tools, a role.

    What is wrong in an artifact is told too.
    """
    problems = Problems()
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            problems.add(unmet(step.pipeline))
        if step.asking is not None:
            found = _unmet(step.asking, pipeline)
            problems.add(replace(step.place, message=f"step `{step.name}`: {text}", hint=hint) for text, hint in found)
            for file in step.asking.artifacts.values():
                with problems.gather():
                    read_artifact(file)
    return problems.found


async def require(pipeline: Pipeline, session: Session, *, model: str | None = None) -> None:
    """See that nothing is unmet, open the model of each step, and see that it can do what the step asks.

    Raises InputError for what is unmet, and Unsupported with all that the models cannot do.
    """
    problems = unmet(pipeline)
    if problems:
        raise InputError(problems)
    missing = [text async for text in _missing(pipeline, session, model)]
    if missing:
        hint = "promptkit models show MODEL lists what a model can do"
        raise Unsupported("\n".join(dict.fromkeys(missing)), hint=hint)


async def _missing(pipeline: Pipeline, session: Session, inherited: str | None) -> AsyncIterator[str]:
    for step in pipeline.steps.values():
        reference = step.model or inherited
        if step.pipeline is not None:
            async for text in _missing(step.pipeline, session, step.pipeline.model or reference):
                yield text
        if step.asking is not None:
            model = await (await session.asker(reference)).model()
            for what in _lacks(step.asking, model, session):
                yield f"step `{step.name}`: {model.reference} cannot do what {what}"


def _typed(pipeline: Pipeline) -> str:
    """Return what a person types for a pipeline or prompt: its name where that leads to it, else its path."""
    name, project = pipeline.file.stem, pipeline.project
    found = project.find_pipeline(name) or project.find_prompt(name)
    return name if found == pipeline.file else str(place(pipeline.file))


def _unmet(asking: Asking, pipeline: Pipeline) -> Iterator[tuple[str, str | None]]:
    """Yield what a step lacks whatever its model, and how a person gives it."""
    hand = _hand(asking, get_args(Capability))
    for chosen in with_nested(choose(asking.technique, pipeline.project), pipeline.project):
        name = chosen.technique.name
        for need in hand.lacks(chosen):
            if need == ROWS:
                told = not_prepared(name, asking.home, _typed(pipeline)).problems[0]
                yield told.message, told.hint
            else:
                yield f"technique `{name}` needs {need}", TO_GIVE.get(need)
        if chosen.documents:
            try:
                Documents.read(asking.technique_folder / chosen.documents)
            except InputError as error:
                yield from ((f"technique `{name}`: {each.message}", each.hint) for each in error.problems)


def _hand(asking: Asking, capabilities: Collection[str]) -> Hand:
    return Hand(
        capabilities=capabilities,
        inputs=asking.inputs,
        has_tools=bool(asking.tools),
        prepared=[name for name, file in asking.artifacts.items() if os.path.isfile(file)],
    )


def _lacks(asking: Asking, model: Model, session: Session) -> Iterator[str]:
    """Yield what a step asks for that the model cannot do."""
    hand = _hand(asking, model.capabilities)
    for chosen in with_nested(choose(asking.technique, session.project), session.project):
        for need in hand.lacks(chosen):
            yield f"technique `{chosen.technique.name}` needs: {need}"
    if session.settings.strict:
        found = decide_fallback(asking, model)
        if found is not None:
            yield f"`decide: {asking.decide}` needs: {found[1]}"
    options = asking.options
    wanted = {
        "sampling": bool(options.temperature),
        "stop": bool(options.stop),
        "seed": options.seed is not None,
        "think": bool(options.think),
    }
    for capability, is_wanted in wanted.items():
        if is_wanted and capability not in model.capabilities:
            yield f"`options` need: {capability}"
