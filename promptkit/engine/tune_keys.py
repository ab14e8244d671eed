"""Checks `tune:` of a pipeline, which lists the values that a tuner may try. Runs do not read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.spec import StepSpec
from promptkit.errors import InputError, Problem, nearest
from promptkit.storage.yaml import Document, load_file

TUNE = "tune"
_KEYS = [field.alias or name for name, field in StepSpec.model_fields.items()]


def tune_problems(pipeline: Pipeline) -> list[Problem]:
    """Return the problems of a pipeline's `tune:`, at their places: unknown keys, and values that cannot be set.

    Each value is set in its step as `--set` would.
    """
    if not pipeline.tune:
        return []
    document = load_file(pipeline.file)
    found = [
        problem for key, values in pipeline.tune.items() for problem in _key_problems(pipeline, document, key, values)
    ]
    return list(dict.fromkeys(found))


def _key_problems(pipeline: Pipeline, document: Document, key: str, values: Any) -> Iterator[Problem]:
    wrong = _key_problem(pipeline, key)
    if wrong is not None:
        yield document.problem((TUNE, key), wrong.message, wrong.hint, key=True)
    elif not isinstance(values, list) or not values:
        hint = f"`{key}: [ONE, ANOTHER]`"
        yield document.problem((TUNE, key), f"`{key}` must be a list of values to try", hint)
    else:
        for number, value in enumerate(values):
            yield from _value_problems(pipeline, document, key, number, value)


def _key_problem(pipeline: Pipeline, key: str) -> Problem | None:
    """Return the problem of STEP.KEY, or of STEP.STEP.KEY in a sub-pipeline; None without one."""
    step, _, below = key.partition(".")
    if step not in pipeline.steps:
        hint = nearest(step, pipeline.steps)
        return Problem(f"`{key}`: there is no step `{step}`", hint=hint)
    if not below:
        return Problem(f"`{key}` must be STEP.KEY, as in `--set`", hint=f"`{key}.technique`")
    inner, first = pipeline.steps[step].pipeline, below.partition(".")[0]
    if first in _KEYS:
        return None
    if inner is not None and first in inner.steps:
        return _key_problem(inner, below)
    known = [*_KEYS, *(inner.steps if inner is not None else ())]
    return Problem(f"`{key}`: a step has no key `{first}`", hint=nearest(first, known))


def _value_problems(pipeline: Pipeline, document: Document, key: str, number: int, value: Any) -> Iterator[Problem]:
    try:
        load_target(pipeline.file, pipeline.project, changes={key: value})
    except InputError as error:
        for problem in error.problems:
            if problem.file is not None:
                yield problem
                continue
            # A problem with a `--set` option starts with the key and the path in its value.
            message = problem.message.removeprefix("--set ").removeprefix(f"{key}: ")
            yield replace(document.problem((TUNE, key, number), message), hint=problem.hint)
