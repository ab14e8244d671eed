"""The rows that a step is trained on: of a data file, or of a suite, each with the right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.step_rows import MAX_PROBLEMS, StepRow, StepRows, bind_step_rows, find_prompt_step, read_step_rows
from promptkit.errors import InputError, Problem, nearest, place
from promptkit.evaluation.statistics.power import smallest_shown
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.contamination import given_inputs
from promptkit.evaluation.suite.data import DataRow
from promptkit.evaluation.suite.generated import generated_mark, is_generated
from promptkit.evaluation.suite.row_clusters import repeated_rows
from promptkit.evaluation.suite.row_order import row_order
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.strict_json import compact
from promptkit.techniques.artifacts import row_hash

LEAST_ROWS: Final = 40
VALIDATION_SHARE: Final = 0.2
LEAST_VALIDATION, MOST_VALIDATION = 10, 200
SUGGESTED_ROWS: Final = 200
RIGHT_ANSWER: Final = "the right answer"
"""The field of the right answer. No input has this name, as it has blanks."""
DISCORDANT: Final = 0.3
"""The share of rows on which base and adapter differ that the smallest gain to be shown is reckoned with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRows:
    """The rows of one step with their right answers.

    `pipeline` has the step, as the rows feed it. `hashes` are those by which an evaluation knows the rows again: of the
    step's inputs and, where a row of a suite feeds several items of a `for_each`, of the whole row's.
    """

    pipeline: Pipeline
    step: Step
    rows: StepRows
    hashes: tuple[str, ...]

    @property
    def answer(self) -> AnswerType | None:
        """The type of the answers, None where it differs by row."""
        assert self.step.prompt_call is not None, "only a step that asks is trained"
        answer = self.step.prompt_call.answer
        return answer if isinstance(answer, AnswerType) else None

    @property
    def generated(self) -> int:
        """The number of rows that a model wrote."""
        return sum(is_generated(row.scope) for row in self.rows.rows)

    def counts(self) -> Counter[str]:
        """Return the number of rows by right answer of a closed set; empty for an open set."""
        if self.answer is None or not self.answer.alternatives():
            return Counter()
        return Counter(self.answer.write(row.expect) for row in self.rows.rows)


@dataclass(frozen=True, slots=True)
class TrainingSplit:
    """The rows by their places: those that are trained on, and those that decide when training stops."""

    training: tuple[int, ...]
    validation: tuple[int, ...]


def read_labelled_file(
    pipeline: Pipeline, steps: Sequence[str], path: Path, *, expect: str | None, limit: int | None
) -> LabelledRows:
    """Read the rows of a data file for one step. Raises InputError with everything that is wrong in them."""
    if len(steps) > 1:
        hint = "label several steps under `steps:` of a suite, and give --suite"
        raise InputError(f"--data has the answers of one step, not of {len(steps)}", hint=hint)
    step = find_prompt_step(pipeline, steps[0] if steps else None)
    rows = read_step_rows(pipeline, step, path, expect=expect, labelled=True, limit=limit)
    return LabelledRows(pipeline=pipeline, step=step, rows=rows, hashes=_hashes(rows.rows))


def read_labelled_suite(suite: Suite, steps: Sequence[str], *, limit: int | None) -> list[LabelledRows]:
    """Read the rows of a suite for each step whose right answers it has, or for the named ones.

    The suite's `expect` labels the step whose answer is the target's output, its `steps:` label the others. Rows
    without a right answer for a step are left out. Raises InputError.
    """
    labelled = dict(_labelled_steps(suite))
    if not labelled:
        hint = 'label steps under `steps:` of the suite: `steps: {STEP: {expect: "{{ row.FIELD }}"}}`'
        raise InputError(f"the suite `{suite.name}` has the right answers of no step", hint=hint)
    wrong = [name for name in steps if name not in labelled]
    if wrong:
        hint = nearest(wrong[0], labelled) or f"it has those of {', '.join(labelled)}"
        raise InputError(f"the suite `{suite.name}` has no right answers of the step `{wrong[0]}`", hint=hint)
    return [_rows_of(labelled[name], name, limit) for name in steps or labelled]


def _labelled_steps(suite: Suite) -> Iterator[tuple[str, Suite]]:
    """Yield the steps whose answers the suite has, each with the suite that has them."""
    pipeline = suite.baseline.pipeline
    names = pipeline.output.names
    answered = pipeline.steps.get(next(iter(names))) if len(names) == 1 and not pipeline.output.attributes else None
    if answered is not None and answered.prompt_call is not None and not answered.needs and _expects(suite):
        yield answered.name, suite
    for inner in suite.steps:
        (step,) = inner.baseline.pipeline.steps.values()
        if step.prompt_call is not None and _expects(inner):
            yield step.name, inner


def _expects(suite: Suite) -> bool:
    if suite.conversation is not None:
        return False
    return suite.expect is not None or any("expect" in row.fields for row in suite.data.rows())


def _rows_of(suite: Suite, name: str, limit: int | None) -> LabelledRows:
    pipeline, binder = suite.baseline.pipeline, Binder(suite)
    step = pipeline.steps[name]
    fields: list[Mapping[str, Any]] = []
    hashes: list[str] = []
    problems: list[Problem] = []
    for index, row in enumerate(suite.data.rows()):
        bound = binder.bind(row, index)
        if bound.problems:
            problems += bound.problems
            continue
        if bound.expect is None or (limit is not None and len(fields) >= limit):
            continue
        names = given_inputs(suite, row.fields)
        given = {name: value for name, value in bound.inputs[0].items() if name in names}
        hashes.append(row_hash(given))
        try:
            fields += _items(step, {**bound.inputs[0]}, given, bound.expect, row)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems[:MAX_PROBLEMS])
    path = suite.data.file or suite.file
    rows = bind_step_rows(pipeline, step, fields, path, expect=RIGHT_ANSWER, labelled=True)
    return LabelledRows(pipeline=pipeline, step=step, rows=rows, hashes=_hashes(rows.rows, hashes))


def _items(
    step: Step, scope: Mapping[str, Any], given: Mapping[str, Any], expect: Any, row: DataRow
) -> Iterator[dict[str, Any]]:
    """Yield the fields that the step sees: once, or for each item of its `for_each`. Raises InputError."""
    mark = generated_mark(row.fields)
    if step.for_each is None:
        yield {**given, **mark, RIGHT_ANSWER: expect}
        return
    lists = {name: list(value.evaluate(scope, frozenset())) for name, value in step.for_each.lists.items()}
    lengths = {len(items) for items in lists.values()}
    if not isinstance(expect, list) or lengths != {len(expect)}:
        count = len(expect) if isinstance(expect, list) else "no list of"
        items = " and ".join(map(str, sorted(lengths)))
        raise InputError(row.wrong(f"the step `{step.name}` has {items} items, and there are {count} right answers"))
    for number, right in enumerate(expect):
        if right is not None:
            yield {**given, **{name: items[number] for name, items in lists.items()}, **mark, RIGHT_ANSWER: right}


def _hashes(rows: Sequence[StepRow], others: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(sorted({*(row.hash for row in rows), *others}))


def check_rows(labelled: LabelledRows) -> None:
    """Raise InputError for too few rows, or for rows that all have one answer, with what would suffice."""
    problems: list[Problem] = []
    where, count = place(labelled.rows.file), len(labelled.rows.rows)
    if count < LEAST_ROWS:
        message = f"{count} labelled rows of the step `{labelled.step.name}` are too few to train on"
        hint = (
            f"at least {LEAST_ROWS} are needed, which {_shown(LEAST_ROWS)}; {SUGGESTED_ROWS} {_shown(SUGGESTED_ROWS)}"
        )
        problems.append(Problem(message, where, hint=hint))
    answers = {compact(row.expect) for row in labelled.rows.rows}
    if len(answers) == 1:
        message = f"all {count} rows of the step `{labelled.step.name}` have the same answer, {answers.pop()[:60]}"
        problems.append(Problem(message, where, hint="training needs rows of at least two different answers"))
    if problems:
        raise InputError(problems)


def _shown(rows: int) -> str:
    """Return the smallest gain that the validation rows of `rows` rows could show, in words."""
    gain = smallest_shown(DISCORDANT, validation_size(rows))
    return "could not yet show a gain" if gain is None else f"could show a gain of {100 * gain:.0f} points or more"


def validation_size(rows: int) -> int:
    """Return the number of rows that are kept for validation, of `rows` independent ones."""
    return min(MOST_VALIDATION, max(LEAST_VALIDATION, round(VALIDATION_SHARE * rows)))


def split_rows(labelled: LabelledRows) -> TrainingSplit:
    """Split rows by clusters of near-duplicates, stratified by their answers.

    Validation takes real rows before those that a model wrote. The split depends on the rows alone, so that runs with
    different seeds are compared on the same rows. Raises InputError where the rows are one cluster.
    """
    rows = labelled.rows.rows
    answers = [compact(row.expect) for row in rows]
    # Whatever the answers are: a row that is repeated with another one gives away as much.
    clusters = repeated_rows([row.inputs for row in rows], [""] * len(rows))
    labels = answers if labelled.counts() else None
    order = row_order(len(rows), labels=labels, clusters=clusters)
    of_model = {clusters[at] for at, row in enumerate(rows) if is_generated(row.scope)}
    order.sort(key=lambda at: clusters[at] in of_model)  # a stable sort
    wanted, taken = validation_size(len(rows)), 0
    while taken < wanted or (taken < len(order) and clusters[order[taken - 1]] == clusters[order[taken]]):
        taken += 1
    if len(order) - taken < taken:
        message = f"the rows of the step `{labelled.step.name}` nearly repeat each other"
        hint = "add rows that differ: those that repeat one another may not be trained on and validated on"
        raise InputError(Problem(message, place(labelled.rows.file), hint=hint))
    return TrainingSplit(tuple(sorted(order[taken:])), tuple(sorted(order[:taken])))
