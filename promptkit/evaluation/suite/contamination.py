"""Contamination: rows of a suite that a technique, an adapter or a head was made from: there it looks better."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from promptkit.answers.head import read_head
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import DataRow
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.in_process.adapter_file import read_adapter
from promptkit.techniques.artifacts import read_artifact, row_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """A variant's technique, adapter or head that was made from `seen` of the suite's `total` rows.

    `technique` is the name of the technique, or of the file that was trained.
    """

    variant: str
    step: str
    technique: str
    seen: int
    total: int
    trained: bool = False

    def __str__(self) -> str:
        who = f"`{self.technique}` of the step `{self.step}` in variant `{self.variant}`"
        return f"{who} saw {self.seen} of {self.total} rows when it was {'trained' if self.trained else 'prepared'}"


def refuse_contamination(suite: Suite, *, allow: bool = False) -> list[Contamination]:
    """Return the techniques, adapters and heads that were made from rows of the suite: there they look better.

    Raises InputError where there are any and they are not allowed.
    """
    found = find_contamination(suite)
    if found and not allow:
        hint = "evaluate on other rows; --unseen leaves these out, --allow-seen marks the result"
        where = suite.data.where
        raise InputError(Problem(str(note), where.file, where.line, hint=hint) for note in found)
    return found


def find_contamination(suite: Suite) -> list[Contamination]:
    """Return each variant's prepared technique, adapter and head that was made from rows of the suite.

    Rows are compared by the inputs that a step takes of them, as the files keep them.
    """
    made = _made_from_rows(suite)
    if not made:
        return []
    counts = [0] * len(made)
    total = 0
    for _, seen in _seen_by(suite, made):
        total += 1
        for at in seen:
            counts[at] += 1
    return [replace(found, seen=seen, total=total) for (found, _, _), seen in zip(made, counts, strict=True) if seen]


def without_seen_rows(suite: Suite) -> tuple[Suite, int]:
    """Return a suite without the rows from which a technique, adapter or head of it was made, and their number.

    Raises InputError where no other row is left.
    """
    made = _made_from_rows(suite)
    if not made:
        return suite, 0
    rows = list(_seen_by(suite, made))
    held = tuple(row for row, seen in rows if not seen)
    if not held:
        hint = "add rows to the suite, or train on fewer by --limit"
        raise InputError(replace(suite.data.where, message=f"all {len(rows)} rows were seen in training", hint=hint))
    return replace(suite, data=replace(suite.data, held=held)), len(rows) - len(held)


Made = Sequence[tuple[Contamination, tuple[Step, ...], frozenset[str]]]


def _made_from_rows(suite: Suite) -> Made:
    """Return the files of variants that were made from rows: without counts, with steps and the hashes of the rows."""
    return [
        (
            Contamination(
                variant=variant.name,
                step=".".join(step.name for step in steps),
                technique=name,
                seen=0,
                total=0,
                trained=trained,
            ),
            steps,
            rows,
        )
        for variant in suite.variants
        for steps in _asking_steps(variant.pipeline)
        for trained, files in ((False, _prepared_artifacts), (True, _trained_files))
        for name, rows in files(steps[-1])
    ]


def _seen_by(suite: Suite, made: Made) -> Iterator[tuple[DataRow, list[int]]]:
    """Yield each row of a suite with the places of what was made from it."""
    binder = Binder(suite)
    for index, row in enumerate(suite.data.rows()):
        bound = binder.bind(row, index)
        names = given_inputs(suite, row.fields)
        seen = [
            at
            for at, (_, steps, rows) in enumerate(made)
            if not bound.problems
            and any(row_hash(_inputs_of_row(steps, given, names)) in rows for given in bound.inputs)
        ]
        yield row, seen


def given_inputs(suite: Suite, fields: Mapping[str, Any]) -> Collection[str]:
    """Return the target's inputs that a row gives; the others have their defaults."""
    return fields.keys() if suite.inputs is None else suite.inputs.keys()


def step_inputs_of_row(step: Step, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the inputs that a step takes of a row, defaults left aside: a preparation tells rows apart by these.

    `given` are the target's inputs, `names` those of them that the row gives. Outputs of other steps are not known.
    """
    inputs, from_row = _known_inputs(step, given, names)
    return from_row or inputs


def _inputs_of_row(steps: Sequence[Step], given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the inputs that the last of these steps takes of a row; each is in the sub-pipeline of the one before."""
    *outer, last = steps
    for step in outer:
        given, names = _known_inputs(step, given, names)
    return step_inputs_of_row(last, given, names)


def _known_inputs(
    step: Step, given: Mapping[str, Any], names: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of a step that are known before a run, and those of them that come from the row."""
    taker = step.prompt_call or step.pipeline
    assert taker is not None, "a step that asks, or has a pipeline, is prepared for"
    inputs: dict[str, Any] = {}
    from_row: dict[str, Any] = {}
    for name in taker.inputs:
        argument = step.arguments.get(name)
        if argument is not None and argument.names <= given.keys() and not argument.statuses:
            try:
                inputs[name] = argument.evaluate(given, ())
            except InputError:  # The row's cell reports it.
                continue
            is_from_row = not argument.names.isdisjoint(names)
        elif name in given:
            inputs[name] = given[name]
            is_from_row = name in names
        else:
            continue
        if is_from_row:
            from_row[name] = inputs[name]
    return inputs, from_row


def _asking_steps(pipeline: Pipeline, within: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Yield each step that asks, after the steps whose sub-pipelines it is in."""
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            yield from _asking_steps(step.pipeline, (*within, step))
        elif step.prompt_call is not None:
            yield (*within, step)


def _prepared_artifacts(step: Step) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each technique that was prepared for a step, with the hashes of the rows that it saw."""
    assert step.prompt_call is not None, "the step asks"
    for technique, file in step.prompt_call.artifacts.items():
        artifact = read_artifact(file)
        if artifact is not None and artifact.rows:
            yield technique, frozenset(artifact.rows)


def _trained_files(step: Step) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the file names of a step's adapter and head, with the hashes of the rows that each was trained on."""
    call = step.prompt_call
    assert call is not None, "the step asks"
    with suppress(InputError):  # a missing or damaged file is an unmet requirement of the step
        if call.adapter is not None and (training := read_adapter(call.adapter).training) is not None:
            yield call.adapter.name, frozenset(training.rows)
    with suppress(InputError):
        if call.head is not None:
            yield call.head.name, frozenset(read_head(call.head).rows)
