"""The axis of a step's examples: sets of rows with their expected answers, from the pool, and sets that models made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine import expected_value, step_inputs
from promptkit.errors import InputError
from promptkit.storage import plain
from promptkit.tuning.candidate import AS_WRITTEN, Axis, Level
from promptkit.tuning.deciding import answer_of
from promptkit.tuning.demonstration import DRAWS, Demonstration, example_levels, label_of, room_for_examples
from promptkit.tuning.near import near_to

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.evaluation import BoundRow, Measure, Suite
    from promptkit.runtimes import Model
    from promptkit.tuning.ground import Ground

OUTPUTS: Final = frozenset(
    {"exact", "normalized", "label", "number", "balanced_accuracy", "f1", "set_f1", "json", "edit", "embedding"}
    | {"rouge", "bleu", "chrf", "table"}
)
"""The metrics whose expected value is an answer as it should be; that of others is a pattern, a test, a limit."""
TOLD: Final = frozenset({"judge", "python", "calibration"})
"""The metrics that may compare with something else than what the row expects, which is an answer all the same."""
FEWER_DRAWS: Final = 2
"""Of each size, where there are several pools to draw from."""
_MARK: Final = "a mark"


def gold_demonstrations(
    suite: Suite, rows: Sequence[BoundRow], step: str, places: Sequence[int]
) -> list[Demonstration]:
    """Return rows of a suite, by their places, as demonstrations of a step, with the answers that the data expects; of
    a `for_each` each item.

    There are none where the aim does not compare the step's own result, or where the step reads results that the rows
    do not give. A row whose expected answer is none of the step's type is left out.
    """
    pipeline, measure = suite.baseline.pipeline, suite.measures[0]
    asked = pipeline.steps[step]
    if asked.asking is None or not _is_compared(pipeline, asked, measure):
        return []
    return [each for place in places for each in _of_row(pipeline, asked, measure, rows[place], place)]


def _is_compared(pipeline: Pipeline, step: Step, measure: Measure) -> bool:
    """Tell whether what the aim compares is the result of this step, as it is."""
    mark = [_MARK] if step.for_each is not None else _MARK
    others = pipeline.steps.keys() - {step.name}
    steps = {**dict.fromkeys(others), step.name: mark}
    try:
        found = pipeline.output.evaluate({**dict.fromkeys(pipeline.inputs), **steps}, others)
        if measure.of is not None:
            found = measure.of.evaluate({"output": found, "row": {}, "steps": steps}, ())
    except InputError:
        return False
    return bool(plain(found) == mark)


def _of_row(pipeline: Pipeline, step: Step, measure: Measure, row: BoundRow, place: int) -> Iterator[Demonstration]:
    scope = row.inputs[0]
    expected = _gold(measure, row)
    try:
        inputs = step_inputs(pipeline, step, scope)
    except InputError:
        return
    wanted = expected if step.for_each is not None else [expected]
    if expected is None or not isinstance(wanted, list) or len(wanted) != len(inputs):
        return
    for values, value in zip(inputs, wanted, strict=True):
        try:
            answer = answer_of(step, values, scope)
            output = expected_value(answer, value)
        except (InputError, ValueError):
            continue
        yield Demonstration(values, output, label=label_of(step, output), row=place)


def _gold(measure: Measure, row: BoundRow) -> Any:
    """Return the answer that the data expects of a row, None where it expects none, but a pattern, a test, a limit."""
    kind = measure.metric.kind
    if kind in OUTPUTS:
        return row.expected[0]
    return row.expect if kind in TOLD or measure.expect is not None else None


def pool_apart(ground: Ground) -> list[int]:
    """Return the places of the pool's rows that say nothing near what a scored row says, searched or kept."""
    scored = (ground.rows[place].inputs[0] for place in (*ground.order, *ground.confirm))
    near = near_to(scored, [ground.rows[place].inputs[0] for place in ground.pool])
    return [place for at, place in enumerate(ground.pool) if at not in near]


def examples_axis(
    ground: Ground,
    step: str,
    model: Model,
    *,
    seed: int = 0,
    made: Mapping[str, Sequence[Demonstration]] | None = None,
) -> tuple[Axis, tuple[str, ...]]:
    """Return the axis `STEP.examples`, and what is not tried and why.

    Four sets of the data's own rows where these have answers for the step, each of 2, 4 and 8, as far as they fit a
    third of the context. `made` are pools of demonstrations that a model made, by what tells them apart (`that it
    solved`); of several pools there are two sets of each size.
    """
    asked = ground.suite.baseline.pipeline.steps[step]
    assert asked.asking is not None, "only a step that asks has examples"
    name, notes = f"{step}.examples", []
    if "input" not in asked.asking.prompt.blocks:
        told = f"{step}: examples are not tried: its prompt has no section `input` to show theirs with"
        return Axis(name=name, step=step, kind="examples", levels=(Level(AS_WRITTEN),)), (told,)
    places = pool_apart(ground)
    if len(places) < len(ground.pool):
        near = len(ground.pool) - len(places)
        notes.append(f"{step}: {near} rows are no demonstrations: they nearly repeat rows that are scored")
    pools = {"": gold_demonstrations(ground.suite, ground.rows, step, places)}
    pools |= {called: [each for each in pool if each.row in places] for called, pool in (made or {}).items()}
    pools = {called: pool for called, pool in pools.items() if pool}
    levels = [Level("no examples", {name: []})] if asked.asking.examples.all else []
    room = room_for_examples(asked, model)
    draws = FEWER_DRAWS if len(pools) > 1 else DRAWS
    for called, pool in pools.items():
        levels += example_levels(step, pool, seed=seed, called=called, room=room, draws=draws)
    if not pools and not notes:
        notes.append(f"{step}: no examples are drawn: {_why_none(ground)}")
    return Axis(name=name, step=step, kind="examples", levels=(Level(AS_WRITTEN), *levels)), tuple(notes)


def _why_none(ground: Ground) -> str:
    if not ground.pool:
        return "there are too few rows to keep some for it"
    return "the rows that are kept for it have no answers of this step"
