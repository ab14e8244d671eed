"""The axis of a step's technique: those of the catalog that suit its task and its model, and are cheap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers import AnswerType
from promptkit.engine import with_technique
from promptkit.errors import InputError
from promptkit.evaluation.choosing import Situation, billions, costing_of, hand_of, likely_task, recommend, spec_text
from promptkit.techniques import choose, cost, parse_spec
from promptkit.tuning.candidate import AS_WRITTEN, Axis, Level

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.runtimes import Model
    from promptkit.techniques import Spec

MOST: Final = 3
MOST_REQUESTS: Final = 5
GENERAL: Final = "free_response"
"""The task of a step that does not say which it is, for which only what suits any task is tried."""
FOR_ANY: Final = ("vanilla", "chain_of_thought")
FOR_COMPARED: Final = (*FOR_ANY, "self_consistency")


def technique_axis(pipeline: Pipeline, step: Step, model: Model) -> tuple[Axis, tuple[str, ...]]:
    """Return the axis `STEP.technique`, and what is not tried and why.

    The best recommended for the step's task that cost at most 5 requests a row and need nothing prepared. What was
    measured in the store has no say: that may have been on rows which the verdict rests on.
    """
    asking = step.asking
    assert asking is not None, "only a step that asks has a technique"
    told = likely_task(step)
    situation = Situation(
        task=told[0] if told else GENERAL,
        hand=hand_of(pipeline, step, model),
        size=billions(model),
        budget=MOST_REQUESTS,
        **costing_of(step, None),
    )
    found = recommend(situation, pipeline.project)
    specs = [each.spec for each in found.ranked if not each.prepares and each.spec != asking.technique]
    if told is None:
        closed = isinstance(asking.answer, AnswerType) and asking.answer.alternatives()
        suiting = FOR_COMPARED if closed else FOR_ANY
        specs = [each for each in specs if parse_spec(each)[0] in suiting]
    levels = list(_levels(pipeline, step, specs))
    notes = [] if told else [f"{step.name}: of techniques those for any task, as neither answer nor inputs name one"]
    dear = [each.name for each in found.dropped if "requests" in each.reason]
    if dear and told:
        notes.append(f"{step.name}: over {MOST_REQUESTS} requests a row, not tried: {', '.join(dear)}")
    axis = Axis(
        name=f"{step.name}.technique", step=step.name, kind="technique", levels=(Level(AS_WRITTEN), *levels[:MOST])
    )
    return axis, tuple(notes)


def _levels(pipeline: Pipeline, step: Step, specs: list[Spec]) -> Iterator[Level]:
    for spec in specs:
        try:
            with_technique(pipeline, step, spec)
            yield Level(
                spec_text(spec),
                {f"{step.name}.technique": spec},
                choose(spec, pipeline.project).technique.card.title,
                technique_requests(pipeline, step, spec),
            )
        except InputError:  # A role that no input plays, or one of the project's own that is wrong.
            continue


def own_requests(pipeline: Pipeline, step: Step) -> float:
    """Return about how many requests a step takes as it is written, for one item."""
    assert step.asking is not None, "only a step that asks has a technique"
    known = costing_of(step, None)
    return cost(choose(step.asking.technique, pipeline.project), pipeline.project, **known).requests


def technique_requests(pipeline: Pipeline, step: Step, spec: Any) -> float:
    """Return how many requests a technique takes, of one of the step's own. Raises InputError for an unknown one."""
    assert step.asking is not None, "only a step that asks has a technique"
    known = costing_of(step, None)
    taken = cost(choose(spec, pipeline.project), pipeline.project, **known).requests
    return taken / max(own_requests(pipeline, step), 1.0)
