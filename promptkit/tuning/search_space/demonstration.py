"""Demonstrations: rows shown with their answers, and those of them that the data gives."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.step_rows import expected_value
from promptkit.errors import InputError
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.storage.strict_json import plain
from promptkit.tuning.search_space.settings import answer_of

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


ANSWER_METRICS: Final = frozenset(
    {"exact", "normalized", "label", "number", "balanced_accuracy", "f1", "set_f1", "json", "edit", "embedding"}
    | {"rouge", "bleu", "chrf", "table"}
)
"""The metrics whose expected value is a right answer; that of others is a pattern, a test or a limit."""
POSSIBLE_ANSWER_METRICS: Final = frozenset({"judge", "python", "calibration"})
"""The metrics that may compare with something else than the row's expected value, which is a right answer too."""
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
    """Tell whether the metric compares the result of this step, unchanged."""
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
