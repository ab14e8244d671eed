"""The parameter of a step's examples: sets of demonstrations drawn from the pool, balanced over labels."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.step_rows import expected_value
from promptkit.errors import InputError
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.runtimes.base import Model
from promptkit.storage.strict_json import plain
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.near_duplicates import near_duplicates
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter
from promptkit.tuning.search_space.settings import answer_of

ANSWER_METRICS: Final = frozenset(
    {"exact", "normalized", "label", "number", "balanced_accuracy", "f1", "set_f1", "json", "edit", "embedding"}
    | {"rouge", "bleu", "chrf", "table"}
)
"""The metrics whose expected value is a right answer; that of others is a pattern, a test or a limit."""
POSSIBLE_ANSWER_METRICS: Final = frozenset({"judge", "python", "calibration"})
"""The metrics that may compare with something else than the row's expected value, which is a right answer too."""
FEWER_DRAWS: Final = 2
"""The draws of each size if there are several pools."""
_MARK: Final = "a mark"


def gold_demonstrations(
    suite: Suite, rows: Sequence[BoundRow], step: str, places: Sequence[int]
) -> list[Demonstration]:
    """Return rows of a suite, by their places, as demonstrations of a step with the answers that the data expects.

    A step with `for_each` gives one per item. There are none if the metric does not compare the step's own result, or
    if the step reads results that the rows do not give. A row whose expected answer does not fit the step's type is
    left out. Rows that are conversations have no single answer.
    """
    pipeline, measure = suite.baseline.pipeline, suite.measures[0]
    asked = pipeline.steps[step]
    if suite.conversation is not None or asked.prompt_call is None or not _is_compared(pipeline, asked, measure):
        return []
    return [demo for place in places for demo in _row_demonstrations(pipeline, asked, measure, rows[place], place)]


def _is_compared(pipeline: Pipeline, step: Step, measure: Measure) -> bool:
    """Return whether the metric compares the result of this step, unchanged."""
    mark = [_MARK] if step.for_each is not None else _MARK
    others = pipeline.steps.keys() - {step.name}
    steps = {**dict.fromkeys(others), step.name: mark}
    try:
        value = pipeline.output.evaluate({**dict.fromkeys(pipeline.inputs), **steps}, others)
        if measure.of is not None:
            value = measure.of.evaluate({"output": value, "row": {}, "steps": steps}, ())
    except InputError:
        return False
    return bool(plain(value) == mark)


def _row_demonstrations(
    pipeline: Pipeline, step: Step, measure: Measure, row: BoundRow, place: int
) -> Iterator[Demonstration]:
    scope = row.inputs[0]
    expected = _gold_answer(measure, row)
    try:
        inputs = step_inputs(pipeline, step, scope)
    except InputError:
        return
    answers = expected if step.for_each is not None else [expected]
    if expected is None or not isinstance(answers, list) or len(answers) != len(inputs):
        return
    for values, value in zip(inputs, answers, strict=True):
        try:
            answer = answer_of(step, values, scope)
            output = expected_value(answer, value)
        except (InputError, ValueError):
            continue
        yield Demonstration(values, output, label=label_of(step, output), row=place)


def _gold_answer(measure: Measure, row: BoundRow) -> Any:
    """Return the right answer that the data expects of a row; None if it expects none, but a pattern, test or limit."""
    kind = measure.metric.kind
    if kind in ANSWER_METRICS:
        return row.expected[0]
    return row.expect if kind in POSSIBLE_ANSWER_METRICS or measure.expect is not None else None


def distinct_demo_pool(split: DataSplit) -> list[int]:
    """Return the places of the pool's rows that nearly repeat no scored row, searched or held out."""
    scored = (split.rows[place].inputs[0] for place in (*split.search, *split.holdout))
    near = near_duplicates(scored, [split.rows[place].inputs[0] for place in split.demo_pool])
    return [place for at, place in enumerate(split.demo_pool) if at not in near]


def examples_parameter(
    split: DataSplit,
    step: str,
    model: Model,
    *,
    seed: int = 0,
    made: Mapping[str, Sequence[Demonstration]] | None = None,
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the parameter `STEP.examples`, and notes on what is not tried.

    From the data's own rows, where they have answers for the step: four sets each of 2, 4 and 8 that fit a third of the
    context. `generated` are pools of demonstrations that a model made, by name (`that it solved`); with several pools
    there are two sets of each size.
    """
    asked = split.suite.baseline.pipeline.steps[step]
    assert asked.prompt_call is not None, "only a step that asks has examples"
    name, notes = f"{step}.examples", []
    reason = "its prompt has no section `input` to show them with"
    if split.suite.conversation is not None:
        reason = "the rows are conversations, which have no single input and answer"
    if split.suite.conversation is not None or "input" not in asked.prompt_call.prompt.blocks:
        note = f"{step}: examples are not tried: {reason}"
        return Parameter(name=name, step=step, kind="examples", choices=(Choice(AS_WRITTEN),)), (note,)
    places = distinct_demo_pool(split)
    if len(places) < len(split.demo_pool):
        near = len(split.demo_pool) - len(places)
        notes.append(f"{step}: {near} rows are not used as demonstrations: they nearly repeat scored rows")
    pools = {"": gold_demonstrations(split.suite, split.rows, step, places)}
    pools |= {called: [demo for demo in pool if demo.row in places] for called, pool in (made or {}).items()}
    pools = {called: pool for called, pool in pools.items() if pool}
    choices = [Choice("no examples", {name: []})] if asked.prompt_call.examples.all else []
    room = room_for_examples(asked, model)
    draws = FEWER_DRAWS if len(pools) > 1 else DRAWS
    for called, pool in pools.items():
        choices += example_choices(step, pool, seed=seed, called=called, room=room, draws=draws)
    if not pools and not notes:
        notes.append(f"{step}: no examples are drawn: {_why_none(split)}")
    return Parameter(name=name, step=step, kind="examples", choices=(Choice(AS_WRITTEN), *choices)), tuple(notes)


def _why_none(split: DataSplit) -> str:
    if not split.demo_pool:
        return "there are too few rows to set some aside"
    return "the rows set aside have no answers of this step"


SIZES: Final = (2, 4, 8)
DRAWS: Final = 4
TRIES: Final = 8
"""The number of tries to draw a set that differs from the earlier ones."""
USUAL_CONTEXT: Final = 4_096
"""The context window in tokens of a model that does not report one."""
CONTEXT_SHARE: Final = 1 / 3
CHARACTERS_A_TOKEN: Final = 3
"""Plain text has about four per token; with fewer, an estimate errs on the safe side."""


GeneratedDemos = Mapping[str, Mapping[str, Sequence["Demonstration"]]]
"""Demonstrations that a model made, by step and by the name of their pool."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A row shown with its answer: the inputs of the step's prompt and the output as data.

    `label`: the class that draws are balanced over, None if answers are not classes. `row`: the place in the split's
    rows.
    """

    inputs: Mapping[str, Any]
    output: Any
    thoughts: str | None = None
    label: Hashable = None
    row: int = 0

    @property
    def example(self) -> dict[str, Any]:
        """The entry of a step's `examples:` for it."""
        thoughts = {} if self.thoughts is None else {"thoughts": self.thoughts}
        return {"input": dict(self.inputs), **thoughts, "output": self.output}

    @property
    def length(self) -> int:
        """About how many characters it adds to a prompt."""
        return len(json.dumps(self.example, ensure_ascii=False, default=str))


def label_of(step: Step, output: Any) -> str | bool | None:
    """Return the class of an answer for balancing; None if answers of this step are not classes."""
    answer = step.prompt_call.answer if step.prompt_call else None
    is_class = isinstance(answer, AnswerType) and answer.alternatives() and isinstance(output, str | bool)
    return output if is_class else None


def room_for_examples(step: Step, model: Model) -> int:
    """Return how many characters of examples fit a third of the step's context."""
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
    """Return choices of `STEP.examples`: distinct draws of each size; the order is part of a draw.

    `room`: the most characters that examples may have. `called` names the pool if there are several (`that it solved`).
    A pool smaller than the smallest size is drawn whole; an empty one gives no choices.
    """
    fitting = [size for size in sizes if size <= len(pool)] or [len(pool)]
    choices: list[Choice] = []
    for size in fitting if pool else ():
        for number, drawn in enumerate(_distinct_draws(pool, size, draws, f"{seed}:{called}:{size}"), start=1):
            if room is None or sum(demo.length for demo in drawn) <= room:
                choices.append(_example_choice(step, drawn, number, called))
    return tuple(choices)


def _example_choice(step: str, drawn: Sequence[Demonstration], number: int, called: str) -> Choice:
    count = f"{len(drawn)} example{'s' if len(drawn) > 1 else ''}"
    labels = [str(demo.label) for demo in drawn if demo.label is not None]
    return Choice(
        name=f"{count}{f' {called}' if called else ''} #{number}",
        changes={f"{step}.examples": [demo.example for demo in drawn]},
        about=", ".join(labels),
    )


def _distinct_draws(
    pool: Sequence[Demonstration], size: int, draws: int, seed: str
) -> Iterator[tuple[Demonstration, ...]]:
    """Yield distinct draws, each ending in the next label, so that no label is favoured by standing last."""
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
    """Return the labels of a pool, at most `most` of them, the frequent ones first; ties in the pool's order."""
    counts: dict[Hashable, int] = {}
    for demo in pool:
        counts[demo.label] = counts.get(demo.label, 0) + 1
    return sorted(counts, key=lambda label: -counts[label])[:most]


def _draw(
    pool: Sequence[Demonstration], labels: Sequence[Hashable], size: int, last: Hashable, chance: Random
) -> tuple[Demonstration, ...]:
    """Return a set with each label equally often, give or take one, as far as the pool allows.

    It ends in `last`, after another label if there is one: models favour the majority and the recent label (Zhao et al.
    2021, ICML).
    """
    groups = {label: [demo for demo in pool if demo.label == label] for label in labels}
    for group in groups.values():
        chance.shuffle(group)
    others = [label for label in labels if label != last]
    chance.shuffle(others)
    turns = (groups[label][turn : turn + 1] for turn in range(size) for label in (last, *others))
    drawn = [demo for turn in turns for demo in turn][:size]
    ending = drawn.pop(0)
    chance.shuffle(drawn)
    before = next((at for at, demo in enumerate(drawn) if demo.label != last), None)
    if before is not None:
        drawn.append(drawn.pop(before))
    return (*drawn, ending)
