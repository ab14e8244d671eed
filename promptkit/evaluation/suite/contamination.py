"""Contamination: rows of a suite that a technique was prepared on, where it looks better than it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Suite
from promptkit.techniques.artifacts import read_artifact, row_hash


def contaminated_rows(suite: Suite) -> list[str]:
    """Return, for each variant's prepared technique that saw rows of the suite, how many it saw.

    A row is known by what a step takes of it, as the preparation knew it.
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
        for told, (rows, step) in prepared.items():
            counts[told] += any(row_hash(step_inputs_of_row(step, given, names)) in rows for given in bound.inputs)
    return [f"{told} saw {seen} of {total} rows when it was prepared" for told, seen in counts.items() if seen]


def given_inputs(suite: Suite, fields: Mapping[str, Any]) -> Collection[str]:
    """Return which of a target's inputs a row gives; the others have their defaults."""
    return fields.keys() if suite.inputs is None else suite.inputs.keys()


def step_inputs_of_row(step: Step, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return what a step takes of a row, defaults left aside: by this a preparation tells rows apart.

    `given` are the target's inputs, `names` those of them that the row gives. What comes of other steps is not known.
    """
    assert step.prompt_call is not None, "only a step that asks is prepared for"
    inputs: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name in step.prompt_call.inputs:
        argument = step.arguments.get(name)
        if argument is not None and argument.names <= given.keys() and not argument.statuses:
            try:
                inputs[name] = argument.evaluate(given, ())
            except InputError:  # The row's own cell will say so.
                continue
            is_own = not argument.names.isdisjoint(names)
        elif name in given:
            inputs[name] = given[name]
            is_own = name in names
        else:
            continue
        if is_own:
            own[name] = inputs[name]
    return own or inputs


def _prepared_artifacts(pipeline: Pipeline) -> Iterator[tuple[Step, str, frozenset[str]]]:
    """Yield step, technique and the hashes of the rows that it saw."""
    for step in pipeline.steps.values():
        if step.prompt_call is None:
            continue
        for technique, file in step.prompt_call.artifacts.items():
            artifact = read_artifact(file)
            if artifact is not None and artifact.rows:
                yield step, technique, frozenset(artifact.rows)
