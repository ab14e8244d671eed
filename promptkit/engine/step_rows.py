"""Rows of data for one step: the inputs of its prompt, and the expected answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import wrong_value
from promptkit.engine.pipeline import Input, Pipeline, Step
from promptkit.engine.table_inputs import table_rows
from promptkit.errors import InputError, Problem, nearest, place
from promptkit.storage.rows import read_rows
from promptkit.techniques.artifacts import Row

EXPECTED_FIELDS = ("expect", "output", "label", "answer")
RATIONALE_FIELDS = ("rationale", "thoughts")
MAX_ROWS = 10_000
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow(Row):
    """A row as the step sees it. `scope` is the scope of its expressions, `number` counts from 1."""

    number: int
    scope: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """The rows of a file. `expect` is the field of the expected answers, empty where no row has one."""

    file: Path
    rows: tuple[StepRow, ...]
    expect: str

    @property
    def hash(self) -> str:
        """A hash of these rows, over inputs and expected answers in order."""
        pairs = [[row.hash, row.expect] for row in self.rows]
        text = json.dumps(pairs, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def find_prompt_step(pipeline: Pipeline, name: str | None) -> Step:
    """Return the step of that name, or the only step that asks a model where there is no name. Raises InputError."""
    prompt_steps = [step.name for step in pipeline.steps.values() if step.prompt_call is not None]
    if name is None:
        if len(prompt_steps) != 1:
            message = f"`{pipeline.name}` has {len(prompt_steps)} steps that ask a model"
            raise InputError(message, hint=f"name one by --step: {', '.join(prompt_steps)}" if prompt_steps else None)
        name = prompt_steps[0]
    if name not in pipeline.steps:
        raise InputError(f"`{pipeline.name}` has no step `{name}`", hint=nearest(name, pipeline.steps))
    if name not in prompt_steps:
        raise InputError(f"the step `{name}` asks no model", hint=nearest(name, prompt_steps))
    return pipeline.steps[name]


def read_step_rows(
    pipeline: Pipeline,
    step: Step,
    path: Path,
    *,
    expect: str | None = None,
    labelled: bool = False,
    limit: int | None = None,
) -> StepRows:
    """Read at most `limit` rows of a file for a step that asks a model.

    A row replaces everything that the step sees in a run: an input is computed by the step's `with` from the row's
    fields, else it is the field of its name, else its default. The expected answer is in the field `expect`, or else in
    the first of EXPECTED_FIELDS that a row has and no input takes. With `labelled`, each row must have one. Raises
    InputError with up to MAX_PROBLEMS problems, and for more than MAX_ROWS rows.
    """
    return bind_step_rows(pipeline, step, islice(read_rows(path), limit), path, expect=expect, labelled=labelled)


def bind_step_rows(
    pipeline: Pipeline,
    step: Step,
    rows: Iterable[Mapping[str, Any]],
    path: Path,
    *,
    expect: str | None = None,
    labelled: bool = False,
) -> StepRows:
    """Return rows of the file `path` as a step sees them, as `read_step_rows` does."""
    reader = _StepRowReader(pipeline, step, path, expect, labelled)
    bound: list[StepRow] = []
    problems: list[Problem] = []
    for number, fields in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise InputError(Problem(f"more than {MAX_ROWS:,} rows", place(path), hint="--limit 200 takes the first"))
        try:
            bound.append(reader.row(number, fields))
        except InputError as error:
            problems += error.problems
            if len(problems) >= MAX_PROBLEMS:
                break
    if problems:
        raise InputError(problems[:MAX_PROBLEMS])
    if not bound:
        raise InputError(Problem("there are no rows", place(path)))
    return StepRows(file=path, rows=tuple(bound), expect=reader.expect or "")


class _StepRowReader:
    """Reads the rows of a file for a step, one by one."""

    def __init__(self, pipeline: Pipeline, step: Step, path: Path, expect: str | None, labelled: bool) -> None:
        assert step.prompt_call is not None, "only a step that asks has rows"
        self._step = step
        self._prompt_call = step.prompt_call
        self._path = path
        self._labelled = labelled
        self._defaults = {name: spec.default for name, spec in pipeline.inputs.items() if spec.has_default}
        reads = frozenset[str]().union(*(argument.names for argument in step.arguments.values()))
        self._inputs = {*self._prompt_call.inputs, *reads}
        self._given = expect is not None
        self.expect = expect

    def row(self, number: int, fields: Mapping[str, Any]) -> StepRow:
        """Return a row as the step sees it. Raises InputError with everything that is wrong in it."""
        problems: list[Problem] = []
        scope = {**self._defaults, **fields}
        inputs = dict(self._values(scope, fields, number, problems))
        given = {name: value for name, value in inputs.items() if self._is_own(name, fields)}
        expected, answer = None, None
        if not problems:
            try:
                answer = self._answer(scope, inputs)
                expected = self._expected(fields, answer)
            except (InputError, ValueError) as error:
                found = error.problems if isinstance(error, InputError) else (Problem(str(error)),)
                problems += (self._in_row(number, problem.message, problem.hint) for problem in found)
        if problems:
            raise InputError(problems)
        return StepRow(
            number=number,
            scope=scope,
            inputs=inputs,
            given=given or inputs,
            expect=expected,
            rationale=self._rationale(fields),
            answer=None if isinstance(self._prompt_call.answer, AnswerType) else answer,
        )

    def _values(
        self, scope: Mapping[str, Any], fields: Mapping[str, Any], number: int, problems: list[Problem]
    ) -> Iterator[tuple[str, Any]]:
        """Yield the prompt's inputs with their values. Add missing and wrong ones to `problems`."""
        step = self._step
        for name, spec in self._prompt_call.inputs.items():
            try:
                argument = step.arguments.get(name)
                if argument is not None and argument.names <= scope.keys() and not argument.statuses:
                    value = argument.evaluate(scope, ())
                elif name in fields or (name in step.filled and name in scope):
                    value = scope[name]
                elif spec.has_default:
                    continue
                else:
                    problems.append(self._missing(number, name, fields))
                    continue
            except InputError as error:
                problems += (self._in_row(number, problem.message, problem.hint) for problem in error.problems)
                continue
            kind = Input(name=name, type=spec.type or "json", choices=tuple(spec.choices))
            if wrong := wrong_value(kind, value):
                problems.append(self._in_row(number, f"the input `{name}` {wrong}"))
            elif kind.type == "table" and value is not None:
                value = table_rows(value)
            yield name, value

    def _is_own(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Return True where a row's own fields give an input, and not the pipeline's defaults."""
        argument = self._step.arguments.get(name)
        return name in fields if argument is None else not fields.keys().isdisjoint(argument.names)

    def _missing(self, number: int, name: str, fields: Mapping[str, Any]) -> Problem:
        """Return the problem of an input that neither a field of its name nor `with` gives."""
        argument = self._step.arguments.get(name)
        needed = sorted(argument.names - fields.keys()) if argument else []
        read = f", and none {' and '.join(f'`{name}`' for name in needed)} for its `with`" if needed else ""
        known = ", ".join(f"`{field}`" for field in fields) or "none"
        message = f"nothing gives the input `{name}`: there is no field `{name}`{read}"
        return self._in_row(number, message, f"the row's fields are {known}")

    def _answer(self, scope: Mapping[str, Any], inputs: Mapping[str, Any]) -> AnswerType:
        call = self._prompt_call
        if isinstance(call.answer, AnswerType):
            return call.answer
        return call.answer.of_row({**call.prompt.defaults, **inputs} if call.answer_in_prompt else scope)

    def _expected(self, fields: Mapping[str, Any], answer: AnswerType) -> Any:
        """Return the expected answer, None where the row has none. Raises ValueError for one of another type."""
        if self.expect is None:
            self.expect = next((name for name in EXPECTED_FIELDS if name in fields and name not in self._inputs), None)
        given = fields.get(self.expect) if self.expect else None
        if given is not None:
            try:
                return expected_value(answer, given)
            except ValueError as error:
                raise ValueError(f"`{self.expect}`: {error}") from None
        if self._labelled or self._given:
            field = (
                f"field `{self.expect}`"
                if self.expect
                else f"field {', '.join(f'`{name}`' for name in EXPECTED_FIELDS)}"
            )
            known = ", ".join(f"`{field}`" for field in fields) or "none"
            hint = f"the row's fields are {known}; --expect FIELD names another"
            raise InputError(Problem(f"there is no {field} with the expected answer", hint=hint))
        return None

    def _rationale(self, fields: Mapping[str, Any]) -> str:
        found = (fields[name] for name in RATIONALE_FIELDS if name in fields and name not in self._inputs)
        return next((text for text in found if isinstance(text, str)), "")

    def _in_row(self, number: int, message: str, hint: str | None = None) -> Problem:
        return Problem(f"row {number}: {message}", place(self._path), hint=hint)


def expected_value(answer: AnswerType, given: Any) -> Any:
    """Convert an expected answer as data gives it (CSV holds text) to a value of the type. Raises ValueError."""
    try:
        answer.write(given)
        return given
    except ValueError:
        if not isinstance(given, str | bool | int | float):
            raise
        text = given if isinstance(given, str) else json.dumps(given)
        return answer.parse(text)
