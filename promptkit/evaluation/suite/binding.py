"""Binds a row of data to the target's inputs and to the answers that metrics expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from promptkit.engine.inputs import fill_inputs, read_text_value
from promptkit.engine.pipeline import Input, Pipeline
from promptkit.engine.scope import CompiledValue
from promptkit.errors import InputError, Problem, UnexpectedError, catching_unexpected, nearest
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.turns import TURN
from promptkit.evaluation.suite.conversation import PLAYED
from promptkit.evaluation.suite.data import BoundRow, DataRow, row_key
from promptkit.evaluation.suite.generated import real_fields
from promptkit.evaluation.suite.suite import Measure, Suite, Variant
from promptkit.storage.hashes import content_key
from promptkit.storage.rows import deduplicated_problems
from promptkit.storage.strict_json import compact, json_bytes, plain

EXPECT = "expect"
CASE_BYTES = 8
_TYPED = ("number", "boolean", "list", "table", "messages", "json")
_TEXT_FILES = (".csv", ".tsv", ".txt")


class Binder:
    """Binds the rows of a suite."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        file = suite.data.file
        self._texts = file is not None and file.suffix in _TEXT_FILES
        self._folder = (file or suite.file).parent
        self._has_own_expect = suite.expect is not None

    def bind(self, row: DataRow, index: int) -> BoundRow:
        """Return a row bound, with every mistake in it in `problems`."""
        problems: list[Problem] = [row.problem] if row.problem is not None else []
        inputs: tuple[Mapping[str, Any], ...] = ()
        expected: tuple[Any, ...] = ()
        expect: Any = None
        exempt: dict[int, str] = {}
        turns: Sequence[str] = ()
        cluster = self._suite.data.spec.cluster
        if not problems and cluster is not None and cluster not in row.fields:
            hint = nearest(cluster, row.fields)
            problems.append(row.wrong(f"there is no field `{cluster}`, which `cluster` names", hint))
        if not problems:
            try:
                with catching_unexpected():
                    inputs = self._inputs(row)
                    expect = self._expect(row)
                    exempt = self._exempt(row)
                    turns = inputs[0].get(PLAYED, {}).get("turns", ())
                    expected = tuple(
                        None if place in exempt else self._expected(measure, row, expect, turns)
                        for place, measure in enumerate(self._suite.measures)
                    )
            except InputError as error:
                problems += (row.wrong(_problem_text(problem), problem.hint) for problem in error.problems)
            except UnexpectedError as error:
                problems.append(row.wrong(error.message))
        return BoundRow(
            row=row,
            index=index,
            inputs=inputs,
            expected=expected,
            expect=expect,
            key=row_key(row.fields),
            text=compact(row.fields),
            case=self._case(inputs, expect, expected),
            problems=tuple(problems),
            exempt=exempt,
            turns=tuple(turns),
        )

    def _case(self, inputs: Sequence[Mapping[str, Any]], expect: Any, expected: Sequence[Any]) -> bytes:
        """Return the hash of what the baseline is asked and what is expected of it; empty for a row with problems.

        Inputs that have their default are left out, so that a new one with a default makes no new cases.
        """
        if not inputs:
            return b""
        specs = self._suite.baseline.pipeline.inputs
        given = {name: value for name, value in inputs[0].items() if name not in specs or value != specs[name].default}
        right = expect if expect is not None else next(iter(expected), None)
        return content_key(json_bytes([given, right], sort_keys=True, allow_nan=True, default=str), CASE_BYTES)

    def _inputs(self, row: DataRow) -> tuple[Mapping[str, Any], ...]:
        fields = real_fields(row.fields)
        scope = {"row": fields}
        given: Mapping[str, Any] | None = None
        if self._suite.inputs is not None:
            given = {name: value.evaluate(scope, ()) for name, value in self._suite.inputs.items()}
        bound: list[Mapping[str, Any]] = []
        for variant in self._suite.variants:
            if bound and variant.pipeline.inputs == self._suite.baseline.pipeline.inputs:
                bound.append(bound[0])
            else:
                bound.append(self._filled(variant, given if given is not None else fields))
        if (conversation := self._suite.conversation) is None:
            return tuple(bound)
        material = conversation.material(row.fields)
        return tuple({**inputs, PLAYED: material} for inputs in bound)

    def _filled(self, variant: Variant, given: Mapping[str, Any]) -> Mapping[str, Any]:
        pipeline = variant.pipeline
        conversation = self._suite.conversation
        taken = dict(conversation.placeholders) if conversation is not None else {}
        taken |= {name: given[name] for name in pipeline.inputs if name in given}
        if self._texts:
            taken = {name: value for name, value in taken.items() if not self._is_left_out(pipeline, name, value)}
            taken = {name: self._typed(pipeline, name, value) for name, value in taken.items()}
        taken = {name: _as_text(pipeline.inputs[name], value) for name, value in taken.items()}
        missing = [name for name, spec in pipeline.inputs.items() if name not in taken and not spec.has_default]
        if missing:
            fields = ", ".join(f"`{field}`" for field in given) or "none"
            raise InputError(
                Problem(f"nothing gives the input `{name}`", hint=f"the row gives: {fields}") for name in missing
            )
        # With a value for each required input no example is ever taken.
        return fill_inputs(pipeline, taken, folder=self._folder).values if pipeline.inputs else {}

    def _is_left_out(self, pipeline: Pipeline, name: str, value: Any) -> bool:
        """Tell whether a field of a table leaves an input to its default: a blank one, as tables have no null."""
        spec = pipeline.inputs[name]
        return value == "" and spec.has_default and spec.type in _TYPED

    def _typed(self, pipeline: Pipeline, name: str, value: Any) -> Any:
        spec = pipeline.inputs[name]
        if not isinstance(value, str) or spec.type not in _TYPED:
            return value
        return read_text_value(spec, value, folder=self._folder)

    def _expect(self, row: DataRow) -> Any:
        if self._suite.expect is not None:
            return plain(self._suite.expect.evaluate({"row": row.fields}, ()))
        return row.fields.get(EXPECT)

    def _exempt(self, row: DataRow) -> dict[int, str]:
        """Return the places of the measures that do not apply to a row, with the reasons."""
        exempt: dict[int, str] = {}
        for place, measure in enumerate(self._suite.measures):
            if not _applies(measure, row):
                exempt[place] = "its `when` is false for this row"
            elif (field := _expected_field(measure)) is not None and row.fields.get(field) in (None, "", []):
                exempt[place] = f"the row has no `{field}`"
        return exempt

    def _expected(self, measure: Measure, row: DataRow, expect: Any, turns: Sequence[str]) -> Any:
        metric = measure.metric
        if measure.turn is not None:
            if turns:
                check_expected_of_turns(measure.turn, row.fields, expect, turns)
            return None
        if (field := _expected_field(measure)) is not None:
            found = row.fields.get(field)
        else:
            found = expect if measure.expect is None else plain(measure.expect.evaluate({"row": row.fields}, ()))
        if found is None:
            if metric.needs_expected:
                hint = "`when` in the metric leaves out rows without one"
                if not (self._has_own_expect or measure.expect):
                    hint = 'the suite may say `expect: "{{ row.FIELD }}"`; `when: row.expect is defined` in the metric '
                    hint += "leaves out rows without one"
                raise InputError(Problem(f"`{measure.name}` finds no expected answer", hint=hint))
            return None
        if wrong := metric.wrong_expected(found):
            raise InputError(Problem(f"`{measure.name}`: {wrong}"))
        return found


def _as_text(spec: Input, value: Any) -> Any:
    """Return a number for an input of text as it is written, as a table has it; other values are unchanged."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return compact(value) if is_number and spec.type == "text" and value not in spec.choices else value


def _applies(measure: Measure, row: DataRow) -> bool:
    """Tell whether a measure's `when` holds for a row. Raises InputError where it is neither true nor false."""
    if measure.when is None:
        return True
    applies = measure.when.evaluate({"row": row.fields}, ())
    if not isinstance(applies, bool):
        raise InputError(f"`when` of `{measure.name}` gave {compact(plain(applies))[:60]}, not true or false")
    return applies


def _expected_field(measure: Measure) -> str | None:
    """Return the field that has a measure's expected answers in place of the suite's, None where there is none."""
    return measure.metric.field if measure.expect is None else None


def row_problems(suite: Suite, most: int | None = None) -> list[Problem]:
    """Return the problems of a suite's rows; of the first `most` only where all of them are wrong.

    A problem that many rows share stands once, with their number.
    """
    binder, right = Binder(suite), 0
    found: list[Problem] = []
    for index, row in enumerate(islice(suite.data.rows(), most)):
        bound = binder.bind(row, index)
        found += bound.problems
        right += not bound.problems
    return [] if most is not None and right else deduplicated_problems(found)


def _problem_text(problem: Problem) -> str:
    """Return a problem's text with the place in the suite where a value of the row was read."""
    return str(replace(problem, hint=None))


def expected_of_turn(measure: Measure, row: Mapping[str, Any], expect: Any, turn: Mapping[str, Any]) -> Any:
    """Return the expected value of a turn by a metric, None where it expects nothing there.

    Without an `expect` of its own this is the item of the suite's, which is a list with one for each turn.
    """
    if measure.expect is not None:
        # With a simulated user the turns are not known before; one beyond the expected answers has none.
        return plain(measure.expect.evaluate({"row": row, TURN: turn}, {TURN}))
    at = turn["index"]
    return expect[at] if isinstance(expect, list) and at < len(expect) else None


def check_expected_of_turns(measure: Measure, row: Mapping[str, Any], expect: Any, turns: Sequence[str]) -> None:
    """Raise InputError where what a metric expects of the turns of a scripted conversation is wrong."""
    metric = measure.metric
    if measure.expect is None and isinstance(expect, list) and len(expect) != len(turns):
        raise InputError(f"`{metric.name}`: there are {len(expect)} expected answers for {len(turns)} turns")
    known = [{"index": at, "number": at + 1, "user": text} for at, text in enumerate(turns)]
    found = [
        expected_of_turn(measure, row, expect, turn)
        if measure.expect is None
        else plain(measure.expect.evaluate({"row": row, TURN: turn}, ()))
        for turn in known
    ]
    if metric.needs_expected and all(value is None for value in found):
        hint = f'expect: "{{{{ row.{EXPECT}[turn.index] }}}}"'
        raise InputError(Problem(f"`{metric.name}` finds no expected answer for any turn", hint=hint))
    for turn, value in zip(known, found, strict=True):
        if value is not None and (wrong := metric.wrong_expected(value)):
            raise InputError(f"`{metric.name}`, turn {turn['number']}: {wrong}")


def evaluate_of(value: CompiledValue, cell: Cell) -> Any:
    """Return the value that a metric's `of` reads. Raises InputError, and DamagedRecord for a trace."""
    scope = {"output": cell.output, "row": cell.fields, "steps": cell.steps}
    if cell.turn is not None:
        scope[TURN] = cell.turn
    if "tool_calls" in value.names:
        scope["tool_calls"] = cell.tool_calls
    return plain(value.evaluate(scope, ()))
