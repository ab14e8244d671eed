"""Contamination: rows of a suite that a technique was prepared on, where it looks better than it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Suite
from promptkit.techniques.artifacts import read_artifact, row_hash


def refuse_contamination(suite: Suite, *, allow: bool = False) -> list[str]:
    """Return the techniques that were prepared on rows of the suite, where they look better than they are.

    Raises InputError where there are any and they are not to be allowed.
    """
    found = contaminated_rows(suite)
    if found and not allow:
        hint = "evaluate on other rows, or add --allow-seen, which marks the result"
        raise InputError(Problem(line, suite.data.where.file, suite.data.where.line, hint=hint) for line in found)
    return found


def contaminated_rows(suite: Suite) -> list[str]:
    """Return a line for each variant's technique that was prepared on rows of the suite, with their number.

    Rows are compared by the inputs that a step takes of them, as the preparation kept them.
    """
    prepared = {
        f"`{technique}` of the step `{step.name}` in variant `{variant.name}`": (rows, step)
        for variant in suite.variants
        for step, technique, rows in _prepared_artifacts(variant.pipeline)
    }
    if not prepared:
        return []
    counts = dict.fromkeys(prepared, 0)
    total = 0
    binder = Binder(suite)
    for index, row in enumerate(suite.data.rows()):
        bound = binder.bind(row, index)
        total += 1
        if bound.problems:
            continue
        names = given_inputs(suite, row.fields)
        for technique, (rows, step) in prepared.items():
            counts[technique] += any(row_hash(step_inputs_of_row(step, given, names)) in rows for given in bound.inputs)
    return [
        f"{technique} saw {count} of {total} rows when it was prepared" for technique, count in counts.items() if count
    ]


def given_inputs(suite: Suite, fields: Mapping[str, Any]) -> Collection[str]:
    """Return the target's inputs that a row gives; the others have their defaults."""
    return fields.keys() if suite.inputs is None else suite.inputs.keys()


def step_inputs_of_row(step: Step, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the inputs that a step takes of a row, defaults left aside: a preparation tells rows apart by these.

    `given` are the target's inputs, `names` those of them that the row gives. Outputs of other steps are not known.
    """
    assert step.asking is not None, "only a step that asks is prepared for"
    inputs: dict[str, Any] = {}
    from_row: dict[str, Any] = {}
    for name in step.asking.inputs:
        argument = step.arguments.get(name)
        if argument is not None and argument.names <= given.keys() and not argument.statuses:
            try:
                inputs[name] = argument.evaluate(given, ())
            except InputError:  # The row's from_row cell will say so.
                continue
            is_from_row = not argument.names.isdisjoint(names)
        elif name in given:
            inputs[name] = given[name]
            is_from_row = name in names
        else:
            continue
        if is_from_row:
            from_row[name] = inputs[name]
    return from_row or inputs


def _prepared_artifacts(pipeline: Pipeline) -> Iterator[tuple[Step, str, frozenset[str]]]:
    """Yield step, technique and the hashes of the rows that it saw."""
    for step in pipeline.steps.values():
        if step.asking is None:
            continue
        for technique, file in step.asking.artifacts.items():
            artifact = read_artifact(file)
            if artifact is not None and artifact.rows:
                yield step, technique, frozenset(artifact.rows)
