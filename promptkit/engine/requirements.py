"""What the models of a run must be able to do, found out before the first request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from promptkit.answers import AnswerType, constrained
from promptkit.engine.pipeline import Asking, Pipeline
from promptkit.errors import Unsupported, place
from promptkit.runtimes import Model, Request
from promptkit.techniques import ROWS, Hand, choose, not_prepared, with_nested

if TYPE_CHECKING:
    from promptkit.engine.session import Session


async def require(pipeline: Pipeline, session: Session, model: str | None = None) -> None:
    """Open the model of each step and see that it can do what the step asks. Raises Unsupported with all it cannot."""
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
            for what in _lacks(step.asking, model, session, _typed(pipeline)):
                yield f"step `{step.name}`: {model.reference} cannot do what {what}"


def _typed(pipeline: Pipeline) -> str:
    """Return what a person types for a pipeline or prompt: its name where that leads to it, else its path."""
    name, project = pipeline.file.stem, pipeline.project
    found = project.find_pipeline(name) or project.find_prompt(name)
    return name if found == pipeline.file else str(place(pipeline.file))


def _lacks(asking: Asking, model: Model, session: Session, target: str) -> Iterator[str]:
    """Yield what a step asks for that the model cannot do. Raises InputError for a step without what is prepared."""
    hand = Hand(
        capabilities=model.capabilities,
        inputs=asking.inputs,
        has_tools=bool(asking.tools),
        prepared=[name for name, file in asking.artifacts.items() if file.is_file()],
    )
    for chosen in with_nested(choose(asking.technique, session.project), session.project):
        needs = hand.lacks(chosen)
        if ROWS in needs:
            raise not_prepared(chosen.technique.name, asking.home, target)
        for need in needs:
            yield f"technique `{chosen.technique.name}` needs: {need}"
    if session.settings.strict:
        yield from _lacks_to_decide(asking, model)
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


def _lacks_to_decide(asking: Asking, model: Model) -> Iterator[str]:
    """Yield what `decide` would quietly do without."""
    if asking.decide == "score":
        for need in sorted({"logprobs", "continue"} - model.capabilities):
            yield f"`decide: score` needs: {need}"
    elif asking.decide == "constrain" and isinstance(asking.answer, AnswerType):
        _, notice = constrained(Request(), asking.answer, model.capabilities, lead="")
        if notice:
            yield f"`decide: constrain` needs: {notice}"
