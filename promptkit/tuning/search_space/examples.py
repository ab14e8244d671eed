"""The parameter of a step's examples: sets of demonstrations drawn from the pool, balanced over labels."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.step_rows import expected_value
from promptkit.errors import InputError
from promptkit.storage.strict_json import plain
from promptkit.tuning.near_duplicates import near_duplicates
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter
from promptkit.tuning.search_space.settings import answer_of

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.evaluation.suite.binding import BoundRow
    from promptkit.evaluation.suite.suite import Measure, Suite
    from promptkit.runtimes.base import Model
    from promptkit.tuning.data_split import DataSplit

ANSWER_METRICS: Final = frozenset(
    {"exact", "normalized", "label", "number", "balanced_accuracy", "f1", "set_f1", "json", "edit", "embedding"}
    | {"rouge", "bleu", "chrf", "table"}
)
"""The metrics whose expected value is an answer as it should be; that of others is a pattern, a test, a limit."""
POSSIBLE_ANSWER_METRICS: Final = frozenset({"judge", "python", "calibration"})
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
    if asked.prompt_call is None or not _is_compared(pipeline, asked, measure):
        return []
    return [each for place in places for each in _row_demonstrations(pipeline, asked, measure, rows[place], place)]


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


def _row_demonstrations(
    pipeline: Pipeline, step: Step, measure: Measure, row: BoundRow, place: int
) -> Iterator[Demonstration]:
    scope = row.inputs[0]
    expected = _gold_answer(measure, row)
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


def _gold_answer(measure: Measure, row: BoundRow) -> Any:
    """Return the answer that the data expects of a row, None where it expects none, but a pattern, a test, a limit."""
    kind = measure.metric.kind
    if kind in ANSWER_METRICS:
        return row.expected[0]
    return row.expect if kind in POSSIBLE_ANSWER_METRICS or measure.expect is not None else None


def distinct_demo_pool(ground: DataSplit) -> list[int]:
    """Return the places of the pool's rows that say nothing near what a scored row says, searched or kept."""
    scored = (ground.rows[place].inputs[0] for place in (*ground.order, *ground.confirm))
    near = near_duplicates(scored, [ground.rows[place].inputs[0] for place in ground.pool])
    return [place for at, place in enumerate(ground.pool) if at not in near]


def examples_parameter(
    ground: DataSplit,
    step: str,
    model: Model,
    *,
    seed: int = 0,
    made: Mapping[str, Sequence[Demonstration]] | None = None,
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the axis `STEP.examples`, and what is not tried and why.

    Four sets of the data's own rows where these have answers for the step, each of 2, 4 and 8, as far as they fit a
    third of the context. `made` are pools of demonstrations that a model made, by what tells them apart (`that it
    solved`); of several pools there are two sets of each size.
    """
    asked = ground.suite.baseline.pipeline.steps[step]
    assert asked.prompt_call is not None, "only a step that asks has examples"
    name, notes = f"{step}.examples", []
    if "input" not in asked.prompt_call.prompt.blocks:
        told = f"{step}: examples are not tried: its prompt has no section `input` to show theirs with"
        return Parameter(name=name, step=step, kind="examples", levels=(Choice(AS_WRITTEN),)), (told,)
    places = distinct_demo_pool(ground)
    if len(places) < len(ground.pool):
        near = len(ground.pool) - len(places)
        notes.append(f"{step}: {near} rows are no demonstrations: they nearly repeat rows that are scored")
    pools = {"": gold_demonstrations(ground.suite, ground.rows, step, places)}
    pools |= {called: [each for each in pool if each.row in places] for called, pool in (made or {}).items()}
    pools = {called: pool for called, pool in pools.items() if pool}
    levels = [Choice("no examples", {name: []})] if asked.prompt_call.examples.all else []
    room = room_for_examples(asked, model)
    draws = FEWER_DRAWS if len(pools) > 1 else DRAWS
    for called, pool in pools.items():
        levels += example_choices(step, pool, seed=seed, called=called, room=room, draws=draws)
    if not pools and not notes:
        notes.append(f"{step}: no examples are drawn: {_why_none(ground)}")
    return Parameter(name=name, step=step, kind="examples", levels=(Choice(AS_WRITTEN), *levels)), tuple(notes)


def _why_none(ground: DataSplit) -> str:
    if not ground.pool:
        return "there are too few rows to keep some for it"
    return "the rows that are kept for it have no answers of this step"


SIZES: Final = (2, 4, 8)
DRAWS: Final = 4
TRIES: Final = 8
"""How often a set is drawn that was drawn before, until it is left out."""
USUAL_CONTEXT: Final = 4_096
"""The window in tokens of a model that names none."""
CONTEXT_SHARE: Final = 1 / 3
CHARACTERS_A_TOKEN: Final = 3
"""Of plain text a token has about four; fewer are counted, so that what is said to fit does."""


GeneratedDemos = Mapping[str, Mapping[str, Sequence["Demonstration"]]]
"""Demonstrations that a model made, by step and by what tells the pools apart."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A row shown with its answer: the inputs of the step's prompt and the output as data.

    `label` is the class that draws are balanced over, None where answers are none. `row` is its place in the ground's
    rows.
    """

    inputs: Mapping[str, Any]
    output: Any
    thoughts: str | None = None
    label: Hashable = None
    row: int = 0

    @property
    def example(self) -> dict[str, Any]:
        """What stands for it in a step's `examples:`."""
        thoughts = {} if self.thoughts is None else {"thoughts": self.thoughts}
        return {"input": dict(self.inputs), **thoughts, "output": self.output}

    @property
    def length(self) -> int:
        """About how many characters a prompt is longer with it."""
        return len(json.dumps(self.example, ensure_ascii=False, default=str))


def label_of(step: Step, output: Any) -> str | bool | None:
    """Return the class of an answer that demonstrations are balanced over; None where answers, or those of a row, are
    none."""
    answer = step.prompt_call.answer if step.prompt_call else None
    is_class = isinstance(answer, AnswerType) and answer.alternatives() and isinstance(output, str | bool)
    return output if is_class else None


def room_for_examples(step: Step, model: Model) -> int:
    """Return how many characters of examples fit a third of the context that a step is asked in."""
    asked = step.prompt_call.options.context if step.prompt_call else None
    return int((asked or model.context or USUAL_CONTEXT) * CONTEXT_SHARE * CHARACTERS_A_TOKEN)


def example_choices(
    step: str,
    pool: Sequence[Demonstration],
    *,
    seed: int = 0,
    called: str = "",
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    room: int | None = None,
) -> tuple[Choice, ...]:
    """Return levels of `STEP.examples`: for each size so many draws, distinct; the order is part of the draw.

    `room` is how many characters the examples may have. `called` tells levels of several pools apart (`that it
    solved`). A pool smaller than the smallest size is one size; of an empty one there are no levels.
    """
    fitting = [size for size in sizes if size <= len(pool)] or [len(pool)]
    levels: list[Choice] = []
    for size in fitting if pool else ():
        for number, drawn in enumerate(_distinct_draws(pool, size, draws, f"{seed}:{called}:{size}"), start=1):
            if room is None or sum(each.length for each in drawn) <= room:
                levels.append(_example_choice(step, drawn, number, called))
    return tuple(levels)


def _example_choice(step: str, drawn: Sequence[Demonstration], number: int, called: str) -> Choice:
    count = f"{len(drawn)} example{'s' if len(drawn) > 1 else ''}"
    labels = [str(each.label) for each in drawn if each.label is not None]
    return Choice(
        name=f"{count}{f' {called}' if called else ''} #{number}",
        changes={f"{step}.examples": [each.example for each in drawn]},
        about=", ".join(labels),
    )


def _distinct_draws(
    pool: Sequence[Demonstration], size: int, draws: int, seed: str
) -> Iterator[tuple[Demonstration, ...]]:
    """Yield so many draws as differ, each ending in the next label, so that none is favoured by standing last."""
    chance = Random(seed)
    labels = frequent_labels(pool, size)
    chance.shuffle(labels)
    seen: list[tuple[Demonstration, ...]] = []
    for number in range(draws):
        for _ in range(TRIES):
            drawn = _draw(pool, labels, size, labels[number % len(labels)], chance)
            if drawn not in seen:
                seen.append(drawn)
                yield drawn
                break


def frequent_labels(pool: Sequence[Demonstration], most: int) -> list[Hashable]:
    """Return the labels of a pool, the frequent ones where there are more than `most`; ties in the pool's order."""
    counts: dict[Hashable, int] = {}
    for each in pool:
        counts[each.label] = counts.get(each.label, 0) + 1
    return sorted(counts, key=lambda label: -counts[label])[:most]


def _draw(
    pool: Sequence[Demonstration], labels: Sequence[Hashable], size: int, last: Hashable, chance: Random
) -> tuple[Demonstration, ...]:
    """Return a set with each label as often as the others, give or take one, as far as there are enough.

    It ends in `last`, after another label where there is one: models favour the majority and the recent label (Zhao et
    al. 2021, ICML).
    """
    groups = {label: [each for each in pool if each.label == label] for label in labels}
    for group in groups.values():
        chance.shuffle(group)
    others = [label for label in labels if label != last]
    chance.shuffle(others)
    turns = (groups[label][turn : turn + 1] for turn in range(size) for label in (last, *others))
    drawn = [each for turn in turns for each in turn][:size]
    ending = drawn.pop(0)
    chance.shuffle(drawn)
    before = next((at for at, each in enumerate(drawn) if each.label != last), None)
    if before is not None:
        drawn.append(drawn.pop(before))
    return (*drawn, ending)
