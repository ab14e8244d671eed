"""Contamination: rows of a suite that a technique, an adapter or a head was made from: there it looks better."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.in_process.adapter_file import read_adapter
from promptkit.storage.files import read_bytes
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
    """Return what was made from rows of the suite: on these it looks better than it is.

    Raises InputError where there are any and they are not allowed.
    """
    found = find_contamination(suite)
    if found and not allow:
        hint = "evaluate on other rows, or add --allow-seen, which marks the result"
        where = suite.data.where
        raise InputError(Problem(str(note), where.file, where.line, hint=hint) for note in found)
    return found


def find_contamination(suite: Suite) -> list[Contamination]:
    """Return each variant's prepared technique, adapter and head that was made from rows of the suite.

    Rows are compared by the inputs that a step takes of them, as the files keep them.
    """
    prepared = [
        (variant.name, step, name, rows, trained)
        for variant in suite.variants
        for trained, files in ((False, _prepared_artifacts), (True, _trained_files))
        for step, name, rows in files(variant.pipeline)
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
        for at, (_, step, _, rows, _) in enumerate(prepared):
            counts[at] += any(row_hash(step_inputs_of_row(step, given, names)) in rows for given in bound.inputs)
    return [
        Contamination(variant=variant, step=step.name, technique=name, seen=seen, total=total, trained=trained)
        for (variant, step, name, _, trained), seen in zip(prepared, counts, strict=True)
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


def _trained_files(pipeline: Pipeline) -> Iterator[tuple[Step, str, frozenset[str]]]:
    """Yield step, file name and the hashes of the rows that it was trained on, of each adapter and head."""
    for step in pipeline.steps.values():
        call = step.prompt_call
        if call is None:
            continue
        if call.adapter is not None and (training := read_adapter(call.adapter).training) is not None:
            yield step, call.adapter.name, frozenset(training.rows)
        decide: str = call.decide
        if decide == "head":
            head = pipeline.file.parent / f"{call.home}.head.json"
            yield step, head.name, _head_rows(head)


def _head_rows(file: Path) -> frozenset[str]:
    """Return the hashes of the rows in a head's file; none where it is missing or wrong, which other checks report."""
    try:
        rows = json.loads(read_bytes(file)).get("rows", ())
        return frozenset(row for row in rows if isinstance(row, str))
    except (InputError, ValueError, AttributeError, TypeError, RecursionError):
        return frozenset()
