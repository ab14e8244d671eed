"""Contamination: rows of a suite that a technique was prepared on, where it looks better than it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Suite
from promptkit.techniques.artifacts import read_artifact, row_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """A variant's technique whose preparation used `seen` of the suite's `total` rows."""

    variant: str
    step: str
    technique: str
    seen: int
    total: int

    def __str__(self) -> str:
        who = f"`{self.technique}` of the step `{self.step}` in variant `{self.variant}`"
        return f"{who} saw {self.seen} of {self.total} rows when it was prepared"


def refuse_contamination(suite: Suite, *, allow: bool = False) -> list[Contamination]:
    """Return the techniques whose preparation used rows of the suite: on these they look better than they are.

    Raises InputError where there are any and they are not allowed.
    """
    found = find_contamination(suite)
    if found and not allow:
        hint = "evaluate on other rows, or add --allow-seen, which marks the result"
        where = suite.data.where
        raise InputError(Problem(str(note), where.file, where.line, hint=hint) for note in found)
    return found


def find_contamination(suite: Suite) -> list[Contamination]:
    """Return each variant's prepared technique whose preparation used rows of the suite.

    Rows are compared by the inputs that a step takes of them, as the preparation kept them.
    """
    prepared = [
        (variant.name, step, technique, rows)
        for variant in suite.variants
        for step, technique, rows in _prepared_artifacts(variant.pipeline)
    ]
    if not prepared:
        return []
    counts = [0] * len(prepared)
    total = 0
    binder = Binder(suite)
    for index, row in enumerate(suite.data.rows()):
        bound = binder.bind(row, index)
        total += 1
        if bound.problems:
            continue
        names = given_inputs(suite, row.fields)
        for at, (_, step, _, rows) in enumerate(prepared):
            counts[at] += any(row_hash(step_inputs_of_row(step, given, names)) in rows for given in bound.inputs)
    return [
        Contamination(variant=variant, step=step.name, technique=technique, seen=seen, total=total)
        for (variant, step, technique, _), seen in zip(prepared, counts, strict=True)
        if seen
    ]


def given_inputs(suite: Suite, fields: Mapping[str, Any]) -> Collection[str]:
    """Return the target's inputs that a row gives; the others have their defaults."""
    return fields.keys() if suite.inputs is None else suite.inputs.keys()


def step_inputs_of_row(step: Step, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the inputs that a step takes of a row, defaults left aside: a preparation tells rows apart by these.

    `given` are the target's inputs, `names` those of them that the row gives. Outputs of other steps are not known.
    """
    assert step.prompt_call is not None, "only a step that asks is prepared for"
    inputs: dict[str, Any] = {}
    from_row: dict[str, Any] = {}
    for name in step.prompt_call.inputs:
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
    return from_row or inputs


def _prepared_artifacts(pipeline: Pipeline) -> Iterator[tuple[Step, str, frozenset[str]]]:
    """Yield step, technique and the hashes of the rows that it saw."""
    for step in pipeline.steps.values():
        if step.prompt_call is None:
            continue
        for technique, file in step.prompt_call.artifacts.items():
            artifact = read_artifact(file)
            if artifact is not None and artifact.rows:
                yield step, technique, frozenset(artifact.rows)
