"""Rows that a technique saw when it was prepared for a step: on these it would look better than it is."""

from __future__ import annotations

from collections.abc import Iterator

from promptkit.engine import Pipeline
from promptkit.evaluation.binding import Binder
from promptkit.evaluation.suite import Suite
from promptkit.techniques import read_artifact, row_hash


def seen_rows(suite: Suite) -> list[str]:
    """Return, for each variant's prepared technique that saw rows of the suite, how many it saw.

    A row is known by what a step takes of it, as the preparation knew it.
    """
    prepared = {
        f"`{technique}` of the step `{step}` in variant `{variant.name}`": (rows, frozenset(names))
        for variant in suite.variants
        for step, technique, rows, names in _prepared(variant.pipeline)
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
        for told, (rows, names) in prepared.items():
            counts[told] += any(
                row_hash({name: given[name] for name in names if name in given}) in rows for given in bound.inputs
            )
    return [f"{told} saw {seen} of {total} rows when it was prepared" for told, seen in counts.items() if seen]


def _prepared(pipeline: Pipeline) -> Iterator[tuple[str, str, frozenset[str], tuple[str, ...]]]:
    """Yield step, technique, hashes of the rows seen and the names of a row's own inputs."""
    for name, step in pipeline.steps.items():
        if step.asking is None:
            continue
        for technique, file in step.asking.artifacts.items():
            artifact = read_artifact(file)
            if artifact is not None and artifact.rows:
                yield name, technique, frozenset(artifact.rows), tuple(step.asking.inputs)
